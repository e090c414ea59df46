/* A pipelined transfer really overlaps: seen from the driver, through a spy. */
#include "base/base.h"
#include "driver.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "hang.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { CHUNK = 65536, CHUNKS = 8, SIZE = CHUNK * CHUNKS };

static const struct ferry__driver *real;
static struct {
    uint64_t event, submitted;
    const unsigned char *dst; /* of a download */
    unsigned
        early; /* submissions for which the chunk before the one in flight was not copied out */
} spy;

static enum ferry_status spy_submit(void *state, const struct ferry__submission_info *info,
                                    char *why)
{
    spy.submitted = info->value;
    if (spy.dst && info->value > 2 && spy.dst[(info->value - 3) * CHUNK] == 0xEE)
        spy.early++;
    return real->submit(state, info, why);
}

/* One submission is always in flight, until the last. */
static uint64_t spy_completed(void *state, uint64_t event)
{
    uint64_t value = real->completed(state, event);
    return value < CHUNKS && value == spy.submitted && value > 0 ? value - 1 : value;
}

static ferry_device *open_spied(struct ferry__driver *driver)
{
    ferry_device *device;
    const struct ferry_device_params params = {.name = "host",
                                               .path = FERRY_PATH_PIPELINED,
                                               .map_private = FERRY_MAP_NEVER,
                                               .staging_budget = 4 * CHUNK};
    assert_int_equal(ferry_device_open(&params, &device), FERRY_OK);
    assert_int_equal(device->gpu.upload.chunk_size, CHUNK);
    memset(&spy, 0, sizeof spy);
    real = device->gpu.driver;
    *driver = *real;
    driver->submit = spy_submit;
    driver->completed = spy_completed;
    device->gpu.driver = driver;
    return device;
}

static ferry_buffer *make_buffer(ferry_device *device)
{
    ferry_buffer *buffer;
    assert_int_equal(
        ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE}, &buffer),
        FERRY_OK);
    return buffer;
}

/* With one chunk in flight the next is filled and submitted: else this would never end. */
static void uploads_overlap(void **state)
{
    (void)state;
    static unsigned char bytes[SIZE];
    struct ferry__driver driver;
    ferry_device *device = open_spied(&driver);
    ferry_buffer *buffer = make_buffer(device);
    assert_int_equal(ferry_copy_from_host(buffer, bytes, SIZE, 0), FERRY_OK);
    assert_int_equal(spy.submitted, CHUNKS);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
}

/* The device gets its next chunk before the one that is done is copied out. */
static void downloads_overlap(void **state)
{
    (void)state;
    static unsigned char bytes[SIZE];
    struct ferry__driver driver;
    ferry_device *device = open_spied(&driver);
    ferry_buffer *buffer = make_buffer(device);
    memset(bytes, 0xEE, SIZE);
    spy.dst = bytes;
    assert_int_equal(ferry_copy_to_host(buffer, bytes, SIZE, 0), FERRY_OK);
    assert_int_equal(spy.submitted, CHUNKS);
    assert_int_equal(spy.early, CHUNKS - 2);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
}

int main(void)
{
    alarm(HANG_SECONDS);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uploads_overlap),
        cmocka_unit_test(downloads_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
