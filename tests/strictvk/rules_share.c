/* Memory that others have too: who has it when. Broken on purpose. */
#include "strict_driver.h"

#include "base/sharing.h"

#include <unistd.h>

static struct ferry__memory share(struct fixture *f)
{
    struct ferry__memory memory;
    if (driver->sharing->alloc(f->v, SIZE, &memory, f->why))
        fail_msg("%s", f->why);
    return memory;
}

static void pass_on(struct fixture *f, VkCommandBuffer commands, const struct ferry__memory *memory,
                    uint32_t from, uint32_t to, uint64_t size)
{
    const VkBufferMemoryBarrier barrier = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER,
        .dstAccessMask = VK_ACCESS_MEMORY_WRITE_BIT,
        .srcQueueFamilyIndex = from,
        .dstQueueFamilyIndex = to,
        .buffer = native(memory),
        .size = size,
    };
    f->v->vk.CmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                                VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 0, NULL, 1, &barrier, 0,
                                NULL);
}

/* A fill of 64 bytes, with so many of them acquired before and released after, by this family. */
static void owner_case(const char *options, uint64_t acquired, uint64_t released, uint32_t family,
                       unsigned expected)
{
    struct fixture f;
    open_with(&f, options);
    struct ferry__memory memory = share(&f);
    VkCommandPool pool;
    VkCommandBuffer commands = begin(&f, &pool);
    if (acquired)
        pass_on(&f, commands, &memory, VK_QUEUE_FAMILY_EXTERNAL, family, acquired);
    f.v->vk.CmdFillBuffer(commands, native(&memory), 0, 64, 7);
    if (released)
        pass_on(&f, commands, &memory, family, VK_QUEUE_FAMILY_EXTERNAL, released);
    end(&f, commands, pool);
    assert_int_equal(only(STRICTVK_OWNER), expected);
    assert_int_equal(set("collect=1"), 0); /* the test never asked whether its work was done */
    driver->memory_free(f.v, &memory);
    driver->close(f.v);
}

#define ONE_FAMILY "collect=1,memory=private"
#define TWO_FAMILIES "collect=1,kind=discrete,memory=private,transfer=2"

static void test_owner(void **unused)
{
    (void)unused;
    owner_case(ONE_FAMILY, 64, 64, 0, 0);
    owner_case(ONE_FAMILY, 0, 64, 0, 1);
    owner_case(ONE_FAMILY, 64, 0, 0, 1);
    owner_case(ONE_FAMILY, 63, 64, 0, 1); /* not all of it */
    owner_case(ONE_FAMILY, 64, 63, 0, 1);
    owner_case(TWO_FAMILIES, 64, 64, VK_QUEUE_FAMILY_IGNORED, 0);
    owner_case(TWO_FAMILIES, 64, 64, 0, 2); /* the families share it */
}

/* The driver passes on what it touches, in every submission, and nothing that is its own. */
static void driver_case(const char *options)
{
    struct fixture f;
    open_with(&f, options);
    struct ferry__memory ours = share(&f), theirs = share(&f);
    struct ferry__memory own = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    struct ferry__command commands[] = {
        {.kind = FERRY__FILL, .dst = &ours, .size = SIZE, .pattern_size = 1},
        copy(&theirs, 4, &ours, 100, 1000),
        copy(&own, 0, &theirs, 0, SIZE),
        copy(&ours, 3, &own, 70, 5),
    };
    for (size_t i = 1; i < sizeof commands / sizeof *commands; i++)
        commands[i].barrier = true;
    for (int times = 0; times < 3; times++)
        wait_for(&f, submit(&f, FERRY__ROLE_COPY, commands, 4, NULL));
    wait_for(&f, submit(&f, FERRY__ROLE_UPLOAD, &commands[2], 1, NULL));
    assert_int_equal(only(STRICTVK_OWNER), 0);
    driver->memory_free(f.v, &ours);
    driver->memory_free(f.v, &theirs);
    driver->memory_free(f.v, &own);
    driver->close(f.v);
}

static void test_driver_passes_on(void **unused)
{
    (void)unused;
    driver_case(ONE_FAMILY);
    driver_case(ONE_FAMILY ",validate=2");
    driver_case(TWO_FAMILIES);
}

/* NVIDIA's driver has no device memory where a descriptor is not of so many bytes. */
static void test_import_of_too_much(void **unused)
{
    (void)unused;
    struct fixture f;
    open_with(&f, "collect=1,memory=private,fail=vkAllocateMemory:2:device");
    struct ferry__memory ours = share(&f), none;
    int fd;
    uint64_t size;
    assert_int_equal(driver->sharing->give(f.v, &ours, FERRY_HANDLE_OPAQUE_FD, &fd, &size, f.why),
                     FERRY_OK);
    assert_int_equal(driver->sharing->take(f.v, FERRY_HANDLE_OPAQUE_FD, fd, SIZE, &none, f.why),
                     FERRY_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(f.why, "65536 bytes: vkAllocateMemory: VK_ERROR_OUT_OF_DEVICE_MEMORY"));
    close(fd);
    driver->memory_free(f.v, &ours);
    driver->close(f.v);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_owner),
    cmocka_unit_test(test_driver_passes_on),
    cmocka_unit_test(test_import_of_too_much),
};

GROUP(share);
