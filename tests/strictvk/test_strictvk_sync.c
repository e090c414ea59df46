/* Synchronisation validation is there, and what it says arrives. A program of its own: the instance
 * is made with it. */
#include "strict_driver.h"

/* The second copy reads what the first one writes. */
static unsigned hazards(struct fixture *f, bool barrier)
{
    struct ferry__memory a = alloc(f, FERRY__MEMORY_PRIVATE, SIZE);
    struct ferry__memory b = alloc(f, FERRY__MEMORY_PRIVATE, SIZE);
    VkCommandPool pool;
    VkCommandBuffer commands = begin(f, &pool);
    const VkBufferCopy region = {.size = 100};
    f->v->vk.CmdCopyBuffer(commands, native(&a), native(&b), 1, &region);
    if (barrier) {
        const VkMemoryBarrier memory = {
            .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
            .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
            .dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
        };
        f->v->vk.CmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT,
                                    VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 1, &memory, 0, NULL, 0,
                                    NULL);
    }
    f->v->vk.CmdCopyBuffer(commands, native(&b), native(&a), 1, &region);
    f->v->vk.DestroyCommandPool(f->v->device, pool, NULL); /* never submitted */
    driver->memory_free(f->v, &a);
    driver->memory_free(f->v, &b);
    return only(STRICTVK_VALIDATION);
}

static void test_hazard(void **unused)
{
    (void)unused;
    struct fixture f;
    open_with(&f, "validate=2,collect=1");
    assert_int_equal(hazards(&f, true), 0);
    assert_true(hazards(&f, false) > 0);
    driver->close(f.v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hazard)};
    find_strictvk();
    return cmocka_run_group_tests_name("strict Vulkan: synchronisation", tests, NULL, NULL);
}
