/* Loading while its files change, from files without direct I/O, and in a process with little room. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <ferry/model.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MIB = 1 << 20, SIZE = 8 * MIB + 4097, IN_FLIGHT = 2 * MIB, KEPT = 4 * MIB + 100 };

/* Files are made here, and beside it on tmpfs where there is one. */
static const char *const homes[] = {"/tmp", "/dev/shm"};
static const enum ferry_map maps[] = {FERRY_MAP_AUTO, FERRY_MAP_NEVER};

static char directory[64], path[96];

static unsigned char byte_of(uint64_t i, unsigned seed)
{
    return (unsigned char)(i * 7 + i / 251 + seed * 89 + 1);
}

static void write_file(const char *name, unsigned seed)
{
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    for (uint64_t i = 0; i < SIZE; i++)
        putc_unlocked(byte_of(i, seed), file);
    assert_int_equal(fclose(file), 0);
}

/* A file of plain bytes, open as a model, and a buffer for it. */
struct world {
    ferry_device *device;
    ferry_buffer *buffer;
    ferry_model *model;
    void (*change)(struct world *world); /* once a part has been loaded */
    unsigned changes;
};

static bool make_world(struct world *out, const char *home, enum ferry_map map)
{
    *out = (struct world){.changes = 0};
    snprintf(directory, sizeof directory, "%s/ferry-loading-XXXXXX", home);
    if (!mkdtemp(directory))
        return false;
    snprintf(path, sizeof path, "%s/plain", directory);
    write_file(path, 0);
    const struct ferry_device_params params = {.name = "host", .map_private = map};
    assert_int_equal(ferry_device_open(&params, &out->device), FERRY_OK);
    assert_int_equal(
        ferry_buffer_create(out->device, &(struct ferry_buffer_params){.size = SIZE}, &out->buffer),
        FERRY_OK);
    assert_int_equal(ferry_zero_buffer(out->buffer), FERRY_OK);
    assert_int_equal(ferry_model_open(path, &out->model), FERRY_OK);
    return true;
}

static void drop_world(struct world *world)
{
    ferry_model_close(world->model);
    ferry_buffer_destroy(world->buffer);
    ferry_device_close(world->device);
    unlink(path);
    assert_int_equal(rmdir(directory), 0);
}

static void when_begun(uint64_t done, uint64_t total, void *user)
{
    struct world *world = user;
    assert_true(done > 0 && done <= total);
    if (world->changes++ == 0 && world->change)
        world->change(world);
}

static enum ferry_status load(struct world *world)
{
    return ferry_model_load_as(
        world->model,
        &(struct ferry_model_load_params){
            .arena = world->buffer, .memory = IN_FLIGHT, .progress = when_begun, .user = world});
}

static void expect_bytes(const struct world *world, uint64_t size)
{
    unsigned char *got = malloc(SIZE);
    assert_non_null(got);
    assert_int_equal(ferry_copy_to_host(world->buffer, got, (size_t)size, 0), FERRY_OK);
    for (uint64_t i = 0; i < size; i++)
        if (got[i] != byte_of(i, 0))
            fail_msg("byte %llu is 0x%02x, not 0x%02x", (unsigned long long)i, got[i],
                     byte_of(i, 0));
    free(got);
}

/* What is loaded is what was opened, in every place and on both kinds of memory. */
static void loads_with(void (*change)(struct world *world))
{
    unsigned tried = 0;
    for (size_t i = 0; i < 4; i++) {
        struct world world;
        if (!make_world(&world, homes[i / 2], maps[i % 2]))
            continue; /* no tmpfs here */
        world.change = change;
        assert_int_equal(load(&world), FERRY_OK);
        assert_true(world.changes > 4);
        expect_bytes(&world, SIZE);
        drop_world(&world);
        tried++;
    }
    assert_true(tried >= 2);
}

static void test_plain(void **state)
{
    (void)state;
    loads_with(NULL);
}

/* --- files that change ------------------------------------------------------------------------- */

static void replace(struct world *world)
{
    char other[128];
    (void)world;
    snprintf(other, sizeof other, "%s.new", path);
    write_file(other, 1);
    assert_int_equal(rename(other, path), 0);
}

static void test_replaced(void **state)
{
    (void)state;
    loads_with(replace);
}

static void take_away(struct world *world)
{
    (void)world;
    assert_int_equal(unlink(path), 0);
}

static void test_unlinked(void **state)
{
    (void)state;
    loads_with(take_away);
}

static void grow(struct world *world)
{
    (void)world;
    assert_int_equal(truncate(path, SIZE + MIB), 0);
}

static void test_grows(void **state)
{
    (void)state;
    loads_with(grow);
}

static void cut(struct world *world)
{
    (void)world;
    assert_int_equal(truncate(path, KEPT), 0);
}

/* Some of it has been loaded by then, some is on its way, some is not: the file and the place are
 * told, what was there arrives, and the device is as good as before. */
static void test_cut_while_loading(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct world world;
        if (!make_world(&world, homes[i / 2], maps[i % 2]))
            continue;
        world.change = cut;
        assert_int_equal(load(&world), FERRY_ERROR_IO);
        assert_non_null(strstr(ferry_last_error(), path));
        assert_non_null(strstr(ferry_last_error(), "ends at byte 4194404"));
        expect_bytes(&world, KEPT / MIB * MIB);
        unsigned char byte = 0; /* of what there was no file for: as it was, or failed */
        const enum ferry_status status = ferry_copy_to_host(world.buffer, &byte, 1, SIZE - 1);
        assert_true(status == FERRY_ERROR_IO || (!status && !byte));
        world.change = NULL;
        write_file(path, 0); /* the same file, whole again */
        assert_int_equal(load(&world), FERRY_OK);
        expect_bytes(&world, SIZE);
        drop_world(&world);
    }
}

/* --- little room ------------------------------------------------------------------------------- */

enum { MODEL_MIB = 256, ROOM_MIB = 64 };

static bool is_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#else
    return false;
#endif
}

/* Bytes of address space that the process has. 0: it cannot be told. */
static rlim_t address_space(void)
{
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (!statm)
        return 0;
    if (fscanf(statm, "%lu", &pages) != 1)
        pages = 0;
    fclose(statm);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static int load_in_little_room(enum ferry_map map)
{
    struct world world = {.changes = 0};
    unsigned char got[4096];
    struct ferry_stats stats;
    const struct ferry_device_params params = {
        .name = "host", .map_private = map, .staging_budget = ROOM_MIB / 8 * 3 * MIB};
    if (ferry_device_open(&params, &world.device) || ferry_model_open(path, &world.model) ||
        ferry_buffer_create(world.device,
                            &(struct ferry_buffer_params){.size = (size_t)MODEL_MIB * MIB},
                            &world.buffer))
        return 10;
    const rlim_t room = address_space() + (rlim_t)ROOM_MIB * MIB;
    if (setrlimit(RLIMIT_AS, &(struct rlimit){room, room}))
        return 11;
    if (ferry_model_load_as(world.model,
                            &(struct ferry_model_load_params){.arena = world.buffer,
                                                              .memory = ROOM_MIB / 8 * 3 * MIB})) {
        fprintf(stderr, "%s\n", ferry_last_error());
        return 12;
    }
    for (uint64_t at = 0; at < (uint64_t)MODEL_MIB * MIB; at += MIB) {
        if (ferry_copy_to_host(world.buffer, got, sizeof got, (size_t)at))
            return 13;
        for (size_t i = 0; i < sizeof got; i++)
            if (got[i] != byte_of(i, (unsigned)(at / MIB)))
                return 14;
    }
    ferry_device_get_stats(world.device, &stats, sizeof stats);
    const uint64_t peak = stats.staging_upload_peak_bytes + stats.staging_readback_peak_bytes;
    return peak <= (uint64_t)ROOM_MIB * MIB ? 0 : 15;
}

/* A page of bytes each MiB; the rest are holes. */
static void write_large(void)
{
    unsigned char page[4096];
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)MODEL_MIB * MIB), 0);
    for (unsigned at = 0; at < MODEL_MIB; at++) {
        for (size_t i = 0; i < sizeof page; i++)
            page[i] = byte_of(i, at);
        assert_int_equal(pwrite(fd, page, sizeof page, (off_t)at * MIB), sizeof page);
    }
    close(fd);
}

/* Four times as large as the process may still grow, of which three eighths are staging. */
static void test_little_room(void **state)
{
    (void)state;
    if (is_sanitized() || !address_space())
        skip(); /* a sanitizer's own memory knows no limit */
    snprintf(directory, sizeof directory, "/tmp/ferry-loading-XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/large", directory);
    write_large();
    for (size_t i = 0; i < 2; i++) {
        const pid_t child = fork();
        int status = 0;
        assert_true(child >= 0);
        if (child == 0)
            _exit(load_in_little_room(maps[i]));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    unlink(path);
    assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_unlinked),
        cmocka_unit_test(test_grows),
        cmocka_unit_test(test_cut_while_loading),
        cmocka_unit_test(test_little_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
