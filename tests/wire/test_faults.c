/* What goes wrong, each time a status in words, and both sides good for more: sizes that differ, a tag
 * that nobody receives, a receiver that stalls, a corrupted piece, cancelling, closing. */
#include "pair.h"

#include "match.h"

#include "send.h"

#include <signal.h>
#include <unistd.h>

enum { SIZE = 3 << 20 };

static ferry_device *device;
static struct pair pair;
static ferry_buffer *src, *dst;

static void fill_src(void)
{
    unsigned char *bytes = malloc(SIZE);
    assert_non_null(bytes);
    fill_bytes(bytes, SIZE, 1);
    assert_ok(ferry_copy_from_host(src, bytes, SIZE, 0));
    free(bytes);
}

static void begin(const struct ferry_wire_params *params)
{
    device = open_device("host");
    src = make_buffer(device, SIZE);
    dst = make_buffer(device, SIZE);
    fill_src();
    open_pair(&pair, params, params);
}

/* A buffer's bytes are those that were sent. */
static void check_bytes(ferry_buffer *buffer)
{
    unsigned char *expected = malloc(SIZE), *got = malloc(SIZE);
    assert_true(expected && got);
    fill_bytes(expected, SIZE, 1);
    memset(got, 0, SIZE);
    assert_ok(ferry_copy_to_host(buffer, got, SIZE, 0));
    assert_memory_equal(got, expected, SIZE);
    free(expected);
    free(got);
}

/* Both sides are good for more. */
static void still_good(void)
{
    ferry_ticket send = 0;
    assert_ok(ferry_zero_buffer(dst));
    assert_ok(ferry_send_async(pair.to_b, 99, src, SIZE, 0, NULL, NULL, &send));
    assert_ok(ferry_receive(pair.to_a, 99, dst, SIZE, 0));
    assert_ok(ferry_wait(device, send, LONG_NS));
    check_bytes(dst);
}

static void end(void)
{
    close_pair(&pair);
    ferry_buffer_destroy(src);
    ferry_buffer_destroy(dst);
    ferry_device_close(device);
}

static void assert_fails(ferry_ticket ticket, enum ferry_status status, const char *words)
{
    assert_int_equal(ferry_wait(device, ticket, LONG_NS), status);
    if (!strstr(ferry_last_error(), words))
        fail_msg("\"%s\" does not say \"%s\"", ferry_last_error(), words);
}

static struct ferry_wire_stats stats_of(ferry_wire *wire)
{
    struct ferry_wire_stats stats;
    ferry_wire_get_stats(wire, &stats, sizeof stats);
    return stats;
}

/* --- sizes and tags --------------------------------------------------------------------------- */

static void test_sizes_differ(void **state)
{
    ferry_ticket send = 0, receive = 0;
    (void)state;
    begin(NULL);
    for (int order = 0; order < 2; order++) {
        if (order)
            assert_ok(ferry_receive_async(pair.to_a, 5, dst, 100, 0, NULL, NULL, &receive));
        assert_ok(ferry_send_async(pair.to_b, 5, src, 101, 0, NULL, NULL, &send));
        if (!order)
            assert_ok(ferry_receive_async(pair.to_a, 5, dst, 100, 0, NULL, NULL, &receive));
        assert_fails(receive, FERRY_ERROR_INVALID_ARGUMENT, "101 bytes");
        assert_fails(send, FERRY_ERROR_INVALID_ARGUMENT, "the receive of tag 5 has 100");
    }
    still_good();
    end();
}

static void test_nobody_receives(void **state)
{
    ferry_ticket send = 0;
    (void)state;
    begin(&(struct ferry_wire_params){.match_ns = 2000 * MS});
    assert_ok(ferry_send_async(pair.to_b, 6, src, SIZE, 0, NULL, NULL, &send));
    assert_fails(send, FERRY_ERROR_IO, "nobody received tag 6 within 2000 ms");
    assert_int_equal(stats_of(pair.a).unmatched, 1);
    /* It was taken back: a receive of that tag waits for the next one. */
    assert_ok(ferry_copy_from_host(src, "x", 1, 0));
    assert_ok(ferry_send_async(pair.to_b, 6, src, 1, 0, NULL, NULL, &send));
    /* The other side may hear a little later that it was. */
    enum ferry_status status = FERRY_ERROR_IO;
    for (int i = 0; status && i < 2; i++)
        status = ferry_receive(pair.to_a, 6, dst, 1, 0);
    assert_ok(status);
    assert_ok(ferry_wait(device, send, LONG_NS));
    end();
}

/* Two that send to each other, and receive only then: none of them hangs for ever. */
static void test_both_wait(void **state)
{
    ferry_ticket sends[2];
    (void)state;
    begin(&(struct ferry_wire_params){.match_ns = 2000 * MS});
    assert_ok(ferry_send_async(pair.to_b, 1, src, SIZE, 0, NULL, NULL, &sends[0]));
    assert_ok(ferry_send_async(pair.to_a, 1, src, SIZE, 0, NULL, NULL, &sends[1]));
    assert_fails(sends[0], FERRY_ERROR_IO, "nobody received");
    assert_fails(sends[1], FERRY_ERROR_IO, "nobody received");
    still_good();
    end();
}

static void test_too_many_sends(void **state)
{
    enum { MOST = FERRY_WIRE_ANNOUNCED_MAX };
    static ferry_ticket sends[MOST];
    ferry_ticket one = 0;
    (void)state;
    begin(NULL);
    for (int i = 0; i < MOST; i++)
        assert_ok(ferry_send_async(pair.to_b, 8, src, 1, (size_t)i, NULL, NULL, &sends[i]));
    assert_int_equal(ferry_send_async(pair.to_b, 8, src, 1, 0, NULL, NULL, &one),
                     FERRY_ERROR_POOL_EXHAUSTED);
    assert_non_null(strstr(ferry_last_error(), "4096"));
    for (int i = 0; i < MOST; i++)
        assert_ok(ferry_receive_async(pair.to_a, 8, dst, 1, (size_t)i, NULL, NULL, NULL));
    for (int i = 0; i < MOST; i++)
        assert_ok(ferry_wait(device, sends[i], LONG_NS));
    still_good();
    end();
}

/* --- stalls ----------------------------------------------------------------------------------- */

/* The receive's bytes belong to work of the user's that does not end: the send waits, then fails. */
static void test_stalled_receiver(void **state)
{
    ferry_ticket send = 0, receive = 0;
    struct ferry_external work;
    (void)state;
    begin(&(struct ferry_wire_params){.stall_ns = 3000 * MS});
    const struct ferry_use own = {.buffer = dst, .access = FERRY_ACCESS_WRITE};
    assert_ok(ferry_external_begin(device, &own, 1, &work));
    assert_ok(ferry_receive_async(pair.to_a, 2, dst, SIZE, 0, NULL, NULL, &receive));
    assert_ok(ferry_send_async(pair.to_b, 2, src, SIZE, 0, NULL, NULL, &send));
    assert_fails(send, FERRY_ERROR_IO, "no progress for 3000 ms");
    assert_int_equal(stats_of(pair.a).stalls, 1);
    assert_ok(ferry_external_end(device, work.ticket, FERRY_OK));
    assert_fails(receive, FERRY_ERROR_IO, "no progress");
    still_good();
    end();
}

/* What its source waits for may take as long as it likes, and holds no staging meanwhile. */
static void test_late_sender(void **state)
{
    ferry_ticket send = 0, receive = 0;
    struct ferry_external work;
    (void)state;
    begin(&(struct ferry_wire_params){.stall_ns = 3000 * MS});
    const struct ferry_use own = {.buffer = src, .access = FERRY_ACCESS_WRITE};
    assert_ok(ferry_external_begin(device, &own, 1, &work));
    assert_ok(ferry_send_async(pair.to_b, 2, src, SIZE, 0, NULL, NULL, &send));
    assert_ok(ferry_receive_async(pair.to_a, 2, dst, SIZE, 0, NULL, NULL, &receive));
    assert_int_equal(ferry_wait(device, receive, 3500 * MS), FERRY_ERROR_TIMEOUT);
    assert_int_equal(stats_of(pair.b).staging_bytes, 0);
    assert_ok(ferry_external_end(device, work.ticket, FERRY_OK));
    assert_ok(ferry_wait(device, receive, LONG_NS));
    assert_ok(ferry_wait(device, send, LONG_NS));
    end();
}

/* --- corruption ------------------------------------------------------------------------------- */

static _Atomic unsigned corruptions, corrupt_until;

/* Turns a bit of a piece on its first tries; turned back on the next, for it is the sender's own. */
static void corrupt(unsigned char *bytes, size_t size, unsigned tries)
{
    if (tries <= corrupt_until && tries)
        bytes[size / 2] ^= 4;
    if (tries < corrupt_until) {
        bytes[size / 2] ^= 4;
        corruptions++;
    }
}

static void test_corrupted_once(void **state)
{
    ferry_ticket send = 0;
    (void)state;
    begin(NULL);
    corruptions = 0;
    corrupt_until = FERRY_WIRE_TRIES - 1;
    ferry__wire_corrupt = corrupt;
    assert_ok(ferry_send_async(pair.to_b, 3, src, SIZE, 0, NULL, NULL, &send));
    assert_ok(ferry_receive(pair.to_a, 3, dst, SIZE, 0));
    assert_ok(ferry_wait(device, send, LONG_NS));
    ferry__wire_corrupt = NULL;
    check_bytes(dst);
    assert_true(corruptions > 0);
    assert_int_equal(stats_of(pair.b).checksum_failures, corruptions);
    assert_int_equal(stats_of(pair.a).retries, corruptions);
    end();
}

static void test_corrupted_always(void **state)
{
    ferry_ticket send = 0, receive = 0;
    (void)state;
    begin(NULL);
    corrupt_until = 100;
    ferry__wire_corrupt = corrupt;
    assert_ok(ferry_receive_async(pair.to_a, 3, dst, 5000, 0, NULL, NULL, &receive));
    assert_ok(ferry_send_async(pair.to_b, 3, src, 5000, 0, NULL, NULL, &send));
    assert_fails(send, FERRY_ERROR_IO, "bytes 0 to 5000 arrived with a wrong checksum 4 times");
    assert_fails(receive, FERRY_ERROR_IO, "wrong checksum");
    ferry__wire_corrupt = NULL;
    fill_src(); /* its own memory may be what was turned */
    still_good();
    end();
}

/* --- cancelling and closing ------------------------------------------------------------------- */

static _Atomic unsigned called;

static void count_call(enum ferry_status status, ferry_ticket ticket, void *user)
{
    (void)ticket;
    *(enum ferry_status *)user = status;
    called++;
}

static void test_cancel_receive(void **state)
{
    ferry_ticket receive = 0;
    enum ferry_status told = FERRY_OK;
    unsigned char byte = 0;
    (void)state;
    begin(NULL);
    called = 0;
    assert_ok(ferry_receive_async(pair.to_a, 4, dst, SIZE, 0, count_call, &told, &receive));
    assert_int_equal(ferry_wait(device, receive, 50 * MS), FERRY_ERROR_TIMEOUT);
    assert_ok(ferry_wire_cancel(device, receive));
    assert_fails(receive, FERRY_ERROR_IO, "cancelled");
    assert_ok(ferry_wire_cancel(device, receive));
    assert_int_equal(ferry_wire_cancel(device, receive + 1000000), FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(ferry_wire_cancel(NULL, receive), FERRY_ERROR_INVALID_ARGUMENT);
    /* What it would have written is not valid. */
    assert_int_equal(ferry_copy_to_host(dst, &byte, 1, 0), FERRY_ERROR_IO);
    assert_ok(ferry_wait_idle(device));
    assert_int_equal(called, 1);
    assert_int_equal(told, FERRY_ERROR_IO);
    still_good();
    end();
}

static void test_cancel_send(void **state)
{
    ferry_ticket send = 0, receive = 0;
    (void)state;
    begin(NULL);
    assert_ok(ferry_send_async(pair.to_b, 4, src, SIZE, 0, NULL, NULL, &send));
    assert_ok(ferry_wire_cancel(device, send));
    assert_fails(send, FERRY_ERROR_IO, "cancelled");
    /* Before or after they have met: the receive of a send that is cancelled fails, or waits for
     * another send. */
    assert_ok(ferry_receive_async(pair.to_a, 4, dst, SIZE, 0, NULL, NULL, &receive));
    assert_ok(ferry_send_async(pair.to_b, 4, src, SIZE, 0, NULL, NULL, &send));
    (void)!ferry_wire_cancel(device, send);
    const enum ferry_status sent = ferry_wait(device, send, LONG_NS);
    assert_true(sent == FERRY_OK || sent == FERRY_ERROR_IO);
    assert_int_equal(ferry_wait(device, receive, LONG_NS) == FERRY_OK, sent == FERRY_OK);
    still_good();
    end();
}

/* Everything is on its way, at every stage, and one side closes. */
static void close_in_flight(int what)
{
    enum { N = 40 };
    static enum ferry_status told[2 * N];
    begin(NULL);
    called = 0;
    for (size_t i = 0; i < N; i++) {
        assert_ok(ferry_send_async(pair.to_b, i % 5, src, SIZE, 0, count_call, &told[i], NULL));
        if (i % 3)
            assert_ok(ferry_receive_async(pair.to_a, i % 4, dst, i % 7 ? SIZE : 5, 0, count_call,
                                          &told[N + i], NULL));
        else
            assert_ok(ferry_receive_async(pair.to_b, i, dst, 1, 0, count_call, &told[N + i], NULL));
    }
    if (what & 4)
        (void)!ferry_buffer_wait(dst, 3 * MS);
    const uint64_t before = now_ns();
    if (what % 4 == 0)
        ferry_peer_close(pair.to_b);
    else if (what % 4 == 1)
        ferry_peer_close(pair.to_a);
    else if (what % 4 == 2)
        ferry_wire_close(pair.a);
    else
        ferry_wire_close(pair.b);
    assert_ok(ferry_wait_idle(device));
    assert_true(now_ns() - before < 30000 * MS);
    assert_int_equal(called, 2 * N);
    if (what % 4 == 0)
        pair.to_b = NULL;
    if (what % 4 == 1)
        pair.to_a = NULL;
    if (what % 4 == 2)
        pair.to_b = NULL, pair.a = NULL;
    if (what % 4 == 3)
        pair.to_a = NULL, pair.b = NULL;
    if (pair.to_b) {
        struct ferry_peer_info info;
        ferry_ticket ticket = 0;
        ferry_peer_get_info(pair.to_b, &info);
        assert_false(info.there);
        assert_true(info.reason[0]);
        assert_int_equal(ferry_send_async(pair.to_b, 1, src, 1, 0, NULL, NULL, &ticket),
                         FERRY_ERROR_IO);
    }
    end();
}

static void test_close_in_flight(void **state)
{
    (void)state;
    for (int what = 0; what < 8; what++)
        close_in_flight(what);
}

/* The device goes, with receives in flight; the wire and its peers stay. */
static void test_close_device(void **state)
{
    ferry_ticket send = 0;
    (void)state;
    begin(&(struct ferry_wire_params){.match_ns = 2000 * MS});
    ferry_device *other = open_device("host");
    ferry_buffer *buffer = make_buffer(other, SIZE);
    enum ferry_status told[3] = {FERRY_OK, FERRY_OK, FERRY_OK};
    called = 0;
    assert_ok(ferry_receive_async(pair.to_a, 1, buffer, SIZE, 0, count_call, &told[0], NULL));
    assert_ok(ferry_receive_async(pair.to_a, 2, buffer, SIZE, 0, count_call, &told[1], NULL));
    assert_ok(ferry_send_async(pair.to_b, 2, src, SIZE, 0, NULL, NULL, &send));
    ferry_buffer_destroy(buffer);
    ferry_device_close(other);
    assert_int_equal(called, 2);
    assert_int_equal(told[0], FERRY_ERROR_IO);
    assert_int_equal(ferry_wait(device, send, LONG_NS) == FERRY_OK, told[1] == FERRY_OK);
    still_good();
    end();
}

/* --- what is refused -------------------------------------------------------------------------- */

static enum ferry_status waited[4];

static void wait_in_callback(enum ferry_status status, ferry_ticket ticket, void *user)
{
    ferry_peer *peer = NULL;
    (void)status;
    (void)ticket;
    (void)user;
    waited[0] = ferry_send(pair.to_b, 1, src, 1, 0);
    waited[1] = ferry_receive(pair.to_a, 1, dst, 1, 0);
    waited[2] = ferry_wire_accept(pair.b, 0, &peer);
    waited[3] = ferry_wire_connect(pair.a, "127.0.0.1:1", 0, &peer);
}

static void test_refused(void **state)
{
    static const struct ferry_wire_params wrong[] = {{.listen = "nowhere"},
                                                     {.listen = "127.0.0.1"},
                                                     {.listen = "::1:5"},
                                                     {.listen = "127.0.0.1:x"},
                                                     {.listen = "0.0.0.0:0"},
                                                     {.listen = "[::]:0"},
                                                     {.flags = 2},
                                                     {.heartbeat_ns = 1},
                                                     {.reserved = {0, 1}},
                                                     {.secret_file = "/dev/null"},
                                                     {.secret_file = "/nowhere"},
                                                     {.listen = "127.0.0.1:99999"}};
    ferry_wire *wire = NULL;
    ferry_peer *peer = NULL;
    ferry_ticket ticket = 0;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const enum ferry_status status = ferry_wire_open(&wrong[i], &wire);
        assert_true(status == FERRY_ERROR_INVALID_ARGUMENT || status == FERRY_ERROR_IO);
        assert_true(ferry_last_error()[0]);
        assert_null(wire);
    }
    begin(NULL);
    assert_int_equal(ferry_wire_accept(pair.a, 0, &peer), FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(ferry_wire_accept(pair.b, 10 * MS, &peer), FERRY_ERROR_TIMEOUT);
    assert_int_equal(ferry_wire_connect(pair.a, "127.0.0.1:1", LONG_NS, &peer), FERRY_ERROR_IO);
    assert_non_null(strstr(ferry_last_error(), "127.0.0.1:1"));
    assert_int_equal(ferry_wire_connect(pair.a, "192.0.2.1:1", 0, &peer),
                     FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(ferry_send(NULL, 1, src, 1, 0), FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(ferry_receive(pair.to_a, 1, NULL, 1, 0), FERRY_ERROR_INVALID_ARGUMENT);
    assert_ok(ferry_zero_buffer_async(dst, wait_in_callback, NULL, &ticket));
    assert_ok(ferry_wait_idle(device));
    for (int i = 0; i < 4; i++)
        assert_int_equal(waited[i], FERRY_ERROR_IN_CALLBACK);
    still_good();
    end();
}

static void test_no_fallback(void **state)
{
    /* TCP alone is what was asked for; shared memory that UCX would leave for TCP is not. */
    const struct ferry_wire_params tcp = {.transports = "tcp", .flags = FERRY_WIRE_NO_FALLBACK};
    const struct ferry_wire_params rdma = {.transports = "rc_v,tcp",
                                           .flags = FERRY_WIRE_NO_FALLBACK};
    struct ferry_wire_params listening = {.transports = "rc_v,tcp", .listen = "127.0.0.1:0"};
    ferry_wire *a = NULL, *b = NULL;
    ferry_peer *peer = NULL;
    struct ferry_peer_info info;
    char address[80];
    (void)state;
    begin(&tcp);
    still_good();
    end();
    assert_ok(ferry_wire_open(&listening, &b));
    assert_ok(ferry_wire_address(b, address, sizeof address, NULL));
    assert_ok(ferry_wire_open(&rdma, &a));
    assert_int_equal(ferry_wire_connect(a, address, LONG_NS, &peer), FERRY_ERROR_UNSUPPORTED);
    assert_non_null(strstr(ferry_last_error(), "tcp, not by rc_v,tcp"));
    ferry_wire_close(a);
    assert_ok(ferry_wire_open(&(struct ferry_wire_params){.transports = "rc_v,tcp"}, &a));
    assert_ok(ferry_wire_connect(a, address, LONG_NS, &peer));
    ferry_peer_get_info(peer, &info);
    assert_true(info.fallback);
    assert_int_equal(stats_of(a).fallbacks, 1);
    ferry_wire_close(a);
    ferry_wire_close(b);
}

/* UCX's handlers are not the program's. */
static void test_signals(void **state)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGHUP, SIGABRT};
    struct sigaction before[6], after;
    (void)state;
    for (int i = 0; i < 6; i++)
        sigaction(signals[i], NULL, &before[i]);
    begin(NULL);
    still_good();
    for (int i = 0; i < 6; i++) {
        sigaction(signals[i], NULL, &after);
        assert_memory_equal(&after.sa_handler, &before[i].sa_handler, sizeof after.sa_handler);
    }
    end();
    for (int i = 0; i < 6; i++) {
        sigaction(signals[i], NULL, &after);
        assert_memory_equal(&after.sa_handler, &before[i].sa_handler, sizeof after.sa_handler);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signals),          cmocka_unit_test(test_sizes_differ),
        cmocka_unit_test(test_nobody_receives),  cmocka_unit_test(test_both_wait),
        cmocka_unit_test(test_too_many_sends),   cmocka_unit_test(test_stalled_receiver),
        cmocka_unit_test(test_late_sender),      cmocka_unit_test(test_corrupted_once),
        cmocka_unit_test(test_corrupted_always), cmocka_unit_test(test_cancel_receive),
        cmocka_unit_test(test_cancel_send),      cmocka_unit_test(test_close_in_flight),
        cmocka_unit_test(test_close_device),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_fallback)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
