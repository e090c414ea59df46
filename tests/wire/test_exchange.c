/* test_exchange FROM TO [TRANSPORTS]: private buffers of one device sent to those of another, by two
 * wires of this process. */
#include "pair.h"

static const char *from_name, *to_name, *transports;
static ferry_device *from, *to;
static struct pair pair;

static const size_t sizes[] = {
    1, 3, 4, 5, 31, 33, 4095, 4096, 4097, 65537, 99999, 1 << 20, (1 << 20) + 1, (5 << 20) + 3};
static const size_t offsets[] = {0, 1, 3, 4, 7, 17, 31};
enum {
    SIZES = sizeof sizes / sizeof *sizes,
    OFFSETS = sizeof offsets / sizeof *offsets,
    GUARD = 32
};

static int open_all(void **state)
{
    const struct ferry_wire_params params = {.transports = transports};
    (void)state;
    from = open_device(from_name);
    to = open_device(to_name);
    open_pair(&pair, &params, &params);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    close_pair(&pair);
    ferry_device_close(from);
    ferry_device_close(to);
    return 0;
}

/* One send and its receive; the receiver's whole buffer is compared. */
static void exchange(size_t size, size_t src_offset, size_t dst_offset, bool receive_first)
{
    const size_t src_size = src_offset + size + GUARD, dst_size = dst_offset + size + GUARD;
    ferry_buffer *src = make_buffer(from, src_size), *dst = make_buffer(to, dst_size);
    unsigned char *sent = malloc(src_size), *got = malloc(dst_size), *expected = malloc(dst_size);
    ferry_ticket send = 0, receive = 0;
    assert_true(sent && got && expected);
    fill_bytes(sent, src_size, (unsigned)size);
    fill_bytes(expected, dst_size, (unsigned)size + 1);
    assert_ok(ferry_copy_from_host_async(src, sent, src_size, 0, NULL, NULL, NULL));
    assert_ok(ferry_copy_from_host_async(dst, expected, dst_size, 0, NULL, NULL, NULL));
    for (int turn = 0; turn < 2; turn++)
        if (receive_first == !turn)
            assert_ok(
                ferry_receive_async(pair.to_a, size, dst, size, dst_offset, NULL, NULL, &receive));
        else
            assert_ok(ferry_send_async(pair.to_b, size, src, size, src_offset, NULL, NULL, &send));
    /* It waits for the receive, by its bytes. */
    assert_ok(ferry_copy_to_host(dst, got, dst_size, 0));
    assert_ok(ferry_wait(to, receive, LONG_NS));
    assert_ok(ferry_wait(from, send, LONG_NS));
    memcpy(expected + dst_offset, sent + src_offset, size);
    assert_memory_equal(got, expected, dst_size);
    ferry_buffer_destroy(src);
    ferry_buffer_destroy(dst);
    free(sent);
    free(got);
    free(expected);
}

static void test_sizes_and_offsets(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZES; i++)
        exchange(sizes[i], offsets[i % OFFSETS], offsets[(i * 3 + 1) % OFFSETS], i % 2);
}

static void test_offsets(void **state)
{
    (void)state;
    for (size_t i = 0; i < OFFSETS; i++)
        for (size_t j = 0; j < OFFSETS; j++)
            exchange(65537, offsets[i], offsets[j], (i + j) % 2);
}

static void test_nothing(void **state)
{
    ferry_buffer *src = make_buffer(from, 16), *dst = make_buffer(to, 16);
    ferry_ticket send = 0;
    (void)state;
    assert_ok(ferry_send_async(pair.to_b, 7, src, 0, 16, NULL, NULL, &send));
    assert_ok(ferry_receive(pair.to_a, 7, dst, 0, 0));
    assert_ok(ferry_wait(from, send, LONG_NS));
    assert_int_equal(ferry_send(pair.to_b, 7, src, 1, 16), FERRY_ERROR_OUT_OF_RANGE);
    assert_int_equal(ferry_receive(pair.to_a, 7, dst, SIZE_MAX, 1), FERRY_ERROR_OUT_OF_RANGE);
    ferry_buffer_destroy(src);
    ferry_buffer_destroy(dst);
}

/* Many at once, both ways, of several tags, waited for in another order. */
static void test_both_ways(void **state)
{
    enum { N = 24 };
    ferry_ticket sends[2][N], receives[2][N];
    ferry_device *devices[2] = {from, to};
    ferry_peer *peers[2] = {pair.to_b, pair.to_a};
    ferry_buffer *out[2], *in[2];
    const size_t size = 70001;
    unsigned char *bytes = malloc(N * size), *got = malloc(N * size);
    (void)state;
    assert_true(bytes && got);
    fill_bytes(bytes, N * size, 5);
    for (int side = 0; side < 2; side++) {
        out[side] = make_buffer(devices[side], N * size);
        in[side] = make_buffer(devices[side], N * size);
        assert_ok(ferry_copy_from_host(out[side], bytes, N * size, 0));
    }
    for (size_t i = 0; i < N; i++)
        for (int side = 0; side < 2; side++)
            assert_ok(ferry_send_async(peers[side], i % 3, out[side], size, i * size, NULL, NULL,
                                       &sends[side][i]));
    for (size_t tag = 3; tag-- > 0;)
        for (size_t i = tag; i < N; i += 3)
            for (int side = 0; side < 2; side++)
                assert_ok(ferry_receive_async(peers[side], tag, in[side], size, i * size, NULL,
                                              NULL, &receives[side][i]));
    for (size_t i = N; i-- > 0;)
        for (int side = 0; side < 2; side++) {
            assert_ok(ferry_wait(devices[side], receives[side][i], LONG_NS));
            assert_ok(ferry_wait(devices[side], sends[side][i], LONG_NS));
        }
    for (int side = 0; side < 2; side++) {
        assert_ok(ferry_copy_to_host(in[side], got, N * size, 0));
        assert_memory_equal(got, bytes, N * size);
        ferry_buffer_destroy(out[side]);
        ferry_buffer_destroy(in[side]);
    }
    free(bytes);
    free(got);
}

static void test_numbers(void **state)
{
    struct ferry_wire_stats a, b;
    struct ferry_peer_info info;
    char text[8192];
    size_t size = 0;
    (void)state;
    /* A ticket is done a little before the wire has counted it. */
    do {
        ferry_wire_get_stats(pair.a, &a, sizeof a);
        ferry_wire_get_stats(pair.b, &b, sizeof b);
    } while (a.in_flight + b.in_flight > 0);
    ferry_wire_get_stats(pair.a, &a, sizeof a);
    ferry_wire_get_stats(pair.b, &b, sizeof b);
    assert_true(a.sends > 0 && a.bytes_sent > 0 && a.failures == 0);
    assert_int_equal(a.bytes_sent, b.bytes_received);
    assert_int_equal(b.bytes_sent, a.bytes_received);
    assert_int_equal(a.sends, b.receives);
    assert_int_equal(a.retries + b.checksum_failures + a.in_flight + b.in_flight, 0);
    assert_int_equal(a.staging_bytes + b.staging_bytes, 0);
    assert_int_equal(a.peers, 1);
    ferry_peer_get_info(pair.to_b, &info);
    assert_true(info.there && !info.reason[0] && info.version == 1);
    assert_int_equal(info.bytes_sent, a.bytes_sent);
    if (transports)
        assert_string_equal(info.transports, transports);
    assert_ok(ferry_wire_metrics(pair.a, text, sizeof text, &size));
    assert_int_equal(size, strlen(text));
    char line[80];
    snprintf(line, sizeof line, "ferry_wire_sends_total %llu\n", (unsigned long long)a.sends);
    assert_non_null(strstr(text, line));
    assert_ok(ferry_wire_metrics(pair.a, text, 10, &size));
    assert_int_equal(strlen(text), 9);
}

static uint64_t through_staging(ferry_device *device, enum ferry_operation operation)
{
    struct ferry_stats stats;
    ferry_device_get_stats(device, &stats, sizeof stats);
    return stats.operations[operation][FERRY_PATH_STAGED].operations +
           stats.operations[operation][FERRY_PATH_PIPELINED].operations;
}

/* Where the CPU reaches private memory, as on the host device, UCX has the buffers' own. */
static void test_staging(void **state)
{
    struct {
        ferry_device *device;
        enum ferry_operation operation;
        uint64_t before;
    } ends[] = {{from, FERRY_OPERATION_DOWNLOAD, 0}, {to, FERRY_OPERATION_UPLOAD, 0}};
    ferry_buffer *src = make_buffer(from, 4097), *dst = make_buffer(to, 4097);
    const char *path = getenv("FERRY_PATH");
    struct ferry_device_info info;
    ferry_ticket send = 0;
    (void)state;
    assert_ok(ferry_zero_buffer(src));
    for (int i = 0; i < 2; i++)
        ends[i].before = through_staging(ends[i].device, ends[i].operation);
    assert_ok(ferry_send_async(pair.to_b, 8, src, 4097, 0, NULL, NULL, &send));
    assert_ok(ferry_receive(pair.to_a, 8, dst, 4097, 0));
    assert_ok(ferry_wait(from, send, LONG_NS));
    for (int i = 0; i < 2; i++) {
        const bool staged = through_staging(ends[i].device, ends[i].operation) > ends[i].before;
        ferry_device_get_info(ends[i].device, &info);
        if (info.kind == FERRY_DEVICE_HOST)
            assert_int_equal(staged, path != NULL);
    }
    ferry_buffer_destroy(src);
    ferry_buffer_destroy(dst);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_and_offsets), cmocka_unit_test(test_offsets),
        cmocka_unit_test(test_nothing),           cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_numbers),           cmocka_unit_test(test_staging)};
    if (argc < 3)
        return 2;
    from_name = argv[1];
    to_name = argv[2];
    transports = argc > 3 ? argv[3] : NULL;
    return cmocka_run_group_tests(tests, open_all, close_all);
}
