/* No host memory, at each allocation of a whole life of two wires: what failed says so in words and
 * in bounded time, on both sides, nothing is lost or hangs, and what is left is good for more. */
#include "pair.h"

#include "base/alloc.h"
#include "memory.h"

enum { SIZE = (5 << 20) + 3, SENDS = 6, MOST = 5000 };

static ferry_device *device;
static ferry_buffer *src, *dst;
static unsigned char expected[SIZE], got[SIZE];
static unsigned short_of_memory; /* so often somebody heard of it */

static const struct ferry_wire_params limits = {
    .match_ns = LONG_NS, .stall_ns = LONG_NS, .transports = "tcp"};

static int open_all(void **state)
{
    (void)state;
    device = open_device("host");
    src = make_buffer(device, SIZE);
    dst = make_buffer(device, SENDS * (size_t)SIZE);
    fill_bytes(expected, SIZE, 1);
    assert_ok(ferry_copy_from_host(src, expected, SIZE, 0));
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    ferry_buffer_destroy(src);
    ferry_buffer_destroy(dst);
    ferry_device_close(device);
    return 0;
}

static void assert_told(enum ferry_status status)
{
    if (status == FERRY_OK)
        return;
    short_of_memory += status == FERRY_ERROR_OUT_OF_HOST_MEMORY;
    if (status != FERRY_ERROR_OUT_OF_HOST_MEMORY && status != FERRY_ERROR_IO)
        fail_msg("%s: %s", ferry_status_name(status), ferry_last_error());
    assert_true(ferry_last_error()[0]);
}

/* One send and its receive. A receive that was refused leaves its send alone: that is cancelled. */
static void exchange_one(struct pair *pair, uint64_t tag, size_t i, ferry_ticket *send,
                         ferry_ticket *receive)
{
    static const size_t sizes[SENDS] = {SIZE, 1, 0, 65537, SIZE, 4096};
    ferry_peer *from = i % 2 ? pair->to_a : pair->to_b, *to = i % 2 ? pair->to_b : pair->to_a;
    enum ferry_status received = FERRY_OK, sent = FERRY_OK;
    *send = *receive = 0;
    if (i % 3)
        received = ferry_receive_async(to, tag + i, dst, sizes[i], i * SIZE, NULL, NULL, receive);
    assert_told(received);
    if (!received)
        sent = ferry_send_async(from, tag + i, src, sizes[i], 0, NULL, NULL, send);
    assert_told(sent);
    if (sent && *receive)
        (void)!ferry_wire_cancel(device, *receive);
    if (i % 3 == 0 && !sent)
        received = ferry_receive_async(to, tag + i, dst, sizes[i], i * SIZE, NULL, NULL, receive);
    assert_told(received);
    if (received && *send)
        (void)!ferry_wire_cancel(device, *send);
}

/* Both ends of a transfer. One that fails before the two have met leaves the other waiting, which is
 * the user's to cancel. */
static void wait_for_both(const ferry_ticket tickets[2], enum ferry_status statuses[2])
{
    const uint64_t began_ns = now_ns();
    for (int i = 0; i < 2; i++)
        statuses[i] = tickets[i] ? FERRY_ERROR_TIMEOUT : FERRY_ERROR_IO;
    while (statuses[0] == FERRY_ERROR_TIMEOUT || statuses[1] == FERRY_ERROR_TIMEOUT) {
        for (int i = 0; i < 2; i++) {
            if (statuses[i] != FERRY_ERROR_TIMEOUT)
                continue;
            statuses[i] = ferry_wait(device, tickets[i], 5 * MS);
            if (statuses[i] != FERRY_ERROR_TIMEOUT)
                assert_told(statuses[i]);
            else if (statuses[!i] && statuses[!i] != FERRY_ERROR_TIMEOUT)
                assert_ok(ferry_wire_cancel(device, tickets[i]));
        }
        if (now_ns() - began_ns > LONG_NS)
            fail_msg("%s hangs", statuses[0] == FERRY_ERROR_TIMEOUT ? "the send" : "the receive");
    }
}

/* All at once, both ways. How many arrived. */
static int exchange(struct pair *pair, uint64_t tag)
{
    ferry_ticket tickets[SENDS][2];
    int arrived = 0;
    for (size_t i = 0; i < SENDS; i++)
        exchange_one(pair, tag, i, &tickets[i][0], &tickets[i][1]);
    for (size_t i = 0; i < SENDS; i++) {
        enum ferry_status statuses[2];
        wait_for_both(tickets[i], statuses);
        /* A send is done when its bytes are in the peer's buffer. */
        assert_true(statuses[0] || !statuses[1]);
        arrived += !statuses[0] && !statuses[1];
        if (statuses[1] || i)
            continue;
        memset(got, 0, SIZE);
        if (!ferry_copy_to_host(dst, got, SIZE, 0))
            assert_memory_equal(got, expected, SIZE);
    }
    return arrived;
}

static bool is_there(ferry_peer *peer)
{
    struct ferry_peer_info info;
    ferry_peer_get_info(peer, &info);
    return info.there;
}

/* Nobody heard of it by running out of time. */
static void assert_no_stall(ferry_wire *wire)
{
    struct ferry_wire_stats stats;
    ferry_wire_get_stats(wire, &stats, sizeof stats);
    assert_int_equal(stats.stalls, 0);
    assert_int_equal(stats.unmatched, 0);
}

static enum ferry_status open_both(struct pair *pair)
{
    struct ferry_wire_params listening = limits;
    char address[80];
    *pair = (struct pair){.a = NULL};
    listening.listen = "127.0.0.1:0";
    enum ferry_status status = ferry_wire_open(&listening, &pair->b);
    if (!status)
        status = ferry_wire_address(pair->b, address, sizeof address, NULL);
    if (!status)
        status = ferry_wire_open(&limits, &pair->a);
    if (!status)
        status = ferry_wire_connect(pair->a, address, LONG_NS, &pair->to_b);
    assert_told(status);
    if (status)
        return status;
    /* The other side may have failed as soon as it was open. */
    status = ferry_wire_accept(pair->b, 0, &pair->to_a);
    while (status == FERRY_ERROR_TIMEOUT && is_there(pair->to_b))
        status = ferry_wire_accept(pair->b, 20 * MS, &pair->to_a);
    return status;
}

/* fail_at: of the wire's allocations, or of the library's. */
static uint64_t live(uint64_t n, uint64_t (*fail_at)(uint64_t n))
{
    struct pair pair;
    const uint64_t began_ns = now_ns();
    fail_at(n);
    const enum ferry_status status = open_both(&pair);
    const int arrived = status ? 0 : exchange(&pair, 0);
    const uint64_t calls = fail_at(0);
    if (!status) {
        assert_no_stall(pair.a);
        assert_no_stall(pair.b);
        if (is_there(pair.to_a) && is_there(pair.to_b)) {
            assert_ok(ferry_zero_buffer(dst));
            /* Of a tag that was cancelled the other side may hear a little later. */
            assert_int_equal(exchange(&pair, 100), SENDS);
        }
    }
    if (calls < n) {
        assert_ok(status);
        assert_int_equal(arrived, SENDS);
    }
    close_pair(&pair);
    assert_ok(ferry_wait_idle(device));
    assert_ok(ferry_zero_buffer(dst));
    if (now_ns() - began_ns > LONG_NS / 2)
        fail_msg("allocation %llu: it took %llu ms", (unsigned long long)n,
                 (unsigned long long)((now_ns() - began_ns) / MS));
    return calls;
}

static void live_short_of_memory(uint64_t (*fail_at)(uint64_t n))
{
    uint64_t n = 1;
    short_of_memory = 0;
    while (live(n, fail_at) >= n)
        if (++n == MOST)
            fail_msg("more than %d allocations", MOST);
    assert_true(n > 20 && short_of_memory > n / 4);
    print_message("%llu allocations failed, one by one; %u calls and operations said so\n",
                  (unsigned long long)(n - 1), short_of_memory);
}

static void test_wire(void **state)
{
    (void)state;
    live_short_of_memory(ferry__wire_alloc_fail_at);
}

static void test_library(void **state)
{
    (void)state;
    live_short_of_memory(ferry__alloc_fail_at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_wire), cmocka_unit_test(test_library)};
    return cmocka_run_group_tests(tests, open_all, close_all);
}
