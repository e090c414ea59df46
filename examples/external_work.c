/* The caller's own GPU work between an upload and a readback: nothing on the host waits in between,
 * the device's semaphores order it all. Here the work is vkCmdFillBuffer; no shader is needed. */
#include <ferry/vulkan.h>
#include <stdio.h>
#include <stdlib.h>
#include <vulkan/vulkan.h>
#define CHECK(call) ((call) ? (puts(#call), puts(ferry_last_error()), exit(1)) : (void)0)

int main(void) {
    static unsigned char bytes[4096], back[4096];
    ferry_device *device;
    ferry_buffer *buffer;
    struct ferry_vulkan_device vk;
    struct ferry_vulkan_buffer native;
    CHECK(ferry_device_open(&(struct ferry_device_params){.name = "vulkan"}, &device));
    CHECK(ferry_buffer_create(device, &(struct ferry_buffer_params){.size = 4096}, &buffer));
    CHECK(ferry_vulkan_device_get(device, &vk));
    CHECK(ferry_vulkan_buffer_get(buffer, &native));
    VkQueue queue;
    VkCommandPool pool;
    VkCommandBuffer commands;
    vkGetDeviceQueue(vk.device, vk.queue_family, vk.queue_index, &queue);
    CHECK(vkCreateCommandPool(vk.device, &(VkCommandPoolCreateInfo){
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .queueFamilyIndex = vk.queue_family}, NULL, &pool));
    CHECK(vkAllocateCommandBuffers(vk.device, &(VkCommandBufferAllocateInfo){
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, .commandPool = pool,
        .commandBufferCount = 1}, &commands));
    CHECK(vkBeginCommandBuffer(commands, &(VkCommandBufferBeginInfo){
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO}));
    vkCmdFillBuffer(commands, native.buffer, native.offset + 1024, 2048, 0x2a2a2a2a);
    CHECK(vkEndCommandBuffer(commands));

    struct ferry_use use = {buffer, FERRY_ACCESS_WRITE, .offset = 1024, .size = 2048};
    struct ferry_external work;
    ferry_ticket done;
    CHECK(ferry_copy_from_host_async(buffer, bytes, 4096, 0, NULL, NULL, NULL));
    CHECK(ferry_external_begin(device, &use, 1, &work));
    VkSemaphore waits[4], signal = ferry_vulkan_semaphore(work.signal);
    uint64_t values[4];
    VkPipelineStageFlags stages[4];
    for (size_t i = 0; i < work.wait_count; i++) {
        waits[i] = ferry_vulkan_semaphore(work.waits[i]);
        values[i] = work.waits[i].value, stages[i] = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    }
    vk.lock_queue(vk.user, vk.queue_family, vk.queue_index); /* Ferry uses it too */
    CHECK(vkQueueSubmit(queue, 1, &(VkSubmitInfo){VK_STRUCTURE_TYPE_SUBMIT_INFO,
        &(VkTimelineSemaphoreSubmitInfo){VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO, NULL,
            (uint32_t)work.wait_count, values, 1, &work.signal.value},
        (uint32_t)work.wait_count, waits, stages, 1, &commands, 1, &signal}, VK_NULL_HANDLE));
    vk.unlock_queue(vk.user, vk.queue_family, vk.queue_index);
    CHECK(ferry_external_end(device, work.ticket, FERRY_OK));
    CHECK(ferry_copy_to_host_async(buffer, back, 4096, 0, NULL, NULL, &done));
    CHECK(ferry_wait(device, done, FERRY_FOREVER));
    vkDestroyCommandPool(vk.device, pool, NULL);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    printf("byte 0: %d, byte 2000: %d\n", back[0], back[2000]);
    return back[0] != 0 || back[2000] != 42;
}
