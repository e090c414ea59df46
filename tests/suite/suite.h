/*
 * The suite: test bodies that run on every driver. A configuration (configs.c) says which device is
 * opened and how; a body asks the device what it can do and skips what it cannot, and never looks
 * at a driver's name.
 *
 * cmocka leaves a failing test by longjmp: OK, IS and the expect_ functions are for the test's own
 * thread. Callbacks and threads note what they see, and the test looks at the notes afterwards.
 */
#ifndef FERRY_TESTS_SUITE_H
#define FERRY_TESTS_SUITE_H

#include <ferry/ferry.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- configurations (configs.c) --------------------------------------------------------------- */

struct suite_config {
    const char *name;
    const char *knobs_variable; /* the environment variable with the driver's test knobs; NULL: the
                                   driver has none, and tests that need failures are skipped */
    const char *knobs;          /* its value for this configuration; NULL: none */
    const char *second;         /* the device of tests with two; NULL: the first one once more */
    const char *second_knobs;
    /* Where the driver has events: what the user's own GPU interface would do with one. NULL: tests
     * that end external work by hand are skipped on a driver with events. */
    void (*event_signal)(uint64_t event, uint64_t value);
    bool (*event_wait)(uint64_t event, uint64_t value);
    const char *strict_library; /* the strict Vulkan (tests/strictvk) that the device is seen
                                   through; NULL: it is no Vulkan device */
    const char *strict;         /* its options */
    const char *engine;         /* FERRY_VULKAN_ENGINE; NULL: as it is */
    const char *loses; /* the device that knobs lose; NULL: params.name. Where all that is open on
                          a device is lost at once it is one that no test has open */
    struct ferry_device_params params;
    bool big;            /* also transfers over 4 GiB, which commit that much memory */
    bool retries_memory; /* its driver tries another kind of memory when one is refused */
    bool no_kernels;     /* they do not compile: nobody waits for them */
};

extern const struct suite_config suite_configs[];
extern const size_t suite_config_count;
extern const struct suite_config *suite; /* the one that runs */

/* --- groups: one table of tests per file ------------------------------------------------------ */

struct suite_group {
    const char *name;
    const struct CMUnitTest *tests;
    size_t count;
};

#define SUITE_GROUP(noun) \
    const struct suite_group suite_##noun = {#noun, tests, sizeof tests / sizeof tests[0]}

/* A test with the configuration's device open: *state is a struct fixture. */
#define SUITE_TEST(body) cmocka_unit_test_setup_teardown(body, suite_setup, suite_teardown)

struct fixture {
    ferry_device *device;
    struct ferry_device_info info;
};

int suite_setup(void **state);
int suite_teardown(void **state);

/* Skips the test that runs, and says why. */
void suite_skip(const char *why);
void suite_skip_unless(bool can, const char *why);
extern unsigned suite_skipped, suite_ran;

/* --- statuses --------------------------------------------------------------------------------- */

#define OK(call) suite_expect((call), FERRY_OK, #call, __FILE__, __LINE__)
#define IS(status, call) suite_expect((call), (status), #call, __FILE__, __LINE__)

void suite_expect(enum ferry_status got, enum ferry_status want, const char *call, const char *file,
                  int line);

/* The last error holds this text. */
void expect_words(const char *text);

/* --- devices ---------------------------------------------------------------------------------- */

/* The configuration's device with more knobs ("fail_exec=1"; NULL: none). Skips the test where the
 * configuration's driver has no knobs and some are asked for. */
ferry_device *open_with(const char *more_knobs, const struct ferry_device_params *params);

/* The same, reached through the device's queues only, so that knobs about submissions bite. */
ferry_device *open_queued(const char *more_knobs);

/* The configuration's second device. */
ferry_device *open_second(void);
ferry_device *open_second_with(struct ferry_device_params params); /* but for the name */

/* --- buffers with a model of what they hold ---------------------------------------------------- */

struct mirror {
    ferry_buffer *buffer;
    unsigned char *bytes;
    size_t size;
};

extern const enum ferry_storage suite_storages[2];
extern const size_t suite_sizes[];
extern const size_t suite_size_count;
extern const size_t suite_offsets[];
extern const size_t suite_offset_count;

ferry_buffer *make_buffer(ferry_device *device, size_t size, enum ferry_storage storage);

/* A buffer full of bytes that depend on seed. */
struct mirror make_mirror(ferry_device *device, size_t size, enum ferry_storage storage,
                          unsigned seed);
void drop_mirror(struct mirror *mirror);

/* Reads the whole buffer and compares; says which bytes differ. */
void expect_mirror(const struct mirror *mirror);

/* Bytes that depend on seed: never two alike runs at different offsets. */
void scribble(void *memory, size_t size, unsigned seed);
void *scribbled(size_t size, unsigned seed); /* malloc'ed */
void *xmalloc(size_t size);                  /* never NULL */

/* Compares, and names the first byte that differs. */
void expect_bytes(const void *got, const void *want, size_t size, const char *what);

/* What fill does, on a model. */
void model_fill(unsigned char *bytes, size_t size, size_t offset, const void *pattern,
                size_t pattern_size);

/* --- files (files.c) ---------------------------------------------------------------------------- */

/* A file without a name, of these bytes; flags besides O_RDWR. */
int make_file(const void *bytes, size_t size, int flags);
/* The file holds these bytes, and no more. */
void expect_file(int fd, const void *bytes, size_t size);

/* --- callbacks ----------------------------------------------------------------------------------- */

/* Notes of callbacks: user is one of these. */
struct note {
    _Atomic unsigned calls;
    _Atomic int status;
    _Atomic uint64_t ticket;
    _Atomic unsigned place;   /* 1 for the first callback of the test, ... */
    _Atomic bool same_thread; /* it ran on the thread that made the note */
    uintptr_t maker;
    char error[256]; /* ferry_last_error() in the callback */
};

void note_init(struct note *note);
void note_callback(enum ferry_status status, ferry_ticket ticket, void *user);

/* --- holding a buffer busy ----------------------------------------------------------------------- */

/* Skips the test where only the user's own GPU interface could end external work, and the
 * configuration has no such thing. First in a test that holds. */
void require_hold(ferry_device *device);

/* External work that the test ends by hand: until then what follows on the buffer is pending. */
struct ferry_external hold(ferry_device *device, ferry_buffer *buffer, unsigned access);
void release(ferry_device *device, const struct ferry_external *held);

/* Ends it with an error: what it wrote has failed. */
void release_failed(ferry_device *device, const struct ferry_external *held);

struct ferry_stats read_stats(ferry_device *device);

/* Operations and bytes of one kind over all paths. */
uint64_t count_operations(const struct ferry_stats *stats, enum ferry_operation operation);
uint64_t count_bytes(const struct ferry_stats *stats, enum ferry_operation operation);

/* True under AddressSanitizer or ThreadSanitizer: memory is slow, and more of it is needed. */
bool suite_sanitised(void);

/* True under ThreadSanitizer, to which two threads that copy to the same bytes are always wrong,
 * though the promise allows it. */
bool suite_watches_races(void);

/* Kernels may have to be compiled first; this waits for them. False: there will be none. */
bool suite_kernels_come(ferry_device *device);

#endif
