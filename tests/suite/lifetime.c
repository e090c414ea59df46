/* Handles: destroyed while in use, closed with work in flight, alive after the device, forked. */
#include "hang.h"
#include "suite.h"

#include <sys/wait.h>
#include <unistd.h>

static void test_destroy_in_flight(void **state)
{
    struct fixture *fixture = *state;
    struct mirror kept = make_mirror(fixture->device, 50000, FERRY_STORAGE_PRIVATE, 1);
    for (unsigned i = 0; i < 50; i++) {
        struct mirror gone = make_mirror(fixture->device, 50000, suite_storages[i % 2], 2 + i);
        OK(ferry_fill_buffer_async(gone.buffer, 40000, i, &i, 1, NULL, NULL, NULL));
        model_fill(gone.bytes, 40000, i, &i, 1);
        OK(ferry_copy_buffer_async(kept.buffer, gone.buffer, 1000, i * 900, i, NULL, NULL, NULL));
        memcpy(kept.bytes + i * 900, gone.bytes + i, 1000);
        drop_mirror(&gone);
    }
    expect_mirror(&kept);
    drop_mirror(&kept);
    ferry_buffer_destroy(NULL);
}

/* The memory of a buffer destroyed in flight is not another's before its work is done. */
static void test_memory_not_reused_early(void **state)
{
    struct fixture *fixture = *state;
    require_hold(fixture->device);
    for (unsigned i = 0; i < 10; i++) {
        struct mirror gone = make_mirror(fixture->device, 3000, FERRY_STORAGE_PRIVATE, 3);
        struct ferry_external held = hold(fixture->device, gone.buffer, FERRY_ACCESS_WRITE);
        OK(ferry_fill_buffer_async(gone.buffer, 3000, 0, "x", 1, NULL, NULL, NULL));
        drop_mirror(&gone);
        struct mirror newer = make_mirror(fixture->device, 3000, FERRY_STORAGE_PRIVATE, 4 + i);
        release(fixture->device, &held);
        OK(ferry_wait_idle(fixture->device));
        expect_mirror(&newer);
        drop_mirror(&newer);
    }
}

/* Close waits for all work and its callbacks. */
static void test_close_in_flight(void **state)
{
    (void)state;
    enum { MANY = 40, SIZE = 60000 };
    for (unsigned round = 0; round < 3; round++) {
        ferry_device *device = open_with(NULL, &suite->params);
        struct mirror mirror = make_mirror(device, SIZE, FERRY_STORAGE_PRIVATE, 5);
        unsigned char *got = xmalloc(SIZE);
        struct note notes[MANY];
        for (unsigned i = 0; i < MANY; i++) {
            note_init(&notes[i]);
            OK(ferry_fill_buffer_async(mirror.buffer, 1000, i * 1000, &i, 1, note_callback,
                                       &notes[i], NULL));
            model_fill(mirror.bytes, 1000, i * 1000, &i, 1);
        }
        OK(ferry_copy_to_host_async(mirror.buffer, got, SIZE, 0, NULL, NULL, NULL));
        if (round == 1)
            ferry_buffer_destroy(mirror.buffer);
        ferry_device_close(device);
        expect_bytes(got, mirror.bytes, SIZE, "the download before close");
        for (unsigned i = 0; i < MANY; i++) {
            assert_int_equal(notes[i].calls, 1);
            assert_int_equal(notes[i].status, FERRY_OK);
        }
        if (round != 1)
            ferry_buffer_destroy(mirror.buffer);
        free(mirror.bytes);
        free(got);
    }
    ferry_device_close(NULL);
}

/* What callbacks submit while the device is being closed is done, and calls back, as well. */
struct relay {
    ferry_buffer *buffer;
    _Atomic unsigned calls;
    _Atomic int worst;
};

static void relay_callback(enum ferry_status status, ferry_ticket ticket, void *user)
{
    enum { RELAYS = 50 };
    struct relay *relay = user;
    (void)ticket;
    if (status == FERRY_OK && ++relay->calls < RELAYS)
        status =
            ferry_fill_buffer_async(relay->buffer, 1000, 0, "r", 1, relay_callback, relay, NULL);
    if (status != FERRY_OK)
        relay->worst = (int)status;
}

static void test_close_with_relays(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 10; round++) {
        ferry_device *device = open_with(NULL, &suite->params);
        struct relay relay = {.buffer = make_buffer(device, 1000, FERRY_STORAGE_PRIVATE)};
        OK(ferry_zero_buffer_async(relay.buffer, relay_callback, &relay, NULL));
        ferry_device_close(device);
        assert_int_equal(relay.calls, 50);
        assert_int_equal(relay.worst, FERRY_OK);
        ferry_buffer_destroy(relay.buffer);
    }
}

static void test_buffers_after_close(void **state)
{
    (void)state;
    ferry_device *device = open_with(NULL, &suite->params);
    ferry_device *living = open_with(NULL, &suite->params);
    ferry_buffer *a = make_buffer(device, 100, FERRY_STORAGE_SHARED);
    ferry_buffer *b = make_buffer(device, 100, FERRY_STORAGE_PRIVATE);
    ferry_buffer *c = make_buffer(living, 100, FERRY_STORAGE_PRIVATE);
    unsigned char bytes[100] = {0};
    void *contents = NULL;
    ferry_ticket ticket = 5;
    ferry_device_close(device);
    IS(FERRY_ERROR_DEVICE_LOST, ferry_copy_from_host(a, bytes, 100, 0));
    IS(FERRY_ERROR_DEVICE_LOST, ferry_copy_to_host(b, bytes, 100, 0));
    IS(FERRY_ERROR_DEVICE_LOST, ferry_copy_buffer(a, b, 100, 0, 0));
    IS(FERRY_ERROR_DEVICE_LOST, ferry_copy_buffer(c, b, 100, 0, 0));
    IS(FERRY_ERROR_DEVICE_LOST, ferry_copy_buffer(b, c, 100, 0, 0));
    IS(FERRY_ERROR_DEVICE_LOST, ferry_zero_buffer(a));
    IS(FERRY_ERROR_DEVICE_LOST, ferry_fill_buffer(b, 10, 0, "a", 1));
    IS(FERRY_ERROR_DEVICE_LOST, ferry_zero_buffer_async(a, NULL, NULL, &ticket));
    IS(FERRY_ERROR_DEVICE_LOST, ferry_buffer_contents(a, &contents));
    IS(FERRY_ERROR_DEVICE_LOST, ferry_buffer_wait(b, 0));
    assert_true(ticket == 5);
    ferry_buffer_destroy(a);
    ferry_buffer_destroy(b);
    ferry_buffer_destroy(c);
    ferry_device_close(living);
}

/* The child of a fork has no devices any more; the parent's go on. */
static int child_codes(struct fixture *fixture, struct mirror *mirror, struct mirror *shared)
{
    unsigned char got[100];
    ferry_ticket ticket = 0;
    ferry_buffer *buffer = NULL;
    void *contents = NULL;
    const enum ferry_status seen[] = {
        ferry_copy_to_host(mirror->buffer, got, 100, 0),
        ferry_copy_from_host(mirror->buffer, got, 100, 0),
        ferry_zero_buffer_async(mirror->buffer, NULL, NULL, &ticket),
        ferry_copy_buffer(shared->buffer, mirror->buffer, 10, 0, 0),
        ferry_buffer_contents(shared->buffer, &contents),
        ferry_buffer_create(fixture->device, &(struct ferry_buffer_params){.size = 10}, &buffer),
        ferry_wait_idle(fixture->device),
        ferry_device_trim(fixture->device),
    };
    for (int i = 0; i < (int)(sizeof seen / sizeof seen[0]); i++)
        if (seen[i] != FERRY_ERROR_DEVICE_LOST)
            return 10 + i;
    ferry_buffer_destroy(mirror->buffer);
    ferry_buffer_destroy(shared->buffer);
    ferry_device_close(fixture->device);
    return 0;
}

static void test_fork(void **state)
{
    struct fixture *fixture = *state;
    struct mirror mirror = make_mirror(fixture->device, 70000, FERRY_STORAGE_PRIVATE, 6);
    struct mirror shared = make_mirror(fixture->device, 100, FERRY_STORAGE_SHARED, 7);
    for (unsigned i = 0; i < 30; i++)
        OK(ferry_copy_from_host_async(mirror.buffer, mirror.bytes, 70000, 0, NULL, NULL, NULL));
    fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(HANG_SECONDS);
        _exit(child_codes(fixture, &mirror, &shared));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("the child ended with status 0x%x (exit code %d: call %d was not DEVICE_LOST)",
                 status, WEXITSTATUS(status), WEXITSTATUS(status) - 10);
    expect_mirror(&mirror);
    expect_mirror(&shared);
    drop_mirror(&mirror);
    drop_mirror(&shared);
}

static void test_open_and_close(void **state)
{
    (void)state;
    ferry_device *devices[6];
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < 6; i++)
            devices[i] = open_with(NULL, &suite->params);
        for (unsigned i = 0; i < 6; i++) {
            struct mirror mirror = make_mirror(devices[i], 1000, FERRY_STORAGE_PRIVATE, i);
            if (i % 2)
                expect_mirror(&mirror);
            drop_mirror(&mirror);
        }
        for (unsigned i = 0; i < 6; i++)
            ferry_device_close(devices[i]);
    }
}

static const struct CMUnitTest tests[] = {
    SUITE_TEST(test_destroy_in_flight),   SUITE_TEST(test_memory_not_reused_early),
    SUITE_TEST(test_close_in_flight),     SUITE_TEST(test_close_with_relays),
    SUITE_TEST(test_buffers_after_close), SUITE_TEST(test_fork),
    SUITE_TEST(test_open_and_close),
};

SUITE_GROUP(lifetime);
