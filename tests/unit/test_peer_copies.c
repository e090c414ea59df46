/* Copies between devices that reach each other, on the host driver's imitation of them: which path,
 * what it takes of staging, order, and what becomes of it when a device fails. */
#include <ferry/ferry.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

enum { SIZE = 1 << 20 };

#define OK(call) assert_int_equal((call), FERRY_OK)

struct two {
    ferry_device *a, *b;
    ferry_buffer *src, *dst;
};

static ferry_device *open_host(const char *name, const char *knobs)
{
    ferry_device *device = NULL;
    setenv("FERRY_HOST", knobs, 1);
    if (ferry_device_open(
            &(struct ferry_device_params){.name = name, .map_private = FERRY_MAP_NEVER}, &device))
        fail_msg("%s", ferry_last_error());
    return device;
}

static struct two begin(const char *a, const char *b, uint64_t flags)
{
    struct two t = {open_host("host:0", a), open_host("host:1", b), NULL, NULL};
    OK(ferry_buffer_create(t.a, &(struct ferry_buffer_params){.size = SIZE, .flags = flags},
                           &t.src));
    OK(ferry_buffer_create(t.b, &(struct ferry_buffer_params){.size = SIZE}, &t.dst));
    OK(ferry_fill_buffer(t.src, SIZE, 0, "abc", 3));
    return t;
}

static void end(struct two *t)
{
    ferry_buffer_destroy(t->src);
    ferry_buffer_destroy(t->dst);
    ferry_device_close(t->a);
    ferry_device_close(t->b);
}

static struct ferry_stats stats_of(ferry_device *device)
{
    struct ferry_stats stats;
    ferry_device_get_stats(device, &stats, sizeof stats);
    return stats;
}

static uint64_t bytes_by(ferry_device *device, enum ferry_path path)
{
    return stats_of(device).operations[FERRY_OPERATION_COPY][path].bytes;
}

static void expect(ferry_buffer *buffer, unsigned char first)
{
    unsigned char got[6];
    OK(ferry_copy_to_host(buffer, got, sizeof got, 0));
    assert_int_equal(got[0], first);
    OK(ferry_copy_to_host(buffer, got, sizeof got, SIZE - 6));
}

/* By the one, and none of it through the host: however long, staging holds a token. */
static void test_path(void **unused)
{
    (void)unused;
    static const struct {
        const char *a, *b;
        uint64_t flags;
        enum ferry_path path;
    } cases[] = {
        {"peers", "peers", 0, FERRY_PATH_PEER},
        {"peers", "peers,max_copy=64K", 0, FERRY_PATH_PEER},
        {"peers", "", 0, FERRY_PATH_BRIDGED},
        {"", "peers", 0, FERRY_PATH_BRIDGED},
        {"peers", "peers,align=4", 0, FERRY_PATH_BRIDGED},
        {"peers,align=4", "peers", 0, FERRY_PATH_BRIDGED},
        {"peers", "peers", FERRY_BUFFER_EXPORTABLE, FERRY_PATH_BRIDGED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct two t = begin(cases[i].a, cases[i].b, cases[i].flags);
        OK(ferry_copy_buffer(t.dst, t.src, SIZE, 0, 0));
        if (bytes_by(t.b, cases[i].path) != SIZE)
            fail_msg("case %zu goes another way", i);
        const struct ferry_stats a = stats_of(t.a), b = stats_of(t.b);
        if (cases[i].path == FERRY_PATH_PEER)
            assert_true(a.staging_readback_peak_bytes <= 4096 && b.staging_upload_peak_bytes == 0);
        expect(t.dst, 'a');
        end(&t);
    }
}

/* What follows on the source waits for the copy, though another device reads it. */
static void test_order(void **unused)
{
    (void)unused;
    struct two t = begin("peers,queues=3,out_of_order,delay_us=50", "peers,delay_us=2000", 0);
    for (int i = 0; i < 30; i++) {
        const char was = (char)('A' + i % 20), is = (char)('a' + i % 20);
        OK(ferry_fill_buffer_async(t.src, SIZE, 0, &was, 1, NULL, NULL, NULL));
        OK(ferry_copy_buffer_async(t.dst, t.src, SIZE, 0, 0, NULL, NULL, NULL));
        OK(ferry_fill_buffer_async(t.src, SIZE, 0, &is, 1, NULL, NULL, NULL));
        expect(t.dst, (unsigned char)was);
        expect(t.src, (unsigned char)is);
    }
    OK(ferry_copy_buffer_async(t.dst, t.src, SIZE, 0, 0, NULL, NULL, NULL));
    ferry_buffer_destroy(t.src); /* freed when it has been read */
    t.src = NULL;
    expect(t.dst, 'a' + 9);
    end(&t);
}

/* Whatever fails, the destination says so, and both devices go on. */
static void test_failures(void **unused)
{
    (void)unused;
    static const char *const knobs[][2] = {
        {"peers", "peers,fail_exec=1"},   {"peers", "peers,fail_submit=1"},
        {"peers,fail_exec=2", "peers"},   {"peers,fail_submit=2", "peers"},
        {"peers", "peers,fail_alloc=99"},
    };
    for (size_t i = 0; i < sizeof knobs / sizeof *knobs; i++) {
        struct two t = begin(knobs[i][0], knobs[i][1], 0);
        const enum ferry_status status = ferry_copy_buffer(t.dst, t.src, SIZE, 0, 0);
        if (i < 4 && !status)
            fail_msg("case %zu did not fail", i);
        OK(ferry_fill_buffer(t.src, SIZE, 0, "x", 1)); /* nobody reads it any more */
        OK(ferry_copy_buffer(t.dst, t.src, SIZE, 0, 0));
        expect(t.dst, 'x');
        end(&t);
    }
}

static void test_loss(void **unused)
{
    (void)unused;
    for (int lost = 0; lost < 2; lost++) {
        struct two t =
            begin(lost ? "peers" : "peers,lose_at=2", lost ? "peers,lose_at=1" : "peers", 0);
        assert_true(ferry_copy_buffer(t.dst, t.src, SIZE, 0, 0) != FERRY_OK);
        ferry_buffer *good = lost ? t.src : t.dst;
        OK(ferry_fill_buffer(good, SIZE, 0, "y", 1));
        expect(good, 'y');
        end(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_loss),
    };
    return cmocka_run_group_tests_name("peer copies", tests, NULL, NULL);
}
