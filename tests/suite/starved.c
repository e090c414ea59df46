/* Host memory that is short: each allocation of Ferry's own fails in turn, through the whole life of a
 * device. Whatever meets it says so, with a memory status and words, or does without. */
#include "suite.h"

#include "base/base.h"
#include "hang.h"

#include <unistd.h>

enum { SIZE = 70001, PART = 20011, OFFSET = 13, STEPS_MAX = 5000 };

/* What one life has. */
struct life {
    ferry_device *device;
    ferry_buffer *a, *b;
    unsigned char *bytes, *got; /* SIZE each */
    int fd;
    bool ends; /* the test can end external work */
};

static bool is_of_memory(enum ferry_status status)
{
    return status == FERRY_ERROR_OUT_OF_HOST_MEMORY || status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
}

/* True: it went well. */
static bool well(enum ferry_status status, const char *what)
{
    if (!status)
        return true;
    if (!is_of_memory(status))
        fail_msg("%s: %s: %s", what, ferry_status_name(status), ferry_last_error());
    if (!ferry_last_error()[0])
        fail_msg("%s: %s, without words", what, ferry_status_name(status));
    return false;
}

#define WELL(call) well((call), #call)

/* --- the parts of a life ----------------------------------------------------------------------- */

static void list_all(void)
{
    size_t count = 0;
    struct ferry_device_info infos[8];
    struct ferry_driver_info drivers[8];
    if (WELL(ferry_device_list(infos, 8, &count)))
        assert_true(count > 0);
    if (WELL(ferry_driver_list(drivers, 8, &count)))
        assert_true(count > 0);
}

static bool make_buffers(struct life *life)
{
    const struct ferry_buffer_params private = {.size = SIZE, .label = "a", .zeroed = true};
    const struct ferry_buffer_params shared = {.size = SIZE, .storage = FERRY_STORAGE_SHARED};
    return WELL(ferry_buffer_create(life->device, &private, &life->a)) &&
           WELL(ferry_buffer_create(life->device, &shared, &life->b));
}

/* Each is tried, whatever became of those before it. */
static bool wait_each(struct life *life)
{
    bool good = WELL(ferry_copy_from_host(life->a, life->bytes, SIZE, 0));
    good &= WELL(ferry_fill_buffer(life->b, SIZE, 0, "abc", 3));
    good &= WELL(ferry_copy_buffer(life->b, life->a, PART, OFFSET, 1));
    good &= WELL(ferry_copy_buffer(life->a, life->a, PART, OFFSET, 2 * OFFSET));
    good &= WELL(ferry_copy_to_host(life->b, life->got, PART, OFFSET));
    return good;
}

/* What was begun ends, once; the callback and the ticket say the same. */
static bool ended(struct life *life, enum ferry_status begun, ferry_ticket ticket,
                  struct note *note, const char *what)
{
    if (!well(begun, what))
        return false;
    const enum ferry_status status = ferry_wait(life->device, ticket, FERRY_FOREVER);
    const bool good = well(status, what);
    while (!atomic_load(&note->calls))
        usleep(100);
    assert_int_equal(note->calls, 1);
    assert_int_equal(note->status, status);
    return good;
}

static bool begin_each(struct life *life)
{
    struct note notes[3];
    ferry_ticket tickets[3] = {0};
    for (int i = 0; i < 3; i++)
        note_init(&notes[i]);
    const enum ferry_status up = ferry_copy_from_host_async(
        life->a, life->bytes + OFFSET, PART, OFFSET, note_callback, &notes[0], &tickets[0]);
    const enum ferry_status copy = ferry_copy_buffer_async(life->b, life->a, PART, 0, OFFSET,
                                                           note_callback, &notes[1], &tickets[1]);
    const enum ferry_status down = ferry_copy_to_host_async(life->b, life->got, PART, 0,
                                                            note_callback, &notes[2], &tickets[2]);
    bool good = ended(life, up, tickets[0], &notes[0], "upload");
    good &= ended(life, copy, tickets[1], &notes[1], "copy");
    good &= ended(life, down, tickets[2], &notes[2], "download");
    return good;
}

static bool run_batch(struct life *life)
{
    ferry_batch *batch = NULL;
    ferry_ticket ticket = 0;
    struct note note;
    note_init(&note);
    if (!WELL(ferry_batch_create(life->device, &batch)))
        return false;
    bool good = true;
    for (size_t i = 0; i < 20 && good; i++)
        good = WELL(ferry_batch_copy_from_host(batch, life->a, life->bytes, 100, i * 200)) &&
               WELL(ferry_batch_copy_buffer(batch, life->b, life->a, 77, i * 200 + 1, i * 200)) &&
               WELL(ferry_batch_copy_to_host(batch, life->b, life->got + i * 100, 99, i * 200));
    if (good) {
        const enum ferry_status begun = ferry_batch_submit(batch, note_callback, &note, &ticket);
        good = ended(life, begun, ticket, &note, "batch");
    }
    ferry_batch_destroy(batch);
    return good;
}

static bool use_files(struct life *life)
{
    bool good = WELL(ferry_copy_to_file(life->b, life->fd, 7, PART, 3));
    good &= WELL(ferry_copy_from_file(life->a, life->fd, 7, PART, OFFSET));
    return good;
}

static bool use_host_memory(struct life *life)
{
    void *memory = NULL;
    if (!WELL(ferry_host_alloc(life->device, SIZE, &memory)))
        return false;
    memcpy(memory, life->bytes, SIZE);
    const bool good = WELL(ferry_copy_from_host(life->a, memory, SIZE, 0));
    ferry_host_free(life->device, memory);
    return good;
}

static bool work_outside(struct life *life)
{
    struct ferry_external work = {0};
    const struct ferry_use use = {.buffer = life->a, .access = FERRY_ACCESS_READ};
    if (!life->ends)
        return true;
    if (!WELL(ferry_external_begin(life->device, &use, 1, &work)))
        return false;
    ferry_ticket ticket = 0;
    const enum ferry_status behind =
        ferry_fill_buffer_async(life->a, SIZE, 0, "x", 1, NULL, NULL, &ticket);
    OK(ferry_external_end(life->device, work.ticket, FERRY_OK));
    if (work.signal.event)
        suite->event_signal(work.signal.event, work.signal.value);
    return well(behind, "fill") && WELL(ferry_wait(life->device, ticket, FERRY_FOREVER));
}

/* --- one life, and each failure ----------------------------------------------------------------- */

/* True: all of it went well. */
static bool live(struct life *life)
{
    life->device = NULL;
    life->a = life->b = NULL;
    if (!WELL(ferry_device_open(&suite->params, &life->device)))
        return false;
    static bool (*const parts[])(struct life * life) = {wait_each, begin_each,      run_batch,
                                                        use_files, use_host_memory, work_outside};
    bool good = make_buffers(life);
    const size_t count = good ? sizeof parts / sizeof parts[0] : 0;
    for (size_t i = 0; i < count; i++)
        good &= parts[i](life);
    ferry_buffer_destroy(life->a);
    ferry_buffer_destroy(life->b);
    ferry_device_close(life->device);
    return good;
}

static void begin_life(struct life *life, ferry_device *device)
{
    const struct ferry_buffer_params params = {.size = 1};
    struct ferry_external held = {0};
    ferry_buffer *buffer = NULL;
    OK(ferry_buffer_create(device, &params, &buffer));
    OK(ferry_external_begin(
        device, &(struct ferry_use){.buffer = buffer, .access = FERRY_ACCESS_WRITE}, 1, &held));
    OK(ferry_external_end(device, held.ticket, FERRY_ERROR_EXECUTION_FAILED));
    ferry_buffer_destroy(buffer);
    *life = (struct life){.bytes = scribbled(SIZE, 5),
                          .got = xmalloc(SIZE),
                          .ends = !held.signal.event || suite->event_signal};
    life->fd = make_file(life->bytes, SIZE, 0);
}

static void test_each_allocation_fails(void **state)
{
    struct fixture *fixture = *state;
    struct life life;
    begin_life(&life, fixture->device);
    uint64_t n = 1;
    for (bool failed = true; failed; n++) {
        (void)ferry__alloc_fail_at(n);
        const bool good = live(&life);
        failed = ferry__alloc_fail_at(0) >= n;
        assert_true(failed || good);
        assert_true(n < STEPS_MAX);
        alarm(HANG_SECONDS);
    }
    assert_true(n > 20); /* there was something to fail */
    assert_true(live(&life));
    close(life.fd);
    free(life.bytes);
    free(life.got);
}

static void test_lists(void **state)
{
    (void)state;
    uint64_t n = 1;
    for (bool failed = true; failed; n++) {
        (void)ferry__alloc_fail_at(n);
        list_all();
        failed = ferry__alloc_fail_at(0) >= n;
        assert_true(n < STEPS_MAX);
    }
}

static const struct CMUnitTest tests[] = {SUITE_TEST(test_each_allocation_fails),
                                          SUITE_TEST(test_lists)};

SUITE_GROUP(starved);
