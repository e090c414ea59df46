/*
 * How long a device's lock is held where many operations are in flight, in steps (basic blocks of
 * the engine's code), so that it does not depend on the machine; and that no large memory is made,
 * moved or freed meanwhile, which takes long in one step.
 */
#include "base/base.h"
#include "base/lock_record.h"
#include "base/log.h"
#include "base/thread.h"
#include "host.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FEW = 2000, MANY = 20000, SLOT = 64, SIZE = MANY * SLOT };

/* What walks take at once needs 3,000 to 16,000 steps, and the most of it, 512 transfers, 25,000. */
enum { STEPS_MAX = 32000, MEMORY_MAX = 8 << 10 };

/* --- what is counted -------------------------------------------------------------------------- */

static _Thread_local const pthread_mutex_t *held; /* a device's lock */
static _Thread_local uint64_t steps, since;
static _Atomic uint64_t longest;
static _Atomic size_t largest;

static void most_u64(_Atomic uint64_t *most, uint64_t now)
{
    uint64_t before = atomic_load(most);
    while (before < now && !atomic_compare_exchange_weak(most, &before, now))
        ;
}

/* The compiler calls it in each basic block. */
void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
    steps++;
}

static void begin(const pthread_mutex_t *mutex)
{
    held = mutex;
    since = steps;
}

static void end(const pthread_mutex_t *mutex)
{
    if (held != mutex)
        return;
    most_u64(&longest, steps - since);
    held = NULL;
}

/* The linker calls these what the library's objects call by the plain names. */
void __real_ferry__lock_as(pthread_mutex_t *mutex, unsigned rank);
void __real_ferry__unlock(pthread_mutex_t *mutex);
void __real_ferry__cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
bool __real_ferry__cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t until_ns);
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);
void __wrap_ferry__lock_as(pthread_mutex_t *mutex, unsigned rank);
void __wrap_ferry__unlock(pthread_mutex_t *mutex);
void __wrap_ferry__cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
bool __wrap_ferry__cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t until_ns);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void __wrap_free(void *memory);

void __wrap_ferry__lock_as(pthread_mutex_t *mutex, unsigned rank)
{
    __real_ferry__lock_as(mutex, rank);
    if (rank < FERRY__LOCK_POOL)
        begin(mutex);
}

void __wrap_ferry__unlock(pthread_mutex_t *mutex)
{
    end(mutex);
    __real_ferry__unlock(mutex);
}

void __wrap_ferry__cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    const bool was_held = held == mutex;
    end(mutex);
    __real_ferry__cond_wait(cond, mutex);
    if (was_held)
        begin(mutex);
}

bool __wrap_ferry__cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t until_ns)
{
    const bool was_held = held == mutex;
    end(mutex);
    const bool woken = __real_ferry__cond_wait_until(cond, mutex, until_ns);
    if (was_held)
        begin(mutex);
    return woken;
}

static void note_memory(size_t size)
{
    if (held)
        most_u64(&largest, size);
}

void *__wrap_malloc(size_t size)
{
    note_memory(size);
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    note_memory(count * size);
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    note_memory(size);
    return __real_realloc(memory, size);
}

void __wrap_free(void *memory)
{
    if (memory)
        note_memory(malloc_usable_size(memory));
    __real_free(memory);
}

/* --- what is done ----------------------------------------------------------------------------- */

static ferry_device *device;
static ferry_buffer *buffer;
static struct ferry_external work; /* on all of the buffer, before all else */
static unsigned char host[SIZE];

static void upload(size_t at)
{
    assert_int_equal(
        ferry_copy_from_host_async(buffer, host + at * SLOT, SLOT, at * SLOT, NULL, NULL, NULL),
        FERRY_OK);
}

static void download(size_t at)
{
    assert_int_equal(
        ferry_copy_to_host_async(buffer, host + at * SLOT, SLOT, at * SLOT, NULL, NULL, NULL),
        FERRY_OK);
}

static void write_all(void)
{
    ferry_ticket ticket;
    assert_int_equal(ferry_zero_buffer_async(buffer, NULL, NULL, NULL), FERRY_OK);
    assert_int_equal(ferry_buffer_ticket(buffer, 0, 0, &ticket), FERRY_OK);
}

static void writes_and_one_of_all(size_t n)
{
    for (size_t i = 0; i < n; i++)
        upload(i * 7919 % n);
    write_all();
}

static void reads_of_a_range(size_t n)
{
    write_all();
    for (size_t i = 0; i < n; i++)
        download(0);
    write_all();
}

static void reads_of_all(size_t n)
{
    write_all();
    for (size_t i = 0; i < n; i++)
        download(i);
    write_all();
}

static void a_chain(size_t n)
{
    for (size_t i = 0; i < n; i++)
        upload(0);
}

static void one_batch(size_t n)
{
    ferry_batch *batch;
    assert_int_equal(ferry_batch_create(device, &batch), FERRY_OK);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(ferry_batch_copy_from_host(batch, buffer, host + i * SLOT, SLOT, i * SLOT),
                         FERRY_OK);
    assert_int_equal(ferry_batch_submit(batch, NULL, NULL, NULL), FERRY_OK);
    ferry_batch_destroy(batch);
}

/* One list of all blocks behind as many uploads, and as many behind that. */
static void blocks(size_t n)
{
    struct ferry_block *list = calloc(n, sizeof *list);
    assert_non_null(list);
    for (size_t i = 0; i < n; i++) {
        const size_t at = i * 7919 % n * SLOT;
        list[i] = (struct ferry_block){at, at, SLOT / 2};
        upload(i);
    }
    assert_int_equal(ferry_copy_blocks_to_host_async(buffer, host, list, n, NULL, NULL, NULL),
                     FERRY_OK);
    assert_int_equal(ferry_copy_blocks_from_host_async(buffer, host, list, n, NULL, NULL, NULL),
                     FERRY_OK);
    for (size_t i = 0; i < n; i++)
        upload(i);
    free(list);
}

/* Lists that lie across each other, and behind them what is behind many writes. */
static void lists_among_lists(size_t n)
{
    enum { EACH = 32, ENOUGH = 2 * FEW }; /* of which each follows many */
    n = n < ENOUGH ? n : ENOUGH;
    const size_t lists = n / EACH;
    for (size_t i = 0; i < 2 * lists; i++) {
        struct ferry_block list[EACH];
        for (size_t k = 0; k < EACH; k++) {
            const size_t at = (k * lists + i % lists) * SLOT;
            list[k] = (struct ferry_block){at, at, SLOT / 2};
        }
        if (i < lists)
            assert_int_equal(
                ferry_copy_blocks_from_host_async(buffer, host, list, EACH, NULL, NULL, NULL),
                FERRY_OK);
        else
            assert_int_equal(
                ferry_copy_blocks_to_host_async(buffer, host, list, EACH, NULL, NULL, NULL),
                FERRY_OK);
    }
    blocks(n);
}

static void end_work(const struct ferry_external *ended)
{
    assert_int_equal(ferry_external_end(device, ended->ticket, FERRY_OK), FERRY_OK);
}

/* Each on bytes of its own; all of them are followed, by what the device waits with where they have
 * events. */
static void external_works(size_t n)
{
    struct ferry_external *works = calloc(n, sizeof *works);
    assert_non_null(works);
    const bool by_event = work.signal.event;
    end_work(&work);
    if (by_event)
        ferry__host_event_signal(work.signal.event, work.signal.value);
    for (size_t i = 0; i < n; i++) {
        const struct ferry_use use = {buffer, FERRY_ACCESS_WRITE, i * SLOT, SLOT};
        assert_int_equal(ferry_external_begin(device, &use, 1, &works[i]), FERRY_OK);
    }
    assert_int_equal(ferry_copy_to_host_async(buffer, host, n * SLOT, 0, NULL, NULL, NULL),
                     FERRY_OK);
    write_all();
    for (size_t i = 1; i < n; i++)
        end_work(&works[i]);
    work = works[0];
    if (by_event) { /* the device waits for all of them at once */
        end_work(&work);
        struct ferry_stats stats;
        do
            ferry_device_get_stats(device, &stats, sizeof stats);
        while (!stats.submissions);
        for (size_t i = 0; i < n; i++)
            ferry__host_event_signal(works[i].signal.event, works[i].signal.value);
        const struct ferry_use use = {.buffer = buffer, .access = FERRY_ACCESS_WRITE};
        assert_int_equal(ferry_external_begin(device, &use, 1, &work), FERRY_OK);
        ferry__host_event_signal(work.signal.event, work.signal.value);
    }
    free(works);
}

static const struct body {
    const char *name;
    void (*run)(size_t n);
    const char *knobs; /* the host driver's */
} bodies[] = {
    {"a write of all behind many", writes_and_one_of_all, ""},
    {"behind reads of a range", reads_of_a_range, ""},
    {"behind reads", reads_of_all, ""},
    {"a chain", a_chain, ""},
    {"a batch", one_batch, ""},
    {"blocks", blocks, ""},
    {"lists among lists", lists_among_lists, ""},
    {"external works", external_works, ""},
    {"external works by events", external_works, "events,delay_us=1"},
};

static int set_up(void **state)
{
    if (setenv("FERRY_HOST", bodies[(uintptr_t)*state / 2].knobs, 1))
        return -1;
    const struct ferry_buffer_params params = {.size = SIZE, .zeroed = true};
    const struct ferry_device_params staged = {.name = "host", .path = FERRY_PATH_STAGED};
    if (ferry_device_open(&staged, &device) || ferry_buffer_create(device, &params, &buffer))
        return -1;
    const struct ferry_use use = {.buffer = buffer, .access = FERRY_ACCESS_WRITE};
    atomic_store(&longest, 0);
    atomic_store(&largest, 0);
    return ferry_external_begin(device, &use, 1, &work) ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    return 0;
}

static void run(void **state)
{
    bodies[(uintptr_t)*state / 2].run((uintptr_t)*state % 2 ? MANY : FEW);
    end_work(&work);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    const uint64_t held_for = atomic_load(&longest);
    const size_t memory = atomic_load(&largest);
    print_message("held for %llu steps at most; %zu bytes of memory\n",
                  (unsigned long long)held_for, memory);
    assert_true(held_for > 0 && held_for <= STEPS_MAX);
    assert_true(memory <= MEMORY_MAX);
}

int main(void)
{
    enum { BODIES = sizeof bodies / sizeof *bodies };
    struct CMUnitTest tests[BODIES * 2];
    for (size_t i = 0; i < BODIES * 2; i++)
        tests[i] = (struct CMUnitTest){.name = bodies[i / 2].name,
                                       .test_func = run,
                                       .setup_func = set_up,
                                       .teardown_func = tear_down,
                                       .initial_state = (void *)(uintptr_t)i};
    if (getenv("BODY")) /* this one alone */
        cmocka_set_test_filter(getenv("BODY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
