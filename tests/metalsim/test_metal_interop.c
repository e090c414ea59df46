/* ferry/metal.h: Ferry's objects in the user's hands, and the user's own in Ferry's. */
#include "metalsim.h"

#include "drivers/metal/objc.h"

#include <ferry/metal.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OK(call) assert_int_equal((call), FERRY_OK)

static const struct ferry_device_params never = {.name = "metal", .map_private = FERRY_MAP_NEVER};

static void reset(struct metalsim_config config)
{
    assert_int_equal(metalsim_reset(&config), 0);
    assert_int_equal(ferry__mtl_load(), FERRY_OK);
}

static mtl_id own_device(unsigned index)
{
    mtl_id all = ferry__mtl.copy_all_devices();
    mtl_id device = mtl_retain(mtl_array_at(all, index));
    mtl_release(all);
    return device;
}

static ferry_buffer *make(ferry_device *device, size_t size)
{
    ferry_buffer *buffer = NULL;
    OK(ferry_buffer_create(device, &(struct ferry_buffer_params){.size = size}, &buffer));
    return buffer;
}

/* --- the user's own GPU work, between two transfers, without a host wait ---------------------- */

/* dst = src, byte for byte, on the user's queue, in Ferry's order. */
static void own_copy(const struct ferry_metal_device *metal, const struct ferry_external *external,
                     const struct ferry_metal_buffer *dst, const struct ferry_metal_buffer *src)
{
    void *pool = mtl_pool_push();
    mtl_id commands = mtl_new_commands_retained(metal->queue);
    for (size_t i = 0; i < external->wait_count; i++)
        mtl_encode_wait(commands, ferry_metal_event(external->waits[i]), external->waits[i].value);
    mtl_id blit = mtl_new_blit(commands);
    mtl_blit_copy(blit, src->buffer, src->offset, dst->buffer, dst->offset, src->size);
    mtl_end_encoding(blit);
    mtl_encode_signal(commands, ferry_metal_event(external->signal), external->signal.value);
    mtl_commit(commands);
    mtl_pool_pop(pool);
}

static void test_external_work(void **state)
{
    (void)state;
    for (int machine = 0; machine < METALSIM_MACHINES; machine++) {
        /* The user's own blits between Ferry's kernels are the user's business. */
        reset((struct metalsim_config){.machine = (enum metalsim_machine)machine,
                                       .loose_blits = true});
        ferry_device *device = NULL;
        OK(ferry_device_open(&never, &device));
        struct ferry_metal_device metal;
        OK(ferry_metal_device_get(device, &metal));
        assert_true(metal.device != NULL && metal.queue != NULL && metal.release == NULL);
        ferry_buffer *a = make(device, 4096), *b = make(device, 4096);
        struct ferry_metal_buffer native_a, native_b;
        OK(ferry_metal_buffer_get(a, &native_a));
        OK(ferry_metal_buffer_get(b, &native_b));
        assert_int_equal(native_a.size, 4096);
        assert_int_equal(native_b.offset % FERRY_BUFFER_ALIGNMENT, 0);
        for (int round = 0; round < 20; round++) {
            unsigned char up[4096], down[4096] = {0};
            for (int i = 0; i < 4096; i++)
                up[i] = (unsigned char)(i * 7 + round);
            ferry_ticket done;
            OK(ferry_copy_from_host_async(a, up, sizeof up, 0, NULL, NULL, NULL));
            struct ferry_external external;
            const struct ferry_use uses[] = {{.buffer = a, .access = FERRY_ACCESS_READ},
                                             {.buffer = b, .access = FERRY_ACCESS_WRITE}};
            OK(ferry_external_begin(device, uses, 2, &external));
            assert_true(external.signal.event != 0);
            own_copy(&metal, &external, &native_b, &native_a);
            OK(ferry_external_end(device, external.ticket, FERRY_OK));
            OK(ferry_copy_to_host_async(b, down, sizeof down, 0, NULL, NULL, &done));
            OK(ferry_wait(device, done, FERRY_FOREVER));
            assert_memory_equal(down, up, sizeof up);
        }
        ferry_buffer_destroy(a);
        ferry_buffer_destroy(b);
        ferry_device_close(device);
        reset((struct metalsim_config){0});
    }
}

/* --- the user's own device, queue and buffers ------------------------------------------------- */

static int released;

static void note_release(void *user)
{
    released++;
    *(int *)user += 1;
}

static void move_through(ferry_buffer *buffer)
{
    unsigned char up[1001], down[1001];
    for (int i = 0; i < 1001; i++)
        up[i] = (unsigned char)(i * 3 + 1);
    OK(ferry_copy_from_host(buffer, up, sizeof up, 5));
    OK(ferry_copy_to_host(buffer, down, sizeof down, 5));
    assert_memory_equal(up, down, sizeof up);
}

static void wrap_all(bool with_queue)
{
    void *pool = mtl_pool_push();
    int device_released = 0, buffer_released = 0;
    mtl_id own = own_device(0), queue = with_queue ? mtl_new_queue(own, 64) : NULL;
    mtl_id native = mtl_new_buffer(own, 4096 + 3, MTL_OPTION_PRIVATE);
    const struct ferry_metal_device wrapped = {
        .device = own, .queue = queue, .release = note_release, .user = &device_released};
    ferry_device *device = NULL;
    OK(ferry_metal_device_wrap(&wrapped, &never, &device));
    struct ferry_metal_device back;
    OK(ferry_metal_device_get(device, &back));
    assert_ptr_equal(back.device, own);
    if (queue)
        assert_ptr_equal(back.queue, queue);
    ferry_buffer *buffer = NULL;
    const struct ferry_metal_buffer part = {
        .buffer = native, .offset = 256, .size = 4096 - 256 + 3};
    OK(ferry_metal_buffer_wrap(device, &part, note_release, &buffer_released, &buffer));
    assert_int_equal(ferry_buffer_size(buffer), part.size);
    move_through(buffer);
    OK(ferry_zero_buffer(buffer)); /* its last word is partly outside */
    struct ferry_metal_buffer same;
    OK(ferry_metal_buffer_get(buffer, &same));
    assert_true(same.buffer == part.buffer && same.offset == 256 && same.size == part.size);
    ferry_buffer *ours = make(device, 2000);
    move_through(ours);
    OK(ferry_copy_buffer(buffer, ours, 1500, 300, 7));
    ferry_buffer_destroy(ours);
    ferry_buffer_destroy(buffer);
    OK(ferry_wait_idle(device));
    assert_int_equal(buffer_released, 1);
    assert_int_equal(device_released, 0);
    ferry_device_close(device);
    assert_int_equal(device_released, 1);
    mtl_release(native);
    mtl_release(queue);
    mtl_release(own);
    mtl_pool_pop(pool);
}

static void test_wrap(void **state)
{
    (void)state;
    for (int machine = 0; machine < METALSIM_MACHINES; machine++)
        for (int with_queue = 0; with_queue < 2; with_queue++) {
            reset((struct metalsim_config){.machine = (enum metalsim_machine)machine});
            wrap_all(with_queue);
            reset((struct metalsim_config){0});
        }
}

/* --- what is refused -------------------------------------------------------------------------- */

static void test_refused(void **state)
{
    (void)state;
    reset((struct metalsim_config){.devices = 2});
    void *pool = mtl_pool_push();
    mtl_id own = own_device(0), other = own_device(1);
    mtl_id foreign_queue = mtl_new_queue(other, 4);
    mtl_id foreign = mtl_new_buffer(other, 4096, MTL_OPTION_PRIVATE);
    mtl_id untracked = mtl_new_buffer(own, 4096, MTL_OPTION_PRIVATE | MTL_OPTION_UNTRACKED);
    mtl_id heap = mtl_new_buffer(own, 4096, MTL_OPTION_PRIVATE | METALSIM_OPTION_HEAP);
    mtl_id native = mtl_new_buffer(own, 4096, MTL_OPTION_PRIVATE);
    ferry_device *device = NULL, *none = NULL, *host = NULL;
    ferry_buffer *buffer = NULL;
    struct ferry_metal_device wrapped = {.device = own, .queue = foreign_queue};
    assert_int_equal(ferry_metal_device_wrap(&wrapped, NULL, &none), FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(ferry_metal_device_wrap(NULL, NULL, &none), FERRY_ERROR_INVALID_ARGUMENT);
    wrapped = (struct ferry_metal_device){.queue = foreign_queue};
    assert_int_equal(ferry_metal_device_wrap(&wrapped, NULL, &none), FERRY_ERROR_INVALID_ARGUMENT);
    wrapped = (struct ferry_metal_device){.device = own, .reserved = {0, 1}};
    assert_int_equal(ferry_metal_device_wrap(&wrapped, NULL, &none), FERRY_ERROR_INVALID_ARGUMENT);
    wrapped = (struct ferry_metal_device){.device = own};
    OK(ferry_metal_device_wrap(&wrapped, NULL, &device));
    static const size_t far = SIZE_MAX - 255;
    const struct {
        struct ferry_metal_buffer buffer;
        enum ferry_status status;
    } bad[] = {
        {{.buffer = foreign, .size = 4096}, FERRY_ERROR_INVALID_ARGUMENT},
        {{.buffer = untracked, .size = 4096}, FERRY_ERROR_UNSUPPORTED},
        {{.buffer = heap, .size = 4096}, FERRY_ERROR_UNSUPPORTED},
        {{.buffer = NULL, .size = 4096}, FERRY_ERROR_INVALID_ARGUMENT},
        {{.buffer = native, .size = 0}, FERRY_ERROR_INVALID_ARGUMENT},
        {{.buffer = native, .offset = 128, .size = 4}, FERRY_ERROR_INVALID_ARGUMENT},
        {{.buffer = native, .size = 4097}, FERRY_ERROR_OUT_OF_RANGE},
        {{.buffer = native, .offset = 256, .size = 4096}, FERRY_ERROR_OUT_OF_RANGE},
        {{.buffer = native, .offset = far, .size = 512}, FERRY_ERROR_OUT_OF_RANGE},
        {{.buffer = native, .size = 4, .reserved = {1}}, FERRY_ERROR_INVALID_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(ferry_metal_buffer_wrap(device, &bad[i].buffer, NULL, NULL, &buffer),
                         bad[i].status);
    OK(ferry_device_open(&(struct ferry_device_params){.name = "host"}, &host));
    struct ferry_metal_device out;
    struct ferry_metal_buffer out_buffer;
    assert_int_equal(ferry_metal_device_get(host, &out), FERRY_ERROR_UNSUPPORTED);
    buffer = make(host, 64);
    assert_int_equal(ferry_metal_buffer_get(buffer, &out_buffer), FERRY_ERROR_UNSUPPORTED);
    ferry_buffer_destroy(buffer);
    ferry_device_close(host);
    ferry_device_close(device);
    mtl_id all[] = {native, heap, untracked, foreign, foreign_queue, other, own};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mtl_release(all[i]);
    mtl_pool_pop(pool);
    reset((struct metalsim_config){0});
}

/* Two objects of Metal's for one GPU: each is as good as the other. */
static void test_twins(void **state)
{
    (void)state;
    reset((struct metalsim_config){.devices = 2, .twins = true});
    void *pool = mtl_pool_push();
    mtl_id own = own_device(0), twin = own_device(1);
    mtl_id queue = mtl_new_queue(twin, 64);
    mtl_id native = mtl_new_buffer(twin, 4096, MTL_OPTION_PRIVATE);
    const struct ferry_metal_device wrapped = {.device = own, .queue = queue};
    const struct ferry_metal_buffer part = {.buffer = native, .size = 4096};
    ferry_device *device = NULL;
    ferry_buffer *buffer = NULL;
    OK(ferry_metal_device_wrap(&wrapped, &never, &device));
    OK(ferry_metal_buffer_wrap(device, &part, NULL, NULL, &buffer));
    move_through(buffer);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    mtl_id all[] = {native, queue, twin, own};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mtl_release(all[i]);
    mtl_pool_pop(pool);
    reset((struct metalsim_config){0});
}

/* Without kernels whole words are written, and behind the last one memory is not ours. */
static void test_wrap_without_kernels(void **state)
{
    (void)state;
    reset((struct metalsim_config){.bad_kernels = true});
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
    void *pool = mtl_pool_push();
    mtl_id own = own_device(0);
    mtl_id native = mtl_new_buffer(own, 4096, MTL_OPTION_PRIVATE);
    const struct ferry_metal_device wrapped = {.device = own};
    struct ferry_metal_buffer part = {.buffer = native, .size = 4095};
    ferry_device *device = NULL;
    ferry_buffer *buffer = NULL;
    OK(ferry_metal_device_wrap(&wrapped, &never, &device));
    assert_int_equal(ferry_metal_buffer_wrap(device, &part, NULL, NULL, &buffer),
                     FERRY_ERROR_UNSUPPORTED);
    assert_non_null(strstr(ferry_last_error(), "4095 bytes are not a multiple of 4"));
    part.size = 4092;
    OK(ferry_metal_buffer_wrap(device, &part, NULL, NULL, &buffer));
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    mtl_release(native);
    mtl_release(own);
    mtl_pool_pop(pool);
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
    reset((struct metalsim_config){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_external_work),
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_twins),
        cmocka_unit_test(test_wrap_without_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
