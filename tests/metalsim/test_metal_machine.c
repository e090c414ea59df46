/* What the driver finds out about the machine that it is opened on: imports that are not what they
 * seem, residency sets, a compiler that hangs, a process that was forked. */
#include "list_count.h"
#include "metal_world.h"

#include "drivers/metal/objc.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static char said[256];

static void note(enum ferry_log_level level, const char *message, void *user)
{
    (void)level, (void)user;
    if (!strncmp(message, "metal: class", 12) || strstr(message, "kernels compiled"))
        return; /* what was found, in one line */
    if (strstr(message, "import") || strstr(message, "kernel") || strstr(message, "host:"))
        snprintf(said, sizeof said, "%s", message);
}

/* Opens, with what is said meanwhile in said. */
static void open_listening(struct world *world, struct metalsim_config config)
{
    said[0] = 0;
    ferry_set_log(note, NULL, FERRY_LOG_INFO);
    open_world(world, config);
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
}

/* --- imports ---------------------------------------------------------------------------------- */

static void test_imports_that_lie(void **unused)
{
    (void)unused;
    static const struct {
        struct metalsim_config config;
        const char *words;
    } lies[] = {
        {{.import = METALSIM_IMPORT_STALE}, "what is written to memory that it imported"},
        {{.import = METALSIM_IMPORT_LOST}, "what is written to memory that it imported"},
        {{.import = METALSIM_IMPORT_STALE_FILES}, "what is written to a mapped file that it"},
        {{.machine = METALSIM_INTEL, .import = METALSIM_IMPORT_STALE}, "to memory that it"},
        {{.machine = METALSIM_PARAVIRTUAL, .macos = 14}, "no imports on a virtual Mac before"},
        {{.machine = METALSIM_AMD}, "no imports here: Metal cannot import"},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct world world;
        open_listening(&world, lies[i].config);
        assert_int_equal(world.limits.import_granularity, 0);
        assert_false(world.limits.import_cheap);
        if (!strstr(said, lies[i].words))
            fail_msg("%d: \"%s\"", (int)i, said);
        close_world(&world);
    }
}

/* On a machine whose imports are right nothing is said, and nothing is left over. */
static void test_imports_that_hold(void **unused)
{
    (void)unused;
    static const struct metalsim_config honest[] = {
        {.machine = METALSIM_APPLE},
        {.machine = METALSIM_APPLE, .macos = 11},
        {.machine = METALSIM_INTEL},
        {.machine = METALSIM_PARAVIRTUAL},
    };
    for (size_t i = 0; i < sizeof honest / sizeof *honest; i++) {
        struct world world;
        open_listening(&world, honest[i]);
        assert_true(world.limits.import_granularity != 0);
        assert_string_equal(said, "");
        assert_int_equal(counts().imports, 2);
        assert_int_equal(counts().live_buffers, 0);
        close_world(&world);
    }
}

/* A macOS that cannot be asked how old it is counts as old. */
static void test_unknown_macos(void **unused)
{
    (void)unused;
    struct world world;
    open_world(&world, (struct metalsim_config){.machine = METALSIM_PARAVIRTUAL,
                                                .hidden = {"isOperatingSystemAtLeastVersion:"}});
    assert_int_equal(world.limits.import_granularity, 0);
    close_world(&world);
}

/* --- residency sets --------------------------------------------------------------------------- */

static uint64_t resident_after_one(struct metalsim_config config)
{
    struct world world;
    open_world(&world, config);
    struct ferry__memory m = alloc(&world, FERRY__MEMORY_PRIVATE, 4096);
    struct ferry__command command = fill(&m, 0, 4096, 1);
    assert_int_equal(run(&world, &command, 1).status, FERRY_OK);
    uint64_t resident = counts().resident;
    give(&world, &m);
    assert_int_equal(counts().resident, 0);
    assert_int_equal(counts().live_buffers, 0);
    close_world(&world);
    return resident;
}

static void test_residency(void **unused)
{
    (void)unused;
    assert_int_equal(resident_after_one((struct metalsim_config){0}), 1);
    static const struct metalsim_config without[] = {
        {.macos = 14},
        {.no_residency = true},
        {.machine = METALSIM_INTEL},
        {.machine = METALSIM_AMD},
        {.machine = METALSIM_PARAVIRTUAL},
        {.hidden = {"newResidencySetWithDescriptor:error:"}},
        {.hidden = {"addResidencySet:"}},
    };
    for (size_t i = 0; i < sizeof without / sizeof *without; i++)
        assert_int_equal(resident_after_one(without[i]), 0);
    setenv("FERRY_METAL_RESIDENCY", "off", 1);
    assert_int_equal(resident_after_one((struct metalsim_config){0}), 0);
    unsetenv("FERRY_METAL_RESIDENCY");
}

/* Memory that an operation imported is its user's again once it is done: unmapped at once, though
 * it is another thread that ended it. The simulator ends a process whose buffers outlive their
 * pages. */
static void test_unmapped_when_done(void **unused)
{
    (void)unused;
    enum { TIMES = 300, SIZE = 1 << 20 };
    start_machine(&(struct metalsim_config){0});
    ferry_device *device = NULL;
    ferry_buffer *buffer = NULL;
    const struct ferry_device_params params = {.name = "metal", .path = FERRY_PATH_IMPORTED};
    assert_int_equal(ferry_device_open(&params, &device), FERRY_OK);
    assert_int_equal(
        ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE}, &buffer),
        FERRY_OK);
    const uint64_t before = counts().imports;
    for (int i = 0; i < TIMES; i++) {
        void *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(memory != MAP_FAILED);
        ferry_ticket ticket = 0;
        assert_int_equal(ferry_copy_from_host_async(buffer, memory, SIZE, 0, NULL, NULL, &ticket),
                         FERRY_OK);
        while (ferry_poll(device, ticket) == FERRY_PENDING)
            ;
        assert_int_equal(munmap(memory, SIZE), 0);
    }
    assert_true(counts().imports >= before + TIMES);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    assert_int_equal(metalsim_reset(&(struct metalsim_config){0}), 0);
}

/* --- the compiler ----------------------------------------------------------------------------- */

/* What the GPU has been given: blits, and kernels. */
static void assert_carried(uint64_t blits, uint64_t kernels)
{
    assert_int_equal(counts().copies + counts().fills, blits);
    assert_int_equal(counts().dispatches, kernels);
}

static void fill_once(struct world *world, const struct ferry__memory *memory)
{
    const struct ferry__command command = fill(memory, 0, 4096, 1);
    assert_int_equal(run(world, &command, 1).status, FERRY_OK);
}

/* A device that nobody has asked for anything compiles nothing; one that is asked goes on without
 * the kernels until they are there, and on an Apple GPU by nothing else from then on. */
static void test_kernels_when_needed(void **unused)
{
    (void)unused;
    static const struct {
        enum metalsim_machine machine;
        bool all;
    } machines[] = {{METALSIM_APPLE, true}, {METALSIM_INTEL, false}, {METALSIM_AMD, false}};
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        struct world world;
        start_machine(
            &(struct metalsim_config){.machine = machines[i].machine, .hung_compiler = true});
        open_bare(&world, (struct ferry__open_params){0});
        assert_true(world.limits.has_kernel);
        struct ferry__memory m = alloc(&world, FERRY__MEMORY_PRIVATE, 4096);
        const uint64_t before = counts().copies + counts().fills;
        assert_int_equal(counts().libraries, 0);
        assert_false(driver->kernels(world.state, 0));
        fill_once(&world, &m);
        assert_carried(before + 1, 0);
        assert_false(driver->kernels(world.state, 1000000));
        metalsim_end_hang();
        while (!driver->kernels(world.state, UINT64_MAX))
            usleep(1000); /* a machine that stalls uses up what the compiler is given */
        fill_once(&world, &m);
        assert_carried(before + 1 + !machines[i].all, machines[i].all);
        assert_int_equal(counts().libraries, 1);
        give(&world, &m);
        close_world(&world);
    }
}

/* On an Apple GPU any work at all needs them. */
static void test_kernels_for_any_work(void **unused)
{
    (void)unused;
    struct world world;
    start_machine(&(struct metalsim_config){0});
    open_bare(&world, (struct ferry__open_params){0});
    struct ferry__memory m = alloc(&world, FERRY__MEMORY_PRIVATE, 4096);
    assert_int_equal(counts().libraries, 0);
    while (!counts().dispatches)
        fill_once(&world, &m);
    assert_int_equal(counts().libraries, 1);
    give(&world, &m);
    close_world(&world);
}

/* Who needs them gives the compiler some seconds, and goes on without; so does close. */
static void test_compiler_that_hangs(void **unused)
{
    (void)unused;
    struct world world;
    open_listening(&world, (struct metalsim_config){.hung_compiler = true});
    assert_non_null(strstr(said, "unaligned work goes through the host: Metal's compiler took"));
    struct ferry__memory m = alloc(&world, FERRY__MEMORY_PRIVATE, 4096);
    fill_once(&world, &m);
    assert_int_equal(counts().fills, 1);
    give(&world, &m);
    driver->close(world.state);
    metalsim_end_hang(); /* and what it makes then is let go */
    while (counts().live_objects)
        usleep(1000);
    assert_int_equal(metalsim_reset(&(struct metalsim_config){0}), 0);
}

/* --- fork ------------------------------------------------------------------------------------- */

/* In the child: 0, or the number of the check that failed. A message would abort it. */
static int check_child(ferry_device *device, ferry_buffer *buffer)
{
    char why[FERRY__WHY_MAX] = "";
    struct ferry__limits limits;
    void *state = NULL;
    ferry_device *none = NULL;
    const struct ferry_device_params params = {.name = "metal"};
    unsigned char bytes[16] = {0};
    if (list_count(driver, NULL, 0, why) != 0 || !strstr(why, "child"))
        return 1;
    why[0] = 0;
    if (driver->open(&(struct ferry__open_params){0}, &state, &limits, why) !=
            FERRY_ERROR_NO_DEVICE ||
        !strstr(why, "fork"))
        return 2;
    if (ferry_device_open(&params, &none) != FERRY_ERROR_NO_DEVICE ||
        !strstr(ferry_last_error(), "fork"))
        return 3;
    if (ferry_copy_from_host(buffer, bytes, sizeof bytes, 0) != FERRY_ERROR_DEVICE_LOST)
        return 4;
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    return 0;
}

static void test_fork(void **unused)
{
    (void)unused;
    start_machine(&(struct metalsim_config){0});
    ferry_device *device = NULL;
    ferry_buffer *buffer = NULL;
    const struct ferry_device_params params = {.name = "metal"};
    assert_int_equal(ferry_device_open(&params, &device), FERRY_OK);
    assert_int_equal(
        ferry_buffer_create(device, &(struct ferry_buffer_params){.size = 4096}, &buffer),
        FERRY_OK);
    assert_int_equal(ferry_zero_buffer(buffer), FERRY_OK);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    const uint64_t before = counts().messages;
    pid_t child = fork();
    if (child == 0) {
        int failed = check_child(device, buffer);
        _exit(failed ? failed : counts().messages != before);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    assert_int_equal(metalsim_reset(&(struct metalsim_config){0}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_imports_that_lie),
        cmocka_unit_test(test_imports_that_hold),
        cmocka_unit_test(test_unknown_macos),
        cmocka_unit_test(test_residency),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_unmapped_when_done),
        cmocka_unit_test(test_kernels_when_needed),
        cmocka_unit_test(test_kernels_for_any_work),
        cmocka_unit_test(test_compiler_that_hangs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
