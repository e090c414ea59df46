/* Host memory in pages of the system: touched by several threads, near the GPU, known to the device
 * whole or not at all, and given back. */
#define _GNU_SOURCE
#include "memory/host_pages.h"

#include <ferry/ferry.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* The address sanitizer holds back what was freed. */
#if defined(__SANITIZE_ADDRESS__)
enum { KEEPS_FREED = true };
#else
enum { KEEPS_FREED = false };
#endif

enum { MIB = 1 << 20, SIZE = 70 * MIB };

static void pages_are_zero(void **state)
{
    struct ferry__pages_made made = {false, false};
    (void)state;
    for (uint64_t size = 4096; size <= SIZE; size = size * 5 + 4096) {
        unsigned char *pages = ferry__pages_make(size, -1, &made);
        assert_non_null(pages);
        assert_int_equal((uintptr_t)pages % (size < 2 * MIB ? 4096 : 2 * MIB), 0);
        assert_false(made.near);
        for (uint64_t at = 0; at < size; at += 1021)
            assert_int_equal(pages[at], 0);
        memset(pages, 1, size);
    }
}

/* A folder that stands in for sysfs. */
static char root[256];

static void tell_node(const char *pci, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "mkdir -p %s/bus/pci/devices/%s", root, pci);
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof path, "%s/bus/pci/devices/%s/numa_node", root, pci);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void nodes(void **state)
{
    char command[300];
    (void)state;
    snprintf(root, sizeof root, "/tmp/ferry-sysfs-%d", (int)getpid());
    tell_node("0000:3b:00.0", "1\n");
    tell_node("0000:5e:00.0", "-1\n");
    tell_node("0000:af:00.0", "what\n");
    assert_int_equal(ferry__numa_node(root, "0000:3b:00.0"), 1);
    assert_int_equal(ferry__numa_node(root, "0000:5e:00.0"), -1);
    assert_int_equal(ferry__numa_node(root, "0000:af:00.0"), -1);
    assert_int_equal(ferry__numa_node(root, "0000:00:00.0"), -1);
    assert_int_equal(ferry__numa_node(root, ""), -1);
    assert_int_equal(ferry__numa_node(root, "../pci/devices/0000:3b:00.0"), -1);
    snprintf(command, sizeof command, "rm -r %s", root);
    assert_int_equal(system(command), 0);
}

/* --- ferry_host_alloc -------------------------------------------------------------------------- */

static ferry_device *open_device(const char *knobs)
{
    ferry_device *device = NULL;
    setenv("FERRY_HOST", knobs, 1);
    assert_int_equal(
        ferry_device_open(
            &(struct ferry_device_params){.name = "host", .map_private = FERRY_MAP_NEVER}, &device),
        FERRY_OK);
    unsetenv("FERRY_HOST");
    return device;
}

static struct ferry_stats stats_of(ferry_device *device)
{
    struct ferry_stats stats;
    ferry_device_get_stats(device, &stats, sizeof stats);
    return stats;
}

/* Bytes of memory that the process has. */
static uint64_t resident(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file || fscanf(file, "%*u %lu", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return pages * 4096ull;
}

static void move_there_and_back(ferry_device *device, unsigned char *memory)
{
    ferry_buffer *buffer = NULL;
    unsigned char *got = calloc(1, SIZE);
    assert_int_equal(
        ferry_buffer_create(device, &(struct ferry_buffer_params){.size = 4 * MIB}, &buffer),
        FERRY_OK);
    for (size_t at = 0; at < SIZE; at++)
        memory[at] = (unsigned char)(at * 7 + at / 4096);
    for (size_t at = 0; at + 4 * MIB <= SIZE;
         at += 4 * MIB - 4096) { /* also over pieces' borders */
        assert_int_equal(ferry_copy_from_host(buffer, memory + at, 4 * MIB, 0), FERRY_OK);
        assert_int_equal(ferry_copy_to_host(buffer, got + at, 4 * MIB, 0), FERRY_OK);
        assert_memory_equal(got + at, memory + at, 4 * MIB);
    }
    free(got);
    ferry_buffer_destroy(buffer);
}

static void alloc_and_free(const char *knobs, bool known)
{
    ferry_device *device = open_device(knobs);
    void *memory = NULL;
    uint64_t before = 0;
    for (int round = 0; round < 4; round++) {
        assert_int_equal(ferry_host_alloc(device, SIZE, &memory), FERRY_OK);
        for (size_t at = 0; at < SIZE; at += 4093)
            assert_int_equal(((unsigned char *)memory)[at], 0);
        move_there_and_back(device, memory);
        ferry_host_free(device, memory);
        if (round == 0)
            before = resident();
    }
    assert_true(KEEPS_FREED || resident() < before + SIZE);
    assert_int_equal(stats_of(device).host_pages_bytes, known ? 4ull * SIZE : 0);
    assert_int_equal(stats_of(device).host_pages_near_bytes, 0);
    if (!known)
        assert_true(stats_of(device).fallback_host_alloc + stats_of(device).device_allocations > 0);
    assert_int_equal(ferry_host_alloc(device, SIZE, &memory), FERRY_OK);
    ferry_device_close(device); /* and the memory with it */
}

static void alloc_whole(void **state)
{
    (void)state;
    alloc_and_free("", true);
}

/* Nothing so large can be known to the device in one piece. */
static void alloc_in_pieces(void **state)
{
    (void)state;
    alloc_and_free("max_allocation=8M", true);
}

static void alloc_without_imports(void **state)
{
    (void)state;
    alloc_and_free("no_import", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_zero),        cmocka_unit_test(nodes),
        cmocka_unit_test(alloc_whole),           cmocka_unit_test(alloc_in_pieces),
        cmocka_unit_test(alloc_without_imports),
    };
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
