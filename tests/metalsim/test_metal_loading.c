/* A file into private memory that shared storage backs: straight into it, with no copy between, no
 * command buffer, and no more memory than the bytes take. */
#include "metalsim.h"

#include <ferry/ferry.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Of each eight bytes; the address sanitizer keeps one more. */
#if defined(__SANITIZE_ADDRESS__)
#define EIGHTHS 9
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EIGHTHS 9
#endif
#endif
#ifndef EIGHTHS
#define EIGHTHS 8
#endif

enum { MIB = 1 << 20, SIZE = 192 * MIB, MOST = (SIZE + 64 * MIB) / 8 * EIGHTHS };

/* A line of /proc/self/status, in bytes. */
static uint64_t status_of(const char *name)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    uint64_t value = 0;
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, name, strlen(name)))
            value = strtoull(line + strlen(name), NULL, 10) * 1024;
    fclose(file);
    return value;
}

/* The highest resident size counts from now on. */
static bool forget_peak(void)
{
    int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    bool forgotten = file >= 0 && write(file, "5", 1) == 1;
    if (file >= 0)
        close(file);
    return forgotten;
}

static int make_file(void)
{
    FILE *file = tmpfile();
    static unsigned char part[MIB];
    assert_non_null(file);
    for (int i = 0; i < SIZE / MIB; i++) {
        memset(part, i + 1, sizeof part);
        assert_int_equal(fwrite(part, 1, sizeof part, file), sizeof part);
    }
    assert_int_equal(fflush(file), 0);
    int descriptor = dup(fileno(file));
    fclose(file);
    return descriptor;
}

static void load(enum ferry_map map, uint64_t *out_peak, struct metalsim_counts *out)
{
    ferry_device *device = NULL;
    ferry_buffer *buffer = NULL;
    assert_int_equal(metalsim_reset(&(struct metalsim_config){0}), 0);
    const struct ferry_device_params params = {.name = "metal", .map_private = map};
    assert_int_equal(ferry_device_open(&params, &device), FERRY_OK);
    assert_int_equal(
        ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE}, &buffer),
        FERRY_OK);
    int file = make_file();
    struct metalsim_counts before;
    metalsim_get_counts(&before);
    const bool peaks = forget_peak();
    const uint64_t resident = status_of("VmRSS:");
    assert_int_equal(ferry_copy_from_file(buffer, file, 0, SIZE, 0), FERRY_OK);
    *out_peak = peaks ? status_of("VmHWM:") - resident : 0;
    metalsim_get_counts(out);
    out->commits -= before.commits;
    unsigned char last[3];
    assert_int_equal(ferry_copy_to_host(buffer, last, sizeof last, SIZE - sizeof last), FERRY_OK);
    assert_int_equal(last[2], SIZE / MIB);
    close(file);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    assert_int_equal(metalsim_reset(&(struct metalsim_config){0}), 0);
}

static void test_mapped(void **state)
{
    (void)state;
    uint64_t peak;
    struct metalsim_counts counts;
    load(FERRY_MAP_ALWAYS, &peak, &counts);
    assert_int_equal(counts.commits, 0);
    if (peak > (uint64_t)MOST)
        fail_msg("%llu MiB at most while %d were read", (unsigned long long)peak / MIB, SIZE / MIB);
}

/* Private memory of its own: staging stands between, and is bounded. */
static void test_private(void **state)
{
    (void)state;
    uint64_t peak;
    struct metalsim_counts counts;
    load(FERRY_MAP_NEVER, &peak, &counts);
    assert_true(counts.commits > 0);
    if (peak > (uint64_t)MOST)
        fail_msg("%llu MiB at most while %d were read", (unsigned long long)peak / MIB, SIZE / MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mapped),
                                       cmocka_unit_test(test_private)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
