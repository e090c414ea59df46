/* Buffers of many GiB: every operation at places beyond 32 bits, by commands and by kernels, in the
 * library's own memory and in the user's. The memory is there where it is touched only. What went to
 * an address cut short would lie in the lowest window, which is compared each time, too. */
#include "client.h"

#include <ferry/cuda.h>
#include <ferry/ferry.h>
#include <stdio.h>

#define GIB ((size_t)1 << 30)

enum { WINDOW = 1 << 18, WINDOWS = 4, PIECE = 65537, BLOCKS = 24 };

static const size_t SPACE = 10 * GIB;
/* The lowest; over 4 GiB, in the middle of a window; likewise over 8 GiB; the last. */
static const size_t windows[WINDOWS] = {0, 4 * GIB - WINDOW / 2, 8 * GIB - 4097, 10 * GIB - WINDOW};

static unsigned char model[WINDOWS][WINDOW], got[WINDOW], bytes[WINDOW];

#define OK(call) assert_int_equal((call), FERRY_OK)

static void compare(ferry_buffer *buffer, const char *after)
{
    for (size_t w = 0; w < WINDOWS; w++) {
        OK(ferry_copy_to_host(buffer, got, WINDOW, windows[w]));
        for (size_t i = 0; i < WINDOW; i++)
            if (got[i] != model[w][i])
                fail_msg("after %s: window %zu has 0x%02x, not 0x%02x, at %zu", after, w, got[i],
                         model[w][i], i);
    }
}

static void fill_windows(ferry_buffer *buffer)
{
    for (size_t w = 0; w < WINDOWS; w++) {
        for (size_t i = 0; i < WINDOW; i++)
            model[w][i] = (unsigned char)(i * (2 * w + 3) + i / 251 + w);
        OK(ferry_copy_from_host(buffer, model[w], WINDOW, windows[w]));
    }
    compare(buffer, "uploads");
}

/* Patterns of one byte, of a word, and of those that kernels alone know, over the 4 GiB and behind. */
static void pass_fills(ferry_buffer *buffer)
{
    static const size_t lengths[] = {1, 3, 4, 5, 16};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
        for (size_t w = 1; w < WINDOWS; w++) {
            const size_t at = WINDOW / 2 - 33 + l;
            OK(ferry_fill_buffer(buffer, PIECE, windows[w] + at, "0123456789abcdef", lengths[l]));
            for (size_t i = 0; i < PIECE; i++)
                model[w][at + i] = (unsigned char)"0123456789abcdef"[i % lengths[l]];
        }
    compare(buffer, "fills");
    OK(ferry_fill_buffer(buffer, 4099, 4 * GIB - 7, "", 1));
    memset(model[1] + WINDOW / 2 - 7, 0, 4099);
    compare(buffer, "zeros");
}

/* From each window to the next, and to itself. */
static void pass_copies(ferry_buffer *buffer)
{
    for (size_t from = 0; from < WINDOWS; from++)
        for (size_t to = 1; to < WINDOWS; to++) {
            const size_t src = WINDOW / 2 - 17 - from, dst = WINDOW / 2 - 31 + to;
            OK(ferry_copy_buffer(buffer, buffer, PIECE, windows[to] + dst, windows[from] + src));
            memmove(bytes, model[from] + src, PIECE);
            memcpy(model[to] + dst, bytes, PIECE);
        }
    compare(buffer, "copies");
}

/* The i-th of them lies in one window or another, apart from the others. */
static void place_blocks(struct ferry_block *blocks)
{
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = (struct ferry_block){windows[1 + i % 3] + 1024 + i * 4096 + i % 5,
                                         i * 4096 + i % 7, 1000 + 97 * i};
}

static unsigned char *model_of(size_t place)
{
    size_t w = WINDOWS - 1;
    while (place < windows[w])
        w--;
    return model[w] + (place - windows[w]);
}

static void pass_lists(ferry_buffer *buffer)
{
    struct ferry_block blocks[BLOCKS], back[BLOCKS];
    place_blocks(blocks);
    for (size_t i = 0; i < WINDOW; i++)
        bytes[i] = (unsigned char)(i * 11 + i / 253);
    OK(ferry_copy_blocks_from_host(buffer, bytes, blocks, BLOCKS));
    for (size_t i = 0; i < BLOCKS; i++)
        memcpy(model_of(blocks[i].dst_offset), bytes + blocks[i].src_offset, blocks[i].size);
    compare(buffer, "blocks from the host");
    for (size_t i = 0; i < BLOCKS; i++)
        back[i] = (struct ferry_block){blocks[i].src_offset, blocks[i].dst_offset, blocks[i].size};
    memset(got, 0, WINDOW);
    OK(ferry_copy_blocks_to_host(buffer, got, back, BLOCKS));
    for (size_t i = 0; i < BLOCKS; i++)
        assert_memory_equal(got + back[i].dst_offset, bytes + back[i].dst_offset, back[i].size);
    for (size_t i = 0; i < BLOCKS; i++) /* elsewhere in the same window */
        back[i] = (struct ferry_block){blocks[i].dst_offset + WINDOW / 2, blocks[i].dst_offset,
                                       blocks[i].size};
    OK(ferry_copy_blocks(buffer, buffer, back, BLOCKS));
    for (size_t i = 0; i < BLOCKS; i++)
        memcpy(model_of(back[i].dst_offset), model_of(back[i].src_offset), back[i].size);
    compare(buffer, "blocks within");
}

/* Rows that lie 4 GiB apart: the 32 lowest bits of their offsets are the same. */
static void pass_rows(ferry_buffer *buffer)
{
    const struct ferry_rows up = {2, 999, 4 * GIB + 65, 4 * GIB, 3, 1001};
    const struct ferry_rows down = {2, 999, 0, 999, 4 * GIB + 65, 4 * GIB};
    OK(ferry_copy_rows_from_host(buffer, bytes, &up));
    memcpy(model_of(up.dst_offset), bytes + 3, 999);
    memcpy(model_of(up.dst_offset + up.dst_stride), bytes + 3 + 1001, 999);
    compare(buffer, "rows");
    OK(ferry_copy_rows_to_host(buffer, got, &down));
    assert_memory_equal(got, bytes + 3, 999);
    assert_memory_equal(got + 999, bytes + 3 + 1001, 999);
}

static const struct {
    const char *options;
    bool wrapped, by_kernel;
} cases[] = {
    {"memory=64G", false, false},
    {"memory=64G", false, true},
    {"memory=64G", true, true},
    {"memory=64G,nojit,nobatch", false, false},
    {"memory=64G,version=12000", true, false},
};

static void test_far(void **state)
{
    const size_t at = (size_t)(uintptr_t)*state;
    struct ferry_device_params params = {.name = "cuda"};
    params.thresholds.kernel_copy_from = cases[at].by_kernel ? 1 : 0;
    ferry_device *device = NULL;
    ferry_buffer *buffer = NULL;
    uint64_t memory = 0;
    setenv("STRICTCUDA", cases[at].options, 1);
    const uint64_t launches = strictcuda_calls("cuLaunchKernel");
    OK(ferry_device_open(&params, &device));
    if (cases[at].wrapped) {
        memory = strictcuda_alloc(STRICTCUDA_DEVICE, SPACE + 3);
        OK(ferry_cuda_buffer_wrap(device, memory + 3, SPACE, NULL, NULL, &buffer));
    } else {
        OK(ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SPACE}, &buffer));
    }
    fill_windows(buffer);
    pass_fills(buffer);
    pass_copies(buffer);
    pass_lists(buffer);
    pass_rows(buffer);
    ferry_buffer_destroy(buffer);
    OK(ferry_device_trim(device));
    if (memory)
        strictcuda_free(memory);
    ferry_device_close(device);
    const bool launched = strictcuda_calls("cuLaunchKernel") > launches;
    assert_int_equal(launched, !strstr(cases[at].options, "nojit"));
    assert_int_equal(strictcuda_live(), 0);
}

#define CASE(n) cmocka_unit_test_prestate(test_far, (void *)(uintptr_t)(n))

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(0), CASE(1), CASE(2), CASE(3), CASE(4)};
    return cmocka_run_group_tests_name("CUDA, far away", tests, NULL, NULL);
}
