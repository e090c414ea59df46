/* Copies between two devices while a submission is refused: they do not stop, they do not fail for
 * what others are refused, and what they say of the destination is so. */
#include "base/base.h"
#include "engine/device.h"
#include "host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIZE = 3000, ROUNDS = 200 };

#define OK(call) assert_int_equal((call), FERRY_OK)

static const uint64_t PATIENCE_NS = UINT64_C(60) * 1000 * 1000 * 1000;

struct two {
    ferry_device *a, *b;
    ferry_buffer *src, *dst, *other; /* other is of b */
};

static ferry_device *open_host(const char *name, const char *knobs)
{
    ferry_device *device = NULL;
    setenv("FERRY_HOST", knobs, 1);
    const struct ferry_device_params params = {
        .name = name, .map_private = FERRY_MAP_NEVER, .pool_budget = 1 /* what is freed goes */};
    if (ferry_device_open(&params, &device))
        fail_msg("%s", ferry_last_error());
    return device;
}

static struct two begin(const char *a, const char *b, size_t size)
{
    struct two t = {.a = open_host("host:0", a), .b = open_host("host:1", b)};
    const struct ferry_buffer_params params = {.size = size};
    OK(ferry_buffer_create(t.a, &params, &t.src));
    OK(ferry_buffer_create(t.b, &params, &t.dst));
    OK(ferry_buffer_create(t.b, &params, &t.other));
    OK(ferry_fill_buffer(t.src, size, 0, "old", 3));
    OK(ferry_fill_buffer(t.dst, size, 0, "was", 3));
    return t;
}

static void end(struct two *t)
{
    ferry_buffer_destroy(t->src);
    ferry_buffer_destroy(t->dst);
    ferry_buffer_destroy(t->other);
    ferry_device_close(t->a);
    ferry_device_close(t->b);
}

static struct ferry_external hold(ferry_device *device, ferry_buffer *buffer)
{
    struct ferry_external external;
    const struct ferry_use use = {.buffer = buffer,
                                  .access = FERRY_ACCESS_READ | FERRY_ACCESS_WRITE};
    OK(ferry_external_begin(device, &use, 1, &external));
    return external;
}

/* --- what happens between the refusal and what it means to what follows ------------------------ */

static struct two *refused; /* NULL: it was */
static struct ferry_external held;
static enum ferry_status ended, uploaded;

/* The destination's half may begin now, and has been looked at when a later upload is done. */
static void let_the_other_half_begin(enum ferry_log_level level, const char *message, void *user)
{
    unsigned char bytes[SIZE] = {0};
    struct two *t = refused;
    (void)level, (void)user;
    if (!t || !strstr(message, "refused"))
        return;
    refused = NULL;
    ended = ferry_external_end(t->b, held.ticket, FERRY_OK);
    uploaded = ferry_copy_from_host(t->other, bytes, SIZE, 0);
}

/*
 * The source's half follows an upload in its submission, and waits for the other; the submission is
 * refused, so the half waits for the upload again; meanwhile the other half looks, and finds that
 * the source's has to wait. Both have to go on all the same, and nothing of the copy was refused.
 */
static void halves_meet_after_a_refusal(void **state)
{
    static const char *const knobs[] = {"", "peers"};
    (void)state;
    for (size_t i = 0; i < sizeof knobs / sizeof *knobs; i++) {
        struct two t = begin(knobs[i], knobs[i], SIZE);
        unsigned char bytes[SIZE], got[SIZE] = {0};
        ferry_ticket upload, copy;
        memset(bytes, 7, SIZE);
        const struct ferry_external first = hold(t.a, t.src);
        held = hold(t.b, t.dst);
        OK(ferry_copy_from_host_async(t.src, bytes, SIZE, 0, NULL, NULL, &upload));
        OK(ferry_copy_buffer_async(t.dst, t.src, SIZE, 0, 0, NULL, NULL, &copy));
        refused = &t;
        ferry_set_log(let_the_other_half_begin, NULL, FERRY_LOG_INFO);
        ferry__host_set(t.a->gpu.state, "fail_submit", 1);
        OK(ferry_external_end(t.a, first.ticket, FERRY_OK));
        assert_int_equal(ferry_wait(t.a, upload, PATIENCE_NS), FERRY_ERROR_OUT_OF_HOST_MEMORY);
        OK(ferry_wait(t.b, copy, PATIENCE_NS));
        ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
        assert_null(refused);
        OK(ended);
        OK(uploaded);
        OK(ferry_copy_to_host(t.dst, got, SIZE, 0));
        assert_memory_equal(got, "oldold", 6); /* the upload wrote nothing */
        end(&t);
    }
}

/* --- what is said of the destination ----------------------------------------------------------- */

/* The source is failed, and the destination's half refused: whichever is told, the bytes agree. */
static void status_and_bytes_agree(void **state)
{
    static const char *const knobs[] = {"", "peers"};
    unsigned char bytes[SIZE] = {0};
    (void)state;
    struct two t = begin("", "", SIZE);
    end(&t);
    for (size_t i = 0; i < 2 * (size_t)ROUNDS; i++) {
        if (i % ROUNDS == 0)
            t = begin(knobs[i / ROUNDS], knobs[i / ROUNDS], SIZE);
        ferry_ticket copy;
        ferry__host_set(t.a->gpu.state, "fail_exec", 1);
        assert_int_equal(ferry_copy_from_host(t.src, bytes, SIZE, 0), FERRY_ERROR_EXECUTION_FAILED);
        OK(ferry_copy_from_host(t.dst, bytes, SIZE, 0));
        ferry__host_set(t.b->gpu.state, "fail_submit", 1);
        OK(ferry_copy_buffer_async(t.dst, t.src, SIZE, 0, 0, NULL, NULL, &copy));
        const enum ferry_status status = ferry_wait(t.b, copy, PATIENCE_NS);
        ferry__host_set(t.b->gpu.state, "fail_submit", 0);
        const enum ferry_status read = ferry_copy_to_host(t.dst, bytes, SIZE, 0);
        if (status == FERRY_ERROR_OUT_OF_HOST_MEMORY)
            assert_int_equal(read, FERRY_OK); /* the write was refused, and changed nothing */
        else
            assert_int_equal(status, FERRY_ERROR_EXECUTION_FAILED);
        if (status == FERRY_ERROR_EXECUTION_FAILED)
            assert_int_equal(read, status);
        if (i % ROUNDS == ROUNDS - 1)
            end(&t);
    }
}

/* --- a source that goes while it is read ------------------------------------------------------- */

/* The host driver tells, by its log, of memory that is freed or written while a peer's commands use
 * it. */
static _Atomic unsigned errors;

static void count_errors(enum ferry_log_level level, const char *message, void *user)
{
    (void)user;
    if (level == FERRY_LOG_ERROR && strstr(message, "contract:"))
        errors++;
}

static void a_lost_source_stays_while_it_is_read(void **state)
{
    enum { LARGE = 1 << 20 };
    (void)state;
    ferry_set_log(count_errors, NULL, FERRY_LOG_ERROR);
    for (int i = 0; i < 20; i++) {
        struct two t = begin("peers", "peers,max_copy=64K,delay_us=3000", LARGE);
        struct ferry_stats before, now;
        ferry_ticket copy;
        ferry_device_get_stats(t.b, &before, sizeof before);
        OK(ferry_copy_buffer_async(t.dst, t.src, LARGE, 0, 0, NULL, NULL, &copy));
        do
            ferry_device_get_stats(t.b, &now, sizeof now);
        while (now.submissions == before.submissions);
        ferry__host_lose(t.a->gpu.state);
        ferry_buffer_destroy(t.src);
        t.src = NULL;
        (void)!ferry_wait_idle(t.a);
        (void)!ferry_wait(t.b, copy, PATIENCE_NS);
        end(&t);
        assert_int_equal(errors, 0);
    }
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_meet_after_a_refusal),
        cmocka_unit_test(status_and_bytes_agree),
        cmocka_unit_test(a_lost_source_stays_while_it_is_read),
    };
    return cmocka_run_group_tests_name("bridge_refused", tests, NULL, NULL);
}
