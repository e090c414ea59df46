/*
 * The adapters over what Ferry is measured beside: one body for all. The fake CUDA driver is always
 * there; which others are depends on the machine and the build, and is printed.
 */
#include "peer.h"

#include <ferry/ferry.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIZE = 70000, OFFSET = 512, PART = 4096 };

static const struct peer_wish fake_wish = {
    .uuid = {0xfe, 0x44, 0x59, 0x0a, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}};

static int set_up(void **state)
{
    (void)state;
    unsetenv("FAKE_CUDA_FAIL");
    return setenv("FAKE_CUDA_UUID", "fe44590a0102030405060708090a0b0c", 1);
}

/* The first device that is a CPU in truth and has a UUID; else the host, which has none. */
static struct peer_wish cpu_wish(void)
{
    struct ferry_device_info infos[16];
    size_t count = 0;
    struct peer_wish wish = {.cpu = true};
    assert_int_equal(ferry_device_list(infos, 16, &count), FERRY_OK);
    for (size_t i = 0; i < count && i < 16; i++)
        if (infos[i].kind == FERRY_DEVICE_SOFTWARE && strcmp(infos[i].driver, "vulkan") == 0)
            memcpy(wish.uuid, infos[i].uuid, sizeof wish.uuid);
    return wish;
}

static void good(const char *why)
{
    if (why != NULL)
        fail_msg("%s", why);
}

static void fill_with(unsigned char *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)((i * 2654435761u + seed) >> 11);
}

/* Expects these bytes in the whole buffer. */
static void expect(const struct peer *peer, void *device, void *buffer,
                   const unsigned char *expected)
{
    unsigned char *bytes = calloc(1, SIZE);
    assert_non_null(bytes);
    good(peer->download(device, bytes, buffer, 0, SIZE));
    good(peer->finish(device));
    assert_memory_equal(bytes, expected, SIZE);
    free(bytes);
}

static void move(const struct peer *peer, void *device, unsigned char *source)
{
    static const unsigned char pattern[PEER_PATTERN] = {9, 8, 7, 6};
    static unsigned char expected[SIZE];
    void *one = NULL, *two = NULL;
    good(peer->make(device, SIZE, &one));
    good(peer->make(device, SIZE, &two));
    fill_with(expected, SIZE, 1);
    memcpy(source, expected, SIZE);
    good(peer->upload(device, one, 0, source, SIZE));
    good(peer->finish(device));
    good(peer->upload(device, two, 0, source, SIZE));
    good(peer->finish(device));
    expect(peer, device, one, expected);

    /* Several, then one wait. */
    fill_with(source, SIZE, 2);
    for (size_t offset = OFFSET; offset + PART <= SIZE; offset += 2 * (size_t)PART) {
        good(peer->upload(device, one, offset, source + offset, PART));
        memcpy(expected + offset, source + offset, PART);
    }
    good(peer->finish(device));
    expect(peer, device, one, expected);

    if (peer->copy != NULL) {
        fill_with(expected, SIZE, 1);
        memcpy(expected + OFFSET, source + OFFSET, PART);
        good(peer->copy(device, two, one, OFFSET, PART));
        good(peer->finish(device));
        expect(peer, device, two, expected);
    }
    if (peer->fill != NULL) {
        good(peer->fill(device, two, OFFSET, PART, pattern));
        good(peer->finish(device));
        for (size_t i = 0; i < PART; i++)
            expected[OFFSET + i] = pattern[i % PEER_PATTERN];
        expect(peer, device, two, expected);
    }
    if (peer->both != NULL) { /* what is not waited for is not there */
        static unsigned char down[PART];
        good(peer->upload(device, one, 0, expected, SIZE));
        good(peer->finish(device));
        memset(down, 0, PART);
        good(peer->both(device, one, source, OFFSET + PART, down, PART));
        assert_memory_equal(down, expected + OFFSET + PART, PART);
        memcpy(expected, source, PART);
        expect(peer, device, one, expected);
    }
    peer->destroy(device, one);
    peer->destroy(device, two);
}

static void try_peer(const struct peer *peer, const struct peer_wish *wish)
{
    static unsigned char source[SIZE];
    void *device = NULL, *memory = NULL;
    good(peer->open(wish, &device));
    move(peer, device, source);
    if (peer->host_alloc != NULL) {
        good(peer->host_alloc(device, SIZE, &memory));
        move(peer, device, memory);
        peer->host_free(device, memory);
    }
    peer->close(device);
}

static void cuda_moves_bytes(void **state)
{
    (void)state;
    try_peer(&peer_cuda, &fake_wish);
    try_peer(&peer_cuda, &fake_wish);
}

enum { BLOCKS = 7, BLOCK = 48 };

/* Blocks in no order: at odd places of the buffer, one behind the other in host memory. */
static void try_blocks(enum peer_way way, const char *version)
{
    static unsigned char host[SIZE], expected[SIZE];
    struct peer_block up[BLOCKS], down[BLOCKS], within[BLOCKS];
    void *device = NULL, *buffer = NULL;
    setenv("FAKE_CUDA_VERSION", version, 1);
    good(peer_cuda.open(&fake_wish, &device));
    good(peer_cuda.make(device, SIZE, &buffer));
    fill_with(expected, SIZE, 1);
    good(peer_cuda.upload(device, buffer, 0, expected, SIZE));
    good(peer_cuda.finish(device));
    fill_with(host, SIZE, 2);
    for (size_t i = 0; i < BLOCKS; i++) {
        const size_t place = (3 * i % BLOCKS * 2 + 1) * BLOCK;
        up[i] = (struct peer_block){place, i * BLOCK, BLOCK};
        within[i] = (struct peer_block){place + BLOCK, place, BLOCK};
        down[i] = (struct peer_block){i * BLOCK, place + BLOCK, BLOCK};
        memcpy(expected + place, host + i * BLOCK, BLOCK);
        memcpy(expected + place + BLOCK, host + i * BLOCK, BLOCK);
    }
    const char *why = peer_cuda.blocks(device, way, PEER_UP, buffer, host, up, BLOCKS);
    if (way == PEER_BLOCKS_BATCH && strcmp(version, "12000") == 0) {
        assert_string_equal(why, "this CUDA has no cuMemcpyBatchAsync");
    } else {
        good(why);
        good(peer_cuda.blocks(device, way, PEER_WITHIN, buffer, NULL, within, BLOCKS));
        expect(&peer_cuda, device, buffer, expected);
        memset(host, 0, SIZE);
        good(peer_cuda.blocks(device, way, PEER_DOWN, buffer, host, down, BLOCKS));
        for (size_t i = 0; i < BLOCKS; i++)
            assert_memory_equal(host + down[i].to, expected + down[i].from, BLOCK);
    }
    peer_cuda.destroy(device, buffer);
    peer_cuda.close(device);
    unsetenv("FAKE_CUDA_VERSION");
}

static void cuda_moves_blocks(void **state)
{
    (void)state;
    static const char *const versions[] = {"12000", "12080", "13000"};
    static const enum peer_way ways[] = {PEER_BLOCKS_LOOP, PEER_BLOCKS_BATCH, PEER_BLOCKS_KERNEL};
    for (size_t v = 0; v < sizeof versions / sizeof *versions; v++)
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++)
            try_blocks(ways[w], versions[v]);
}

static void cuda_is_the_same_device_or_none(void **state)
{
    (void)state;
    void *device = NULL;
    struct peer_wish other = fake_wish;
    other.uuid[15]++;
    assert_non_null(peer_cuda.open(&other, &device));
    assert_non_null(peer_cuda.open(&(struct peer_wish){.cpu = true}, &device));
    assert_null(device);
}

static void cuda_says_what_failed(void **state)
{
    (void)state;
    static const char *const opening[] = {"cuInit", "cuStreamCreate"};
    void *device = NULL, *made = NULL;
    for (size_t i = 0; i < sizeof opening / sizeof *opening; i++) {
        setenv("FAKE_CUDA_FAIL", opening[i], 1);
        assert_string_equal(peer_cuda.open(&fake_wish, &device), "an error of the fake driver");
        assert_null(device);
    }
    unsetenv("FAKE_CUDA_FAIL");
    good(peer_cuda.open(&fake_wish, &device));
    setenv("FAKE_CUDA_FAIL", "cuMemAlloc_v2", 1);
    assert_string_equal(peer_cuda.make(device, SIZE, &made), "out of memory");
    setenv("FAKE_CUDA_FAIL", "cuMemAllocHost_v2", 1);
    assert_string_equal(peer_cuda.host_alloc(device, SIZE, &made), "out of memory");
    setenv("FAKE_CUDA_FAIL", "cuStreamSynchronize", 1);
    assert_non_null(peer_cuda.finish(device));
    peer_cuda.close(device);
}

static void a_library_lacks(void **state)
{
    (void)state;
    static const struct peer_symbol symbols[] = {{"cuInit", 0}, {"cuNothing", 0}};
    void *address = NULL;
    assert_non_null(strstr(peer_library("libnothing.so.7", symbols, 1, &address), "libnothing"));
    assert_null(address);
    good(peer_library("libcuda.so.1", symbols, 1, &address));
    assert_non_null(address);
    assert_string_equal(peer_library("libcuda.so.1", symbols, 2, &address),
                        "libcuda.so.1 has no cuNothing");
}

static void others_move_bytes(void **state)
{
    (void)state;
    static const struct peer *const others[] = {&peer_libplacebo, &peer_libplacebo_staged,
                                                &peer_opencl};
    const struct peer_wish wish = cpu_wish();
    size_t tried = 0;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        void *device = NULL;
        const char *why = others[i]->open(&wish, &device);
        print_message("%s: %s\n", others[i]->name, why != NULL ? why : "tried");
        if (why != NULL)
            continue;
        others[i]->close(device);
        try_peer(others[i], &wish);
        tried++;
    }
    if (tried == 0)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(cuda_moves_bytes, set_up),
        cmocka_unit_test_setup(cuda_moves_blocks, set_up),
        cmocka_unit_test_setup(cuda_is_the_same_device_or_none, set_up),
        cmocka_unit_test_setup(cuda_says_what_failed, set_up),
        cmocka_unit_test_setup(a_library_lacks, set_up),
        cmocka_unit_test(others_move_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
