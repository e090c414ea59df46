/* What the tests of the Vulkan driver share: a device on which struct ferry__driver's functions are
 * called directly. No device: the tests fail, and say why. */
#ifndef FERRY_TESTS_VULKAN_DRIVER_H
#define FERRY_TESTS_VULKAN_DRIVER_H

#include "base/base.h"
#include "driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

extern const struct ferry__driver ferry__vulkan_driver;
extern const struct ferry__driver *const driver;

enum { MIB = 1 << 20 };

struct fixture {
    void *state;
    struct ferry__limits limits;
    uint64_t value[FERRY__QUEUES_MAX];
    char why[FERRY__WHY_MAX];
};

int open_default(void **out);
int open_unmapped(void **out);
int close_it(void **out);

#define ON_DEVICE(test) cmocka_unit_test_setup_teardown(test, open_default, close_it)
#define UNMAPPED(test) cmocka_unit_test_setup_teardown(test, open_unmapped, close_it)

/* One table of tests for each file; test_vulkan_driver.c runs them. */
struct group {
    const char *name;
    const struct CMUnitTest *tests;
    size_t count;
};

#define GROUP(noun) \
    const struct group group_##noun = {"vulkan driver: " #noun, tests, sizeof tests / sizeof *tests}

struct ferry__memory alloc(struct fixture *f, enum ferry__memory_kind use, uint64_t size);
void release(struct fixture *f, struct ferry__memory *memory);
/* What the host wrote is for the device. */
void flush(struct fixture *f, const struct ferry__memory *memory);

unsigned queue_for(const struct fixture *f, unsigned role);
struct ferry_sync submit(struct fixture *f, unsigned role, const struct ferry__command *commands,
                         size_t count, const struct ferry_sync *waits, size_t wait_count,
                         struct ferry__result *result);
void wait_for(struct fixture *f, struct ferry_sync point);
/* Submits, waits, and finds that it ended well. */
void run(struct fixture *f, unsigned role, const struct ferry__command *commands, size_t count);

struct ferry__command copy(const struct ferry__memory *dst, uint64_t dst_offset,
                           const struct ferry__memory *src, uint64_t src_offset, uint64_t size);
struct ferry__command after(struct ferry__command command); /* with a barrier before it */

unsigned char byte_at(size_t i); /* what copies copy */
/* Writes bytes by way of upload staging; compares by way of readback staging. */
void put(struct fixture *f, const struct ferry__memory *dst, const void *bytes, uint64_t size);
void assert_bytes(struct fixture *f, const struct ferry__memory *memory,
                  const unsigned char *expected, uint64_t size);

#endif
