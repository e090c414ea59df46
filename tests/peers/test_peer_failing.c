/* The source's half of a copy between peers fails after its first piece, while the other device
 * reads that piece: nothing that follows on the source may be submitted before it has been read.
 * The host driver tells. CMakeLists.txt alters where the half fails. */
#include "base/base.h"
#include "engine/device.h"
#include "engine/op.h"
#include "host.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

bool late_read_fails(uint64_t at);
bool late_part_fails(struct ferry__op *half);

enum { PIECE = 1000, SIZE = 2 * PIECE };

#define OK(call) assert_int_equal((call), FERRY_OK)

static const uint64_t PATIENCE_NS = UINT64_C(60) * 1000 * 1000 * 1000;
static const uint64_t SHORT_NS = 1000 * 1000;

/* --- failing ---------------------------------------------------------------------------------- */

enum where { IN_RECORDING, BEFORE_RECORDING };

static enum where where;
static ferry_device *reader; /* the device that the piece is copied to */
static uint64_t reader_had;  /* submissions, before the copy */
static _Atomic bool has_failed;

static uint64_t submissions_of(ferry_device *device)
{
    struct ferry_stats stats;
    ferry_device_get_stats(device, &stats, sizeof stats);
    return stats.submissions;
}

/* The other device has the copy of the first piece, which goes on for as long as the test likes. */
static bool fail_once_read(void)
{
    while (submissions_of(reader) == reader_had)
        sched_yield();
    has_failed = true;
    return true;
}

bool late_read_fails(uint64_t at)
{
    return at && where == IN_RECORDING && fail_once_read();
}

bool late_part_fails(struct ferry__op *half)
{
    if (half->type->kind != FERRY__OP_BRIDGE_READ || !half->carried || where == IN_RECORDING)
        return false;
    ferry__device_unlock(half->device);
    const bool fails = fail_once_read();
    ferry__device_lock(half->device);
    return fails;
}

/* --- the test --------------------------------------------------------------------------------- */

static _Atomic unsigned breaches;

static void count_breaches(enum ferry_log_level level, const char *message, void *user)
{
    (void)level, (void)user;
    if (strstr(message, "contract:"))
        breaches++;
}

static ferry_device *open_host(const char *name, const char *knobs)
{
    ferry_device *device = NULL;
    setenv("FERRY_HOST", knobs, 1);
    const struct ferry_device_params params = {
        .name = name, .map_private = FERRY_MAP_NEVER, .queues = 3};
    if (ferry_device_open(&params, &device))
        fail_msg("%s", ferry_last_error());
    return device;
}

static ferry_buffer *make(ferry_device *device)
{
    ferry_buffer *buffer = NULL;
    OK(ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE}, &buffer));
    OK(ferry_fill_buffer(buffer, SIZE, 0, "old", 3));
    return buffer;
}

struct waiting {
    ferry_device *device;
    ferry_ticket ticket;
};

/* One thread waits where the half fails, and another does the device's work meanwhile. */
static void *help(void *arg)
{
    const struct waiting *waiting = arg;
    while (!has_failed)
        (void)!ferry_wait(waiting->device, waiting->ticket, SHORT_NS);
    return NULL;
}

static void help_until_failed(struct waiting *waiting)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, help, waiting), 0);
    help(waiting);
    pthread_join(thread, NULL);
}

/* What comes of a failure has come when a later operation of each queue is done: the half's own
 * queue is not built while the half is dealt with, and what follows goes before what is later. */
static void let_what_follows_begin(ferry_buffer *other)
{
    unsigned char bytes[PIECE];
    OK(ferry_copy_to_host(other, bytes, sizeof bytes, 0));
    OK(ferry_fill_buffer(other, SIZE, 0, "mew", 3));
}

static void test_waits_until_read(void **state)
{
    (void)state;
    ferry_set_log(count_breaches, NULL, FERRY_LOG_ERROR);
    for (where = IN_RECORDING; where <= BEFORE_RECORDING; where++) {
        ferry_device *a = open_host("host:0", "peers,queues=3");
        reader = open_host("host:1", "peers,events,queues=3,max_copy=1000");
        ferry_buffer *src = make(a), *other = make(a), *dst = make(reader);
        struct ferry_external work;
        ferry_ticket copy, fill;
        OK(ferry_external_begin(
            reader, &(struct ferry_use){.buffer = dst, .access = FERRY_ACCESS_WRITE}, 1, &work));
        OK(ferry_external_end(reader, work.ticket, FERRY_OK)); /* and goes on */
        has_failed = false;
        reader_had = submissions_of(reader);
        OK(ferry_copy_buffer_async(dst, src, SIZE, 0, 0, NULL, NULL, &copy));
        OK(ferry_fill_buffer_async(src, SIZE, 0, "new", 3, NULL, NULL, &fill));
        help_until_failed(&(struct waiting){a, fill});
        let_what_follows_begin(other);
        assert_int_equal(ferry_poll(a, fill), FERRY_PENDING);
        assert_int_equal(breaches, 0);
        ferry__host_event_signal(work.signal.event, work.signal.value);
        assert_int_equal(ferry_wait(reader, copy, PATIENCE_NS), FERRY_ERROR_OUT_OF_HOST_MEMORY);
        OK(ferry_wait(a, fill, PATIENCE_NS));
        assert_int_equal(breaches, 0);
        ferry_buffer_destroy(src);
        ferry_buffer_destroy(other);
        ferry_buffer_destroy(dst);
        ferry_device_close(a);
        ferry_device_close(reader);
    }
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_waits_until_read)};
    return cmocka_run_group_tests_name("peer failing", tests, NULL, NULL);
}
