#include "client.h"

#include <sched.h>

uint64_t client_broken[STRICTCUDA_RULES];

struct client client_begin(const char *options)
{
    char why[FERRY__WHY_MAX];
    cu_capture_mode mode = CU_CAPTURE_RELAXED;
    struct client c = {0};
    setenv("STRICTCUDA", options, 1);
    strictcuda_record(true);
    strictcuda_forget();
    if (ferry__cuda_load(&c.cu, why))
        fail_msg("%s", why);
    GOOD(c.cu.DeviceGet(&c.device, 0));
    GOOD(c.cu.DevicePrimaryCtxRetain(&c.context, c.device));
    GOOD(c.cu.CtxPushCurrent(c.context));
    GOOD(c.cu.ThreadExchangeStreamCaptureMode(&mode));
    GOOD(c.cu.StreamCreate(&c.stream, CU_STREAM_DOES_NOT_BLOCK));
    GOOD(c.cu.EventCreate(&c.event, 0));
    GOOD(c.cu.MemAlloc(&c.memory, SIZE));
    GOOD(c.cu.MemHostAlloc((void **)&c.host, SIZE, CU_HOST_ALLOC_PORTABLE));
    assert_broken(0, 0);
    return c;
}

void client_end(struct client *c)
{
    cu_capture_mode mode = CU_CAPTURE_GLOBAL;
    cu_context ignored;
    GOOD(c->cu.MemFreeHost(c->host));
    GOOD(c->cu.MemFree(c->memory));
    GOOD(c->cu.EventDestroy(c->event));
    GOOD(c->cu.StreamDestroy(c->stream));
    GOOD(c->cu.ThreadExchangeStreamCaptureMode(&mode));
    GOOD(c->cu.CtxPopCurrent(&ignored));
    GOOD(c->cu.DevicePrimaryCtxRelease(c->device));
    assert_broken(0, 0);
    assert_int_equal(strictcuda_live(), 0);
}

void client_wait(struct client *c, cu_event event)
{
    cu_result result;
    while ((result = c->cu.EventQuery(event)) == CU_ERROR_NOT_READY)
        sched_yield();
    GOOD(result);
}

void client_finish(struct client *c)
{
    cu_result result;
    while ((result = c->cu.StreamQuery(c->stream)) == CU_ERROR_NOT_READY)
        sched_yield();
    GOOD(result);
}

cu_address client_address(const void *host)
{
    return (cu_address)(uintptr_t)host;
}

void assert_broken(int rule, uint64_t times)
{
    for (int i = 1; i < STRICTCUDA_RULES; i++) {
        const uint64_t count = strictcuda_breaches((enum strictcuda_rule)i);
        if (count != (i == rule ? times : 0))
            fail_msg("rule %d was broken %d times: %s", i, (int)count, strictcuda_last_breach());
    }
    client_broken[rule] += times;
    strictcuda_forget();
}
