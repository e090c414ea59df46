/* What the tests of the strict Vulkan share: the driver on top of it, and its rules' counts. */
#ifndef FERRY_TESTS_STRICT_DRIVER_H
#define FERRY_TESTS_STRICT_DRIVER_H

#include "drivers/vulkan/vk.h"
#include "strictvk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIZE = 65536 };

extern const struct ferry__driver ferry__vulkan_driver;
extern const struct ferry__driver *const driver;

/* The strict Vulkan's own functions. */
extern strictvk_set_fn set;
extern strictvk_reports_fn reports;
extern strictvk_calls_fn calls;
void find_strictvk(void);

struct fixture {
    struct vulkan *v; /* the driver's state, to call Vulkan past the driver */
    struct ferry__limits limits;
    uint64_t value[FERRY__QUEUES_MAX];
    struct ferry__result result;
    char why[FERRY__WHY_MAX];
};

void open_with(struct fixture *f, const char *options);
/* No rule but this one was broken; returns how often it was. */
unsigned only(enum strictvk_rule rule);

struct ferry__memory alloc(struct fixture *f, enum ferry__memory_kind use, uint64_t size);
unsigned queue_for(const struct fixture *f, unsigned role);
struct ferry_sync submit(struct fixture *f, unsigned role, const struct ferry__command *commands,
                         size_t count, const struct ferry_sync *wait);
void wait_for(struct fixture *f, struct ferry_sync point);
struct ferry__command copy(const struct ferry__memory *dst, uint64_t to,
                           const struct ferry__memory *src, uint64_t from, uint64_t size);

/* A command buffer of the test's own, without barriers; end submits it and waits. */
VkCommandBuffer begin(struct fixture *f, VkCommandPool *out_pool);
void end(struct fixture *f, VkCommandBuffer commands, VkCommandPool pool);
VkBuffer native(const struct ferry__memory *memory);

/* One table of tests for each file; test_strictvk.c runs them. */
struct group {
    const char *name;
    const struct CMUnitTest *tests;
    size_t count;
};

#define GROUP(noun) \
    const struct group group_##noun = {"strict Vulkan: " #noun, tests, sizeof tests / sizeof *tests}

#endif
