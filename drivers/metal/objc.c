#include "objc.h"
#include "base/env.h"
#include "base/library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct mtl_runtime ferry__mtl;

/* Nothing of these is on the disk of a Mac since macOS 11: dlopen serves them all the same.
 * CoreGraphics is there because without it a command-line program may see no device. */
static const char default_libraries[] =
    "/usr/lib/libobjc.A.dylib:"
    "/System/Library/Frameworks/Foundation.framework/Foundation:"
    "/System/Library/Frameworks/CoreGraphics.framework/CoreGraphics:"
    "/System/Library/Frameworks/Metal.framework/Metal";

enum { LIBRARIES_MAX = 8 };

struct libraries {
    void *handle[LIBRARIES_MAX];
    size_t count;
};

static const struct {
    const char *selector, *encoding;
    unsigned receivers;
    bool must;
} rows[MTL_SEL_COUNT] = {
#define MTL_MUST true
#define MTL_MAY false
#define MTL_ROW(on, name, s, e, n) [MTL_SEL_##name] = {s, e, on, MTL_##n},
#define SEND0(on, name, s, e, o, v, n, ...) MTL_ROW(on, name, s, e, n)
#define SEND1(on, name, s, e, o, v, n, ...) MTL_ROW(on, name, s, e, n)
#define SEND2(on, name, s, e, o, v, n, ...) MTL_ROW(on, name, s, e, n)
#define SEND3(on, name, s, e, o, v, n, ...) MTL_ROW(on, name, s, e, n)
#define SEND4(on, name, s, e, o, v, n, ...) MTL_ROW(on, name, s, e, n)
#define SEND5(on, name, s, e, o, v, n, ...) MTL_ROW(on, name, s, e, n)
#include "selectors.inc"
#include "selectors_end.inc"
};

/* --- loading ---------------------------------------------------------------------------------- */

static enum ferry_status open_libraries(const char *paths, struct libraries *libraries)
{
    char path[1024];
    while (*paths && libraries->count < LIBRARIES_MAX) {
        size_t length = strcspn(paths, ":");
        if (length && length < sizeof path) {
            memcpy(path, paths, length);
            path[length] = 0;
            char why[sizeof ferry__mtl.why];
            const enum ferry_status status =
                ferry__library_open(path, &libraries->handle[libraries->count], why, sizeof why);
            if (status) {
                snprintf(ferry__mtl.why, sizeof ferry__mtl.why, "Metal is not here: %.140s", why);
                return status;
            }
            libraries->count++;
        }
        paths += length + (paths[length] == ':');
    }
    return FERRY_OK;
}

static void *find(const struct libraries *libraries, const char *name)
{
    for (size_t i = 0; i < libraries->count; i++) {
        void *symbol = dlsym(libraries->handle[i], name);
        if (symbol)
            return symbol;
    }
    return dlsym(RTLD_DEFAULT, name);
}

/* Stores a found symbol in a function pointer, whatever its type. */
static bool find_into(const struct libraries *libraries, const char *name, void *out, bool must)
{
    void *symbol = find(libraries, name);
    if (!symbol && must) {
        snprintf(ferry__mtl.why, sizeof ferry__mtl.why, "Metal is not usable: there is no %s",
                 name);
        return false;
    }
    memcpy(out, &symbol, sizeof symbol);
    return true;
}

static bool find_functions(const struct libraries *libraries)
{
    struct mtl_runtime *m = &ferry__mtl;
    const struct {
        const char *name;
        void *out;
        bool must;
    } wanted[] = {
        {"objc_msgSend", &m->msg_send, true},
        {"sel_registerName", &m->register_selector, true},
        {"objc_getClass", &m->get_class, true},
        {"object_getClass", &m->class_of, true},
        {"class_getInstanceMethod", &m->instance_method, true},
        {"method_getTypeEncoding", &m->method_encoding, true},
        {"objc_autoreleasePoolPush", &m->pool_push, true},
        {"objc_autoreleasePoolPop", &m->pool_pop, true},
        {"objc_retain", &m->retain, true},
        {"objc_release", &m->release, true},
        {"_NSConcreteStackBlock", &m->stack_block_class, true},
        {"MTLCopyAllDevices", &m->copy_all_devices, true},
        {"MTLCommandBufferErrorDomain", &m->error_domain, false},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (!find_into(libraries, wanted[i].name, wanted[i].out, wanted[i].must))
            return false;
    return true;
}

static enum ferry_status load(void)
{
    struct libraries libraries = {.count = 0};
    ferry__mtl.why[0] = 0;
    const char *paths = ferry__env("FERRY_METAL_LIBRARIES");
    const enum ferry_status status =
        open_libraries(paths && *paths ? paths : default_libraries, &libraries);
    if (status)
        return status;
    if (!find_functions(&libraries))
        return FERRY_ERROR_NO_DEVICE;
    for (int i = 0; i < MTL_SEL_COUNT; i++)
        ferry__mtl.sel[i] = ferry__mtl.register_selector(rows[i].selector);
    ferry__mtl.string_class = ferry__mtl.get_class("NSString");
    ferry__mtl.listener_class = ferry__mtl.get_class("MTLSharedEventListener");
    ferry__mtl.process_class = ferry__mtl.get_class("NSProcessInfo"); /* these two may be missing */
    ferry__mtl.residency_class = ferry__mtl.get_class("MTLResidencySetDescriptor");
    if (ferry__mtl.string_class && ferry__mtl.listener_class)
        return FERRY_OK;
    snprintf(ferry__mtl.why, sizeof ferry__mtl.why, "Metal is not usable: there is no class %s",
             ferry__mtl.string_class ? "MTLSharedEventListener" : "NSString");
    return FERRY_ERROR_NO_DEVICE;
}

/* Once for the process, whatever comes of it; for want of memory it is tried again. */
enum ferry_status ferry__mtl_load(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static enum ferry_status status;
    static bool loaded;
    if (ferry__mtl_is_child())
        return FERRY_ERROR_NO_DEVICE;
    atomic_store(&ferry__mtl.process, getpid()); /* a child finds no lock of ours taken */
    pthread_mutex_lock(&lock);
    if (!loaded)
        status = load();
    loaded = status != FERRY_ERROR_OUT_OF_HOST_MEMORY;
    const enum ferry_status result = status;
    pthread_mutex_unlock(&lock);
    return result;
}

bool ferry__mtl_is_child(void)
{
    const pid_t process = atomic_load(&ferry__mtl.process);
    return process && process != getpid();
}

const char *ferry__mtl_why(void)
{
    return ferry__mtl_is_child() ? "this process is a child of the one that loaded Metal, and "
                                   "Metal does not work here: fork before its first use, or exec"
                                 : ferry__mtl.why;
}

/* --- the check of encodings ------------------------------------------------------------------- */

/* Moves past what open begins, nested pairs included. */
static const char *skip_pair(const char *p, char open, char close)
{
    int depth = 0;
    do {
        depth += (*p == open) - (*p == close);
        p += *p != 0;
    } while (depth && *p);
    return p;
}

/* What follows the letter of a pointer, a block or an object says nothing about registers. */
static const char *skip_pointee(const char *p)
{
    while (*p == '^' || *p == 'r')
        p++;
    if (*p == '{' || *p == '(' || *p == '[')
        return skip_pair(p, *p, *p == '(' ? ')' : (char)(*p + 2));
    return p + (*p != 0);
}

/* The class of one type: what decides the registers that carry it. Moves past it; 0 at the end. */
static char next_type(const char **encoding)
{
    const char *p = *encoding;
    while (*p && strchr("0123456789+-rnNoORVA", *p))
        p++;
    char c = *p ? *p++ : 0;
    if (c == '^')
        p = skip_pointee(p);
    if (c == '@' && *p == '?')
        p++;
    if (c == '@' && *p == '<')
        p = skip_pair(p, '<', '>');
    if (c == '@' && *p == '"')
        p += 1 + strcspn(p + 1, "\""), p += *p == '"';
    if (c == '{' && strchr(p, '='))
        p = strchr(p, '=') + 1;
    *encoding = p;
    static const char classes[128] = {
        ['q'] = 'Q', ['i'] = 'I', ['c'] = 'B', ['*'] = '@', ['^'] = '@', ['#'] = '@', [':'] = '@'};
    return c > 0 && classes[(unsigned char)c] ? classes[(unsigned char)c] : c;
}

bool ferry__mtl_same_encoding(const char *a, const char *b)
{
    char x, y;
    do {
        x = next_type(&a);
        y = next_type(&b);
    } while (x && x == y);
    return x == y;
}

bool ferry__mtl_check(mtl_id object, unsigned receivers, char *why, size_t size)
{
    mtl_id class = ferry__mtl.class_of(object);
    for (int i = 0; i < MTL_SEL_COUNT; i++) {
        if (!(rows[i].receivers & receivers))
            continue;
        if (!mtl_responds(object, ferry__mtl.sel[i])) {
            if (!rows[i].must)
                continue;
            snprintf(why, size, "this Metal has no %s", rows[i].selector);
            return false;
        }
        void *method = ferry__mtl.instance_method(class, ferry__mtl.sel[i]);
        /* No method although it responds: it is forwarded, and its encoding cannot be known. */
        const char *encoding = method ? ferry__mtl.method_encoding(method) : NULL;
        if (encoding && !ferry__mtl_same_encoding(encoding, rows[i].encoding)) {
            snprintf(why, size, "this Metal's %s has the types %s, not %s", rows[i].selector,
                     encoding, rows[i].encoding);
            return false;
        }
    }
    return true;
}
