/* Which queues the driver takes, of the families that real devices have. */
#include "../../drivers/vulkan/vk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum {
    G = VK_QUEUE_GRAPHICS_BIT,
    C = VK_QUEUE_COMPUTE_BIT,
    T = VK_QUEUE_TRANSFER_BIT,
    S = VK_QUEUE_SPARSE_BINDING_BIT,
    DECODE = VK_QUEUE_VIDEO_DECODE_BIT_KHR,
    ENCODE = 0x40,
    FLOW = 0x100, /* VK_QUEUE_OPTICAL_FLOW_BIT_NV */
    UP = FERRY__ROLE_UPLOAD,
    DOWN = FERRY__ROLE_DOWNLOAD,
    COPY = FERRY__ROLE_COPY,
    ALL = UP | DOWN | COPY,
};

struct family {
    VkQueueFlags flags;
    uint32_t count;
};

static const struct row {
    const char *device;
    struct family families[6];
    uint32_t limit; /* of queues; 0: none */
    uint32_t count; /* expected: of queues; 0: the device is of no use */
    struct vulkan_queue_plan plan[3];
} rows[] = {
    {"one family", {{G | C | T, 1}}, 0, 1, {{0, 0, ALL}}},
    {"graphics that do not compute", {{G | T, 1}}, 0, 1, {{0, 0, ALL}}},
    {"compute only", {{C | T, 4}}, 0, 1, {{0, 0, ALL}}},
    {"graphics, and compute", {{G | C | T, 1}, {C | T, 4}}, 0, 1, {{1, 0, ALL}}},
    {"a copy engine with one queue",
     {{G | C | T, 1}, {T, 1}},
     0,
     2,
     {{0, 0, COPY}, {1, 0, UP | DOWN}}},
    {"AMD",
     {{G | C | T | S, 1}, {C | T | S, 4}, {T | S, 2}},
     0,
     3,
     {{1, 0, COPY}, {2, 0, UP}, {2, 1, DOWN}}},
    /* As vkGetPhysicalDeviceQueueFamilyProperties gave them, driver 580.159.04. */
    {"NVIDIA H100",
     {{G | C | T | S, 16}, {T | S, 2}, {C | T | S, 8}, {T | S | DECODE, 7}, {T | S | FLOW, 1}},
     0,
     3,
     {{2, 0, COPY}, {1, 0, UP}, {1, 1, DOWN}}},
    {"two queues allowed",
     {{G | C | T | S, 16}, {T | S, 2}, {C | T | S, 8}},
     2,
     2,
     {{2, 0, COPY}, {1, 0, UP | DOWN}}},
    {"one queue allowed", {{G | C | T | S, 16}, {T | S, 2}, {C | T | S, 8}}, 1, 1, {{2, 0, ALL}}},
    {"video engines", {{G | C | T, 1}, {T | DECODE, 1}, {T | ENCODE, 1}}, 0, 1, {{0, 0, ALL}}},
    {"families without queues", {{C | T, 0}, {G | C | T, 1}, {T, 0}}, 0, 1, {{1, 0, ALL}}},
    {"copies only", {{T, 2}}, 0, 0, {{0, 0, 0}}},
    {"nothing", {{0, 0}}, 0, 0, {{0, 0, 0}}},
};

static void test_plans(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        struct vulkan_physical physical = {.family_count = 0};
        struct vulkan_queue_plan plan[VULKAN__QUEUES_MAX];
        for (; row->families[physical.family_count].flags; physical.family_count++)
            physical.families[physical.family_count] = (VkQueueFamilyProperties){
                .queueFlags = row->families[physical.family_count].flags,
                .queueCount = row->families[physical.family_count].count,
            };
        print_message("%s\n", row->device);
        assert_int_equal(ferry__vulkan_plan_queues(&physical, row->limit, plan), row->count);
        for (uint32_t q = 0; q < row->count; q++) {
            assert_int_equal(plan[q].family, row->plan[q].family);
            assert_int_equal(plan[q].index, row->plan[q].index);
            assert_int_equal(plan[q].roles, row->plan[q].roles);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plans)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
