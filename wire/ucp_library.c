#include "ucp_library.h"

#include "common/env.h"
#include "ucp.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct ferry__wire_ucp ferry__wire_ucp;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char version[32], missing[160]; /* missing: why there is no UCX; "" when there is */

/* UCX puts handlers of its own in place of these when it is loaded, and again when it is begun. */
static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGHUP, SIGABRT};
enum { SIGNALS = sizeof signals / sizeof *signals };

static bool find_functions(void *library)
{
    static const char *const names[] = {
#define FERRY_UCP(result, name, parameters) #name,
        FERRY_UCP_FUNCTIONS
#undef FERRY_UCP
    };
    void **functions = (void **)&ferry__wire_ucp;
    _Static_assert(sizeof ferry__wire_ucp == sizeof names, "one pointer a function");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        functions[i] = dlsym(library, names[i]);
        if (!functions[i]) {
            snprintf(missing, sizeof missing, "UCX's library here has no %s", names[i]);
            return false;
        }
    }
    return true;
}

/* UCX writes its log to standard output, which is the program's. */
static void silence(void *library)
{
    ucs_status (*set)(const char *name, const char *value);
    *(void **)&set = dlsym(library, "ucs_global_opts_set_value");
    if (set && !ferry__env("UCX_LOG_LEVEL"))
        set("LOG_LEVEL", "fatal");
}

static void load(void)
{
    static const char *const names[] = {"libucp.so.0", "libucp.0.dylib"};
    void *library = NULL;
    unsigned major = 0, minor = 0, release = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library) {
        snprintf(missing, sizeof missing,
                 "the wire needs UCX (Debian: libucx0), which is not here");
        return;
    }
    if (!find_functions(library))
        return;
    silence(library);
    ferry__wire_ucp.ucp_get_version(&major, &minor, &release);
    snprintf(version, sizeof version, "%u.%u.%u", major, minor, release);
    if (major != UCP_API_MAJOR || minor < UCP_API_MINOR)
        snprintf(missing, sizeof missing, "the wire needs UCX 1.13 or newer; UCX %s is here",
                 version);
}

/* When it is loaded UCX patches the C library's mmap, munmap and others, to hear of memory that it
 * has registered. The wire registers its own, so the process keeps its functions, unless its user
 * wants otherwise. UCX reads this once, at that time; another library's UCX stays as it is. */
static void load_without_hooks(void)
{
    static char no_events[] = "UCX_MEM_EVENTS=n";
    if (ferry__env("UCX_MEM_EVENTS") || ferry__env("UCX_MEM_MMAP_HOOK_MODE"))
        load();
    else
        ferry__env_with(no_events, load);
}

static void load_once(void)
{
    struct sigaction before[SIGNALS];
    for (int i = 0; i < SIGNALS; i++)
        sigaction(signals[i], NULL, &before[i]);
    load_without_hooks();
    for (int i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &before[i], NULL);
}

enum ferry_status ferry__wire_ucp_start(void)
{
    if (ferry__env_is_another_users())
        return ferry__wire_fail(
            FERRY_ERROR_UNSUPPORTED,
            "no wire in a setuid or setgid process, since UCX obeys the environment");
    pthread_once(&once, load_once);
    return missing[0] ? ferry__wire_fail(FERRY_ERROR_UNSUPPORTED, "%s", missing) : FERRY_OK;
}

const char *ferry__wire_ucp_version(void)
{
    return version;
}
