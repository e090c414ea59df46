/* What the bodies share: fixtures, statuses, buffers with models, notes of callbacks, holds. */
#include "hang.h"
#include "suite.h"

#include <time.h>

#include <pthread.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITISED_ADDRESS true
#elif defined(__has_feature)
#define SANITISED_ADDRESS __has_feature(address_sanitizer)
#else
#define SANITISED_ADDRESS false
#endif

#if defined(__SANITIZE_THREAD__)
#define SANITISED_THREAD true
#elif defined(__has_feature)
#define SANITISED_THREAD __has_feature(thread_sanitizer)
#else
#define SANITISED_THREAD false
#endif

unsigned suite_skipped, suite_ran;

const enum ferry_storage suite_storages[2] = {FERRY_STORAGE_PRIVATE, FERRY_STORAGE_SHARED};
const size_t suite_sizes[] = {0, 1, 3, 4, 5, 31, 33, 4095, 4096, 4097, 65537};
const size_t suite_size_count = sizeof suite_sizes / sizeof suite_sizes[0];
const size_t suite_offsets[] = {0, 1, 3, 4, 7, 17, 31};
const size_t suite_offset_count = sizeof suite_offsets / sizeof suite_offsets[0];

static _Atomic unsigned next_place;

int suite_setup(void **state)
{
    static struct fixture fixture;
    suite_ran++;
    next_place = 0;
    alarm(HANG_SECONDS);
    fixture = (struct fixture){0};
    enum ferry_status status = ferry_device_open(&suite->params, &fixture.device);
    if (status != FERRY_OK) {
        print_error("ferry_device_open: %s: %s\n", ferry_status_name(status), ferry_last_error());
        return -1;
    }
    ferry_device_get_info(fixture.device, &fixture.info);
    *state = &fixture;
    return 0;
}

int suite_teardown(void **state)
{
    struct fixture *fixture = *state;
    ferry_device_close(fixture->device);
    fixture->device = NULL;
    alarm(0);
    return 0;
}

void suite_skip(const char *why)
{
    printf("           skipped: %s\n", why);
    suite_skipped++;
    skip();
}

void suite_skip_unless(bool can, const char *why)
{
    if (!can)
        suite_skip(why);
}

void suite_expect(enum ferry_status got, enum ferry_status want, const char *call, const char *file,
                  int line)
{
    if (got == want)
        return;
    print_error("%s: %s, not %s\n    %s\n", call, ferry_status_name(got), ferry_status_name(want),
                ferry_last_error());
    _fail(file, line);
}

void expect_words(const char *text)
{
    if (strstr(ferry_last_error(), text) == NULL)
        fail_msg("the last error \"%s\" does not say \"%s\"", ferry_last_error(), text);
}

bool suite_sanitised(void)
{
    return SANITISED_ADDRESS || SANITISED_THREAD;
}

bool suite_watches_races(void)
{
    return SANITISED_THREAD;
}

/* --- devices ---------------------------------------------------------------------------------- */

static void set_knobs(const char *first, const char *second)
{
    char value[512];
    bool both = first != NULL && second != NULL;
    snprintf(value, sizeof value, "%s%s%s", first != NULL ? first : "", both ? "," : "",
             second != NULL ? second : "");
    setenv(suite->knobs_variable, value, 1);
}

static enum ferry_status open_knobbed(const char *first, const char *second,
                                      const struct ferry_device_params *params,
                                      ferry_device **out_device)
{
    if (suite->knobs_variable != NULL)
        set_knobs(first, second);
    enum ferry_status status = ferry_device_open(params, out_device);
    if (suite->knobs_variable != NULL)
        set_knobs(suite->knobs, NULL);
    return status;
}

ferry_device *open_with(const char *more_knobs, const struct ferry_device_params *params)
{
    ferry_device *device = NULL;
    suite_skip_unless(more_knobs == NULL || suite->knobs_variable != NULL,
                      "this driver has no test knobs");
    OK(open_knobbed(suite->knobs, more_knobs, params, &device));
    return device;
}

ferry_device *open_queued(const char *more_knobs)
{
    struct ferry_device_params params = suite->params;
    params.map_private = FERRY_MAP_NEVER;
    if (params.path == FERRY_PATH_DIRECT)
        params.path = FERRY_PATH_STAGED;
    if (suite->loses != NULL && more_knobs != NULL && strstr(more_knobs, "lose_at") != NULL)
        params.name = suite->loses;
    return open_with(more_knobs, &params);
}

ferry_device *open_second(void)
{
    return open_second_with(suite->params);
}

ferry_device *open_second_with(struct ferry_device_params params)
{
    ferry_device *device = NULL;
    if (suite->second != NULL)
        params.name = suite->second;
    const char *knobs = suite->second != NULL ? suite->second_knobs : suite->knobs;
    OK(open_knobbed(knobs, NULL, &params, &device));
    return device;
}

/* --- buffers with a model --------------------------------------------------------------------- */

void *xmalloc(size_t size)
{
    void *memory = malloc(size != 0 ? size : 1);
    assert_non_null(memory);
    return memory;
}

void scribble(void *memory, size_t size, unsigned seed)
{
    unsigned char *bytes = memory;
    uint64_t x = seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du;
    for (size_t i = 0; i < size; i += sizeof x) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(bytes + i, &x, size - i < sizeof x ? size - i : sizeof x);
    }
}

void *scribbled(size_t size, unsigned seed)
{
    void *memory = xmalloc(size);
    scribble(memory, size, seed);
    return memory;
}

ferry_buffer *make_buffer(ferry_device *device, size_t size, enum ferry_storage storage)
{
    ferry_buffer *buffer = NULL;
    OK(ferry_buffer_create(
        device, &(struct ferry_buffer_params){.size = size, .storage = storage, .label = "test"},
        &buffer));
    return buffer;
}

struct mirror make_mirror(ferry_device *device, size_t size, enum ferry_storage storage,
                          unsigned seed)
{
    struct mirror mirror = {make_buffer(device, size, storage), scribbled(size, seed), size};
    OK(ferry_copy_from_host(mirror.buffer, mirror.bytes, size, 0));
    return mirror;
}

void drop_mirror(struct mirror *mirror)
{
    ferry_buffer_destroy(mirror->buffer);
    free(mirror->bytes);
    *mirror = (struct mirror){0};
}

void expect_mirror(const struct mirror *mirror)
{
    unsigned char *got = xmalloc(mirror->size);
    memset(got, 0xA5, mirror->size);
    OK(ferry_copy_to_host(mirror->buffer, got, mirror->size, 0));
    expect_bytes(got, mirror->bytes, mirror->size, "the buffer");
    free(got);
}

void expect_bytes(const void *got, const void *want, size_t size, const char *what)
{
    const unsigned char *a = got;
    const unsigned char *b = want;
    if (memcmp(a, b, size) == 0)
        return;
    size_t first = 0;
    while (a[first] == b[first])
        first++;
    size_t last = size - 1;
    while (a[last] == b[last])
        last--;
    fail_msg("%s of %zu bytes differs between offsets %zu (0x%02x, not 0x%02x) and %zu (0x%02x, "
             "not 0x%02x)",
             what, size, first, a[first], b[first], last, a[last], b[last]);
}

void model_fill(unsigned char *bytes, size_t size, size_t offset, const void *pattern,
                size_t pattern_size)
{
    size_t done = size < pattern_size ? size : pattern_size;
    memcpy(bytes + offset, pattern, done);
    for (; done < size; done *= 2) /* the first time, and whenever it doubles, whole patterns */
        memcpy(bytes + offset + done, bytes + offset, size - done < done ? size - done : done);
}

/* --- callbacks -------------------------------------------------------------------------------- */

void note_init(struct note *note)
{
    memset(note, 0, sizeof *note);
    note->maker = (uintptr_t)pthread_self();
}

void note_callback(enum ferry_status status, ferry_ticket ticket, void *user)
{
    struct note *note = user;
    note->status = (int)status;
    note->ticket = ticket;
    note->place = ++next_place;
    note->same_thread = note->maker == (uintptr_t)pthread_self();
    snprintf(note->error, sizeof note->error, "%s", ferry_last_error());
    note->calls++;
}

/* --- holding a buffer busy -------------------------------------------------------------------- */

void require_hold(ferry_device *device)
{
    struct ferry_external held = {0};
    ferry_buffer *buffer = make_buffer(device, 1, FERRY_STORAGE_PRIVATE);
    OK(ferry_external_begin(
        device, &(struct ferry_use){.buffer = buffer, .access = FERRY_ACCESS_WRITE}, 1, &held));
    OK(ferry_external_end(device, held.ticket, FERRY_ERROR_EXECUTION_FAILED));
    ferry_buffer_destroy(buffer);
    suite_skip_unless(held.signal.event == 0 || suite->event_signal != NULL,
                      "only the user's own signal ends external work here");
}

struct ferry_external hold(ferry_device *device, ferry_buffer *buffer, unsigned access)
{
    struct ferry_external held = {0};
    OK(ferry_external_begin(device, &(struct ferry_use){.buffer = buffer, .access = access}, 1,
                            &held));
    OK(ferry_wait(device, held.ready, FERRY_FOREVER));
    return held;
}

void release(ferry_device *device, const struct ferry_external *held)
{
    OK(ferry_external_end(device, held->ticket, FERRY_OK));
    if (held->signal.event != 0)
        suite->event_signal(held->signal.event, held->signal.value);
}

void release_failed(ferry_device *device, const struct ferry_external *held)
{
    OK(ferry_external_end(device, held->ticket, FERRY_ERROR_EXECUTION_FAILED));
}

/* --- statistics ------------------------------------------------------------------------------- */

struct ferry_stats read_stats(ferry_device *device)
{
    struct ferry_stats stats;
    memset(&stats, 0xEE, sizeof stats);
    ferry_device_get_stats(device, &stats, sizeof stats);
    return stats;
}

uint64_t count_operations(const struct ferry_stats *stats, enum ferry_operation operation)
{
    uint64_t sum = 0;
    for (int path = 0; path < FERRY_PATH_COUNT; path++)
        sum += stats->operations[operation][path].operations;
    return sum;
}

uint64_t count_bytes(const struct ferry_stats *stats, enum ferry_operation operation)
{
    uint64_t sum = 0;
    for (int path = 0; path < FERRY_PATH_COUNT; path++)
        sum += stats->operations[operation][path].bytes;
    return sum;
}

bool suite_kernels_come(ferry_device *device)
{
    const struct timespec nap = {.tv_nsec = 5000000};
    struct ferry_explanation told;
    static bool none; /* of this configuration */
    for (int naps = 0; naps < 12000 && !none && !suite->no_kernels; naps++) {
        OK(ferry_explain(device, NULL, FERRY_OPERATION_UPLOAD, NULL, 48, 100, &told));
        if (!strstr(told.reason, "to be compiled"))
            return true;
        nanosleep(&nap, NULL);
    }
    none = true;
    return false;
}
