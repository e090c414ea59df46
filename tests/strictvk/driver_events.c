/* Events, waiting, waking, threads that look on. */
#include "vulkan_driver.h"

/* --- events and waiting ----------------------------------------------------------------------- */

static void test_events(void **state)
{
    struct fixture *f = *state;
    uint64_t event;
    assert_int_equal(driver->event_create(f->state, &event, f->why), FERRY_OK);
    assert_int_equal(driver->completed(f->state, event), 0);
    struct ferry__memory memory = alloc(f, FERRY__MEMORY_SHARED, 4096);
    memset(memory.host, 1, 4096);
    struct ferry__command fill = {
        .kind = FERRY__FILL, .dst = &memory, .size = 4096, .pattern_size = 1, .pattern = {9}};
    struct ferry__result result;
    struct ferry_sync point =
        submit(f, FERRY__ROLE_COPY, &fill, 1, &(struct ferry_sync){event, 3}, 1, &result);
    driver->wait_any(f->state, &point, 1, 2000000);
    driver->event_signal(f->state, event, 2);
    assert_int_equal(driver->completed(f->state, event), 2);
    driver->wait_any(f->state, &point, 1, 2000000);
    assert_int_equal(driver->completed(f->state, point.event), point.value - 1);
    assert_int_equal(result.status, FERRY_PENDING);
    assert_int_equal(memory.host[17], 1);
    driver->event_signal(f->state, event, 3);
    wait_for(f, point);
    assert_int_equal(result.status, FERRY_OK);
    assert_int_equal(memory.host[17], 9);
    driver->event_signal(f->state, event, 2); /* an older value changes nothing */
    assert_int_equal(driver->completed(f->state, event), 3);
    driver->event_destroy(f->state, event);
    release(f, &memory);
}

/* More waits than the driver keeps on its stack. */
static void test_many_waits(void **state)
{
    enum { COUNT = 40 };
    struct fixture *f = *state;
    struct ferry_sync waits[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        waits[i].value = i % 3 + 1;
        assert_int_equal(driver->event_create(f->state, &waits[i].event, f->why), FERRY_OK);
    }
    struct ferry__memory memory = alloc(f, FERRY__MEMORY_SHARED, 4096);
    struct ferry__command fill = {
        .kind = FERRY__FILL, .dst = &memory, .size = 4096, .pattern_size = 1, .pattern = {9}};
    struct ferry__result result;
    struct ferry_sync point = submit(f, FERRY__ROLE_COPY, &fill, 1, waits, COUNT, &result);
    /* Each is waited for: the last to come is in the middle. */
    for (size_t i = 0; i < COUNT; i++)
        if (i != COUNT / 2)
            driver->event_signal(f->state, waits[i].event, waits[i].value);
    driver->wait_any(f->state, &point, 1, 2000000);
    assert_int_equal(driver->completed(f->state, point.event), point.value - 1);
    /* So is each of many points: one of the last alone is reached here. */
    struct ferry_sync points[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        points[i] = (struct ferry_sync){waits[COUNT / 2].event, 1 + i};
    points[COUNT - 1] = waits[0];
    driver->wait_any(f->state, points, COUNT, FERRY_FOREVER);
    driver->event_signal(f->state, waits[COUNT / 2].event, 3);
    wait_for(f, point);
    for (size_t i = 0; i < COUNT; i++)
        driver->event_destroy(f->state, waits[i].event);
    release(f, &memory);
}

struct sleeper {
    struct fixture *f;
    struct ferry_sync point;
    size_t count;
};

static void *sleep_for_ever(void *arg)
{
    struct sleeper *s = arg;
    driver->wait_any(s->f->state, &s->point, s->count, FERRY_FOREVER);
    return NULL;
}

static void test_wake(void **state)
{
    struct fixture *f = *state;
    struct sleeper s = {.f = f};
    s.point.value = 1;
    assert_int_equal(driver->event_create(f->state, &s.point.event, f->why), FERRY_OK);
    /* Called before the wait: it still counts, once. */
    driver->wake(f->state);
    driver->wake(f->state);
    driver->wait_any(f->state, &s.point, 1, FERRY_FOREVER);
    uint64_t start = ferry__now_ns();
    driver->wait_any(f->state, &s.point, 1, 5000000);
    driver->wait_any(f->state, NULL, 0, 5000000);
    assert_true(ferry__now_ns() - start >= 10000000);
    /* While asleep, with points and without. A lost wake hangs here. */
    for (s.count = 0; s.count <= 1; s.count++)
        for (int i = 0; i < 20; i++) {
            pthread_t thread;
            assert_int_equal(ferry__thread_start(&thread, "sleeper", sleep_for_ever, &s), 0);
            struct timespec nap = {.tv_nsec = i * 50000};
            nanosleep(&nap, NULL);
            driver->wake(f->state);
            pthread_join(thread, NULL);
        }
    driver->event_destroy(f->state, s.point.event);
}

/* --- threads ---------------------------------------------------------------------------------- */

struct worker {
    struct fixture *f;
    unsigned queue;
    uint64_t value;
    struct ferry__result *records;
    struct ferry__memory memory;
    _Atomic bool stop;
};

enum { ROUNDS = 200 };

static void *look_on(void *arg)
{
    struct worker *w = arg;
    uint64_t event = w->f->limits.queues[w->queue].event, last = 0;
    while (!atomic_load(&w->stop)) {
        uint64_t value = driver->completed(w->f->state, event);
        assert_true(value >= last);
        for (uint64_t i = last; i < value; i++)
            if (w->records[i].status != FERRY_OK)
                abort(); /* an assertion of another thread than the test's own */
        last = value;
        struct ferry_sync next = {event, value + 1};
        driver->wait_any(w->f->state, &next, 1, 1000000);
    }
    return NULL;
}

/* One thread submits, others look on: no value is seen before its record is written. */
static void test_records_come_first(void **state)
{
    struct fixture *f = *state;
    struct worker w = {.f = f, .queue = queue_for(f, FERRY__ROLE_COPY)};
    w.records = calloc(ROUNDS, sizeof *w.records);
    w.memory = alloc(f, FERRY__MEMORY_PRIVATE, 65536);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(ferry__thread_start(&threads[i], "look-on", look_on, &w), 0);
    struct ferry_sync last = {0};
    for (int i = 0; i < ROUNDS; i++) {
        struct ferry__command command = copy(&w.memory, 32768, &w.memory, 0, 32768);
        last = submit(f, FERRY__ROLE_COPY, &command, 1, NULL, 0, &w.records[i]);
    }
    wait_for(f, last);
    atomic_store(&w.stop, true);
    driver->wake(f->state);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < ROUNDS; i++)
        assert_int_equal(w.records[i].status, FERRY_OK);
    release(f, &w.memory);
    free(w.records);
}

static const struct CMUnitTest tests[] = {
    ON_DEVICE(test_events),
    ON_DEVICE(test_many_waits),
    ON_DEVICE(test_wake),
    UNMAPPED(test_records_come_first),
};

GROUP(events);
