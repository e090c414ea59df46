/* Models while memory is short: each allocation fails in turn, and headers that want much of it. */
#include "starve/starve.h"

#include <ferry/model.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/ferry-memory-XXXXXX", path[128];

/* --- files -------------------------------------------------------------------------------------- */

static const char *path_of(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put_number(FILE *file, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        fputc((int)(value >> (8 * i) & 0xff), file);
}

/* A header that is begin, middle count times, end; then data bytes. */
static void write_safetensors(const char *name, const char *begin, const char *middle, size_t count,
                              const char *end, size_t data)
{
    FILE *file = fopen(path_of(name), "wb");
    assert_non_null(file);
    put_number(file, strlen(begin) + count * strlen(middle) + strlen(end), 8);
    fputs(begin, file);
    while (count--)
        fputs(middle, file);
    fputs(end, file);
    while (data--)
        fputc('x', file);
    assert_int_equal(fclose(file), 0);
}

static void write_small(const char *name, const char *tensor)
{
    char header[256];
    snprintf(header, sizeof header,
             "{\"__metadata__\":{\"format\":\"pt\",\"by\":\"\\u00fc\"},"
             "\"%s\":{\"dtype\":\"U8\",\"shape\":[2,2],\"data_offsets\":[0,4]}}",
             tensor);
    write_safetensors(name, header, "", 0, "", 4);
}

static void write_text(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "wb");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void write_gguf(const char *name)
{
    FILE *file = fopen(path_of(name), "wb");
    assert_non_null(file);
    fputs("GGUF", file);
    put_number(file, 3, 4);
    put_number(file, 1, 8);
    put_number(file, 0, 8);
    put_number(file, 1, 8);
    fputc('t', file);
    put_number(file, 1, 4);
    put_number(file, 64, 8);
    put_number(file, 24, 4);
    put_number(file, 0, 8);
    for (size_t i = 0; i < 96; i++)
        fputc('x', file);
    assert_int_equal(fclose(file), 0);
}

/* --- each allocation fails in turn --------------------------------------------------------------- */

static void count_pair(const struct ferry_model_metadata *pair, void *user)
{
    (void)pair;
    (*(unsigned *)user)++;
}

/* Its metadata is told, or there was no memory for that, and words for it. */
static void read_starved(const ferry_model *model)
{
    unsigned wanted = 0;
    assert_int_equal(ferry_model_read_metadata(model, count_pair, &wanted), FERRY_OK);
    for (uint64_t n = 1;; n++) {
        unsigned count = 0;
        starve_at(n, false);
        const enum ferry_status status = ferry_model_read_metadata(model, count_pair, &count);
        if (!starve_end()) {
            assert_int_equal(count, wanted);
            return;
        }
        if (status)
            assert_string_equal(ferry_status_name(status), "FERRY_ERROR_OUT_OF_HOST_MEMORY");
        else
            assert_int_equal(count, wanted);
    }
}

/* Opens a path until no allocation is left to fail; says how many there were. */
static uint64_t open_starved(const char *name, bool all)
{
    for (uint64_t n = 1;; n++) {
        ferry_model *model = NULL;
        starve_at(n, all);
        const enum ferry_status status = ferry_model_open(path_of(name), &model);
        const bool failed = starve_end();
        if (!failed) {
            assert_int_equal(status, FERRY_OK);
            read_starved(model);
            ferry_model_close(model);
            return n - 1;
        }
        if (status == FERRY_OK) { /* whoever met it did without */
            ferry_model_close(model);
            continue;
        }
        assert_string_equal(ferry_status_name(status), "FERRY_ERROR_OUT_OF_HOST_MEMORY");
        assert_string_not_equal(ferry_last_error(), "");
        assert_true(n < 10000);
    }
}

static void test_each_allocation_fails(void **state)
{
    (void)state;
    static const char *const names[] = {"one.safetensors", "shards/model.safetensors.index.json",
                                        "shards", "one.gguf", "one.gguf-00001-of-00001.gguf"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_true(open_starved(names[i], false) >= 4);
        assert_true(open_starved(names[i], true) >= 4);
    }
}

/* --- headers that want much ---------------------------------------------------------------------- */

enum { ROOM = 192 << 20, SECONDS = 120 };

/* Opens a path in a process that may have ROOM bytes more than at its start, and must not go on for
 * ever. Exits with the status. */
static enum ferry_status open_in_little_room(const char *name)
{
    int status = 0;
    const pid_t child = fork();
    if (child == 0) {
        ferry_model *model = NULL;
        const struct rlimit time = {SECONDS, SECONDS};
        unsigned long pages = 0;
        FILE *statm = fopen("/proc/self/statm", "r");
        if (!statm || fscanf(statm, "%lu", &pages) != 1)
            _exit(200);
        fclose(statm);
        const rlim_t room = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + ROOM;
        const struct rlimit memory = {room, room};
        if (setrlimit(RLIMIT_CPU, &time) || setrlimit(RLIMIT_AS, &memory))
            _exit(201);
        const enum ferry_status result = ferry_model_open(path_of(name), &model);
        fprintf(stderr, "%s: %s\n", name, result ? ferry_last_error() : "opened");
        _exit((int)result);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return (enum ferry_status)WEXITSTATUS(status);
}

static const char one_tensor[] = "\"t\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]";

/* 99 MB of empty arrays, where nobody looks at them: over the limit of values. */
static void test_many_values(void **state)
{
    (void)state;
    char begin[128];
    if (!starve_is_whole)
        skip(); /* a sanitizer's own memory knows no limit */
    snprintf(begin, sizeof begin, "{%s,\"x\":[", one_tensor);
    write_safetensors("many.safetensors", begin, "[],", 33000000, "[]]}}", 1);
    assert_int_equal(open_in_little_room("many.safetensors"), FERRY_ERROR_INVALID_ARGUMENT);
    write_safetensors("fewer.safetensors", begin, "[],", 16000000, "[]]}}", 1);
    assert_int_equal(open_in_little_room("fewer.safetensors"), FERRY_OK);
    unlink(path_of("many.safetensors"));
    unlink(path_of("fewer.safetensors"));
}

/* A string of 16 MiB is as long as one may be. */
static void test_a_long_string(void **state)
{
    (void)state;
    if (!starve_is_whole)
        skip();
    char end[128];
    snprintf(end, sizeof end, "\"},%s}}", one_tensor);
    write_safetensors("long.safetensors", "{\"__metadata__\":{\"k\":\"", "12345678", 2 << 20, end,
                      1);
    assert_int_equal(open_in_little_room("long.safetensors"), FERRY_OK);
    write_safetensors("long.safetensors", "{\"__metadata__\":{\"k\":\"9", "12345678", 2 << 20, end,
                      1);
    assert_int_equal(open_in_little_room("long.safetensors"), FERRY_ERROR_INVALID_ARGUMENT);
    write_safetensors("long.safetensors", "{\"__metadata__\":{\"k\":\"", "\\u00fc\\t", 12000000,
                      end, 1);
    assert_int_equal(open_in_little_room("long.safetensors"), FERRY_ERROR_INVALID_ARGUMENT);
    unlink(path_of("long.safetensors"));
}

/* --- GGUF that is mostly a hole ------------------------------------------------------------------ */

/* A header's beginning, then bytes 0 up to 1 GiB, which take no room on the disk. */
static void write_hole(const char *name, uint64_t tensors, uint64_t pairs, const char *after,
                       size_t after_size)
{
    FILE *file = fopen(path_of(name), "wb");
    assert_non_null(file);
    fputs("GGUF", file);
    put_number(file, 3, 4);
    put_number(file, tensors, 8);
    put_number(file, pairs, 8);
    assert_int_equal(fwrite(after, 1, after_size, file), after_size);
    assert_int_equal(fflush(file), 0);
    assert_int_equal(ftruncate(fileno(file), 1 << 30), 0);
    assert_int_equal(fclose(file), 0);
}

static void refuses_hole(enum ferry_status status, const char *words)
{
    ferry_model *model = NULL;
    assert_string_equal(ferry_status_name(ferry_model_open(path_of("hole.gguf"), &model)),
                        ferry_status_name(status));
    if (!strstr(ferry_last_error(), words))
        fail_msg("%s: not \"%s\"", ferry_last_error(), words);
    unlink(path_of("hole.gguf"));
}

/* Counts that the file has room for are refused before what they count is walked over. */
static void test_holes(void **state)
{
    (void)state;
    enum { STRING = 8, ARRAY = 9, U8 = 0 };
    /* A key of no length, an array: its type, and how many. */
    const char strings[24] = {[8] = ARRAY, [12] = STRING, [16 + 3] = 2}; /* 2^25 */
    const char arrays[24] = {[8] = ARRAY, [12] = ARRAY, [16 + 3] = 2};
    const char bytes[24] = {[8] = ARRAY, [12] = U8, [16 + 3] = 0x11}; /* 272 MiB */
    const char some[24] = {[8] = ARRAY, [12] = STRING, [16 + 2] = 1}; /* 65536 */
    write_hole("hole.gguf", 0, 80000000, "", 0);
    refuses_hole(FERRY_ERROR_INVALID_ARGUMENT, "it has 80000000 keys, over 65536");
    write_hole("hole.gguf", 0, 1, strings, sizeof strings);
    refuses_hole(FERRY_ERROR_INVALID_ARGUMENT, "with an array of 33554432 there are over 16777216");
    write_hole("hole.gguf", 0, 1, arrays, sizeof arrays);
    refuses_hole(FERRY_ERROR_INVALID_ARGUMENT, "with an array of 33554432 there are over 16777216");
    write_hole("hole.gguf", 0, 2, bytes, sizeof bytes);
    refuses_hole(FERRY_ERROR_INVALID_ARGUMENT, "its header has over 268435456 bytes");
    write_hole("hole.gguf", 40000000, 0, "", 0);
    refuses_hole(FERRY_ERROR_UNSUPPORTED, "40000000 tensors are more than 2097152");
    write_hole("hole.gguf", 100, 60001, some, sizeof some); /* within all limits, and of no use */
    refuses_hole(FERRY_ERROR_INVALID_ARGUMENT, "before the end of the one before it");
}

/* --- the whole ----------------------------------------------------------------------------------- */

static int make_files(void **state)
{
    (void)state;
    if (!mkdtemp(folder) || mkdir(path_of("shards"), 0700))
        return 1;
    write_small("one.safetensors", "t");
    write_small("shards/a.safetensors", "a");
    write_small("shards/b.safetensors", "b");
    write_text("shards/model.safetensors.index.json",
               "{\"metadata\":{\"total_size\":8},\"weight_map\":"
               "{\"a\":\"a.safetensors\",\"b\":\"b.safetensors\"}}");
    write_gguf("one.gguf");
    write_gguf("one.gguf-00001-of-00001.gguf");
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    static const char *const names[] = {"one.safetensors",
                                        "shards/a.safetensors",
                                        "shards/b.safetensors",
                                        "shards/model.safetensors.index.json",
                                        "one.gguf",
                                        "one.gguf-00001-of-00001.gguf"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(path_of(names[i]));
    rmdir(path_of("shards"));
    return rmdir(folder);
}

/* --- what stays --------------------------------------------------------------------------------- */

/* 0: the allocator does not tell, as other C libraries' and the sanitizers' do not. */
#if defined __GLIBC__ && __GLIBC__ == 2 && __GLIBC_MINOR__ >= 33
#include <malloc.h>

static size_t bytes_in_use(void)
{
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}
#else
static size_t bytes_in_use(void)
{
    return 0;
}
#endif

/* One more than a power of two: an array that has doubled has most to spare then. docs/models.md
 * tells the number. */
static void test_open_model_is_small(void **state)
{
    enum { TENSORS = 65537, MOST = 200 };
    FILE *file = fopen(path_of("many.safetensors"), "wb");
    (void)state;
    assert_non_null(file);
    put_number(file, 0, 8);
    for (int i = 0; i < TENSORS; i++)
        fprintf(file,
                "%s\"model.layers.%05d.self_attn.k_proj.w\":{\"dtype\":\"U8\",\"shape\":[0],"
                "\"data_offsets\":[0,0]}",
                i ? "," : "{", i);
    fputc('}', file);
    const long end = ftell(file);
    rewind(file);
    put_number(file, (uint64_t)end - 8, 8);
    assert_int_equal(fclose(file), 0);
    const size_t before = bytes_in_use();
    ferry_model *model = NULL;
    assert_int_equal(ferry_model_open(path_of("many.safetensors"), &model), FERRY_OK);
    const size_t taken = bytes_in_use() - before;
    print_message("an open model takes %.1f bytes a tensor\n", (double)taken / TENSORS);
    ferry_model_close(model);
    unlink(path_of("many.safetensors"));
    if (!before)
        skip();
    assert_true(taken < (size_t)MOST * TENSORS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_allocation_fails), cmocka_unit_test(test_many_values),
        cmocka_unit_test(test_a_long_string),         cmocka_unit_test(test_holes),
        cmocka_unit_test(test_open_model_is_small),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
