/* For tests of the engine: one buffer of a host device that has these knobs, and external work on it. */
#ifndef FERRY_TEST_HOST_BUFFER_H
#define FERRY_TEST_HOST_BUFFER_H

#include "hang.h"
#include "host.h"

#include <ferry/ferry.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static ferry_device *device;
static ferry_buffer *buffer;

/* 0: they are open. A test that hangs is ended. */
static inline int open_host_buffer(const char *knobs, const struct ferry_device_params *more,
                                   size_t size)
{
    struct ferry_device_params params = more ? *more : (struct ferry_device_params){0};
    params.name = "host";
    setenv("FERRY_HOST", knobs, 1);
    alarm(HANG_SECONDS);
    return ferry_device_open(&params, &device) ||
                   ferry_buffer_create(device, &(struct ferry_buffer_params){.size = size}, &buffer)
               ? -1
               : 0;
}

static inline int close_host_buffer(void **state)
{
    (void)state;
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    alarm(0);
    unsetenv("FERRY_HOST");
    return 0;
}

/* External work on size bytes; 0: to the end. */
static inline struct ferry_external begin_work(unsigned access, size_t offset, size_t size)
{
    struct ferry_external work;
    const struct ferry_use use = {
        .buffer = buffer, .access = access, .offset = offset, .size = size};
    assert_int_equal(ferry_external_begin(device, &use, 1, &work), FERRY_OK);
    return work;
}

static inline void end_work(const struct ferry_external *work)
{
    assert_int_equal(ferry_external_end(device, work->ticket, FERRY_OK), FERRY_OK);
}

static inline void signal_work(const struct ferry_external *work)
{
    ferry__host_event_signal(work->signal.event, work->signal.value);
}

#endif
