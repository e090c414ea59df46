/* ferry/model.h on GGUF files that this writes; what the command cannot show. */
#include "models/models.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

enum { TENSORS = 5, ALIGNMENT = 32 };

/* The third is longer than two windows of the loader, and the gap before the fifth is left out. */
static const uint64_t sizes[TENSORS] = {33, 4097, (17 << 20) + 5, 1, 65537};
static const uint64_t gaps[TENSORS] = {0, 31, 0, 0, 1 << 20};

static char directory[64] = "/tmp/ferry-models-XXXXXX", path[96];
static uint64_t offsets[TENSORS]; /* in the data */
static ferry_device *device, *other;

static unsigned char byte_of(size_t tensor, uint64_t i)
{
    return (unsigned char)(i * 7 + i / 251 + tensor * 89 + 1);
}

static void put(FILE *file, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        fputc((int)(value >> (8 * i) & 0xff), file);
}

static void write_header(FILE *file)
{
    uint64_t at = 0;
    fputs("GGUF", file);
    put(file, 3, 4);
    put(file, TENSORS, 8);
    put(file, 0, 8);
    for (size_t i = 0; i < TENSORS; i++) {
        at = (at + gaps[i] + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        offsets[i] = at;
        put(file, 2, 8);
        fprintf(file, "t%zu", i);
        put(file, 1, 4);
        put(file, sizes[i], 8);
        put(file, 24, 4);
        put(file, at, 8);
        at += sizes[i];
    }
}

static void write_file(void)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    write_header(file);
    const long begin = (ftell(file) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    for (size_t i = 0; i < TENSORS; i++) {
        assert_int_equal(fseek(file, begin + (long)offsets[i], SEEK_SET), 0);
        for (uint64_t k = 0; k < sizes[i]; k++)
            putc_unlocked(byte_of(i, k), file);
    }
    assert_int_equal(fclose(file), 0);
}

static ferry_model *open_model(void)
{
    ferry_model *model = NULL;
    assert_int_equal(ferry_model_open(path, &model), FERRY_OK);
    return model;
}

static ferry_buffer *filled(ferry_device *owner, size_t size)
{
    static const unsigned char guard = 0xa5;
    ferry_buffer *buffer = NULL;
    assert_int_equal(
        ferry_buffer_create(owner, &(struct ferry_buffer_params){.size = size}, &buffer), FERRY_OK);
    assert_int_equal(ferry_fill_buffer(buffer, size, 0, &guard, 1), FERRY_OK);
    return buffer;
}

/* The whole buffer holds guard bytes and, where places say so, tensors. */
static void expect(ferry_buffer *buffer, const struct ferry_tensor_place *places)
{
    const size_t size = ferry_buffer_size(buffer);
    unsigned char *expected = malloc(size), *got = malloc(size);
    assert_true(expected != NULL && got != NULL);
    memset(expected, 0xa5, size);
    for (size_t i = 0; places != NULL && i < TENSORS; i++) {
        if (places[i].buffer != buffer)
            continue;
        for (uint64_t k = 0; k < sizes[i]; k++)
            expected[places[i].offset + k] = byte_of(i, k);
    }
    assert_int_equal(ferry_copy_to_host(buffer, got, size, 0), FERRY_OK);
    assert_memory_equal(expected, got, size);
    free(expected);
    free(got);
}

static void assert_says(const char *words)
{
    if (strstr(ferry_last_error(), words) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", ferry_last_error(), words);
}

/* --- tests ------------------------------------------------------------------------------------- */

static void test_tells(void **state)
{
    (void)state;
    ferry_model *model = open_model();
    struct ferry_model_info info;
    struct ferry_tensor_info tensor;
    uint64_t bytes = 0, end = 0;
    ferry_model_get_info(model, &info);
    assert_int_equal(info.format, FERRY_MODEL_GGUF);
    assert_int_equal(info.version, 3);
    assert_int_equal(info.files, 1);
    assert_int_equal(info.tensors, TENSORS);
    for (size_t i = 0; i < TENSORS; i++) {
        char name[8];
        size_t index = 99;
        snprintf(name, sizeof name, "t%zu", i);
        assert_int_equal(ferry_model_get_tensor(model, i, &tensor), FERRY_OK);
        assert_string_equal(tensor.name, name);
        assert_string_equal(tensor.type, "I8");
        assert_int_equal(tensor.rank, 1);
        assert_int_equal(tensor.shape[0], sizes[i]);
        assert_int_equal(tensor.size, sizes[i]);
        assert_int_equal(tensor.arena_offset % FERRY_BUFFER_ALIGNMENT, 0);
        assert_true(tensor.arena_offset >= end);
        end = tensor.arena_offset + tensor.size;
        bytes += sizes[i];
        assert_int_equal(ferry_model_find_tensor(model, name, &index), FERRY_OK);
        assert_int_equal(index, i);
    }
    assert_int_equal(info.bytes, bytes);
    assert_int_equal(info.arena_size, end);
    assert_string_equal(ferry_model_file_name(model, 0), path);
    assert_null(ferry_model_file_name(model, 1));
    assert_string_equal(ferry_model_format_name(FERRY_MODEL_SAFETENSORS), "safetensors");
    assert_string_equal(ferry_model_format_name((enum ferry_model_format)3), "unknown");
    ferry_model_close(model);
    ferry_model_close(NULL);
}

static void test_arguments(void **state)
{
    (void)state;
    ferry_model *model = open_model(), *none = NULL;
    ferry_buffer *buffer = filled(device, 100), *far = filled(other, 100);
    struct ferry_tensor_info tensor;
    struct ferry_tensor_place places[TENSORS] = {{buffer, 0}, {NULL, 0}, {NULL, 0}, {far, 0}};
    unsigned char byte;
    size_t index;
    const enum ferry_status invalid = FERRY_ERROR_INVALID_ARGUMENT;
    assert_int_equal(ferry_model_open(NULL, &none), invalid);
    assert_int_equal(ferry_model_open(path, NULL), invalid);
    assert_int_equal(ferry_model_get_tensor(NULL, 0, &tensor), invalid);
    assert_int_equal(ferry_model_get_tensor(model, 0, NULL), invalid);
    assert_int_equal(ferry_model_get_tensor(model, TENSORS, &tensor), FERRY_ERROR_OUT_OF_RANGE);
    assert_int_equal(ferry_model_find_tensor(model, NULL, &index), invalid);
    assert_int_equal(ferry_model_find_tensor(model, "t", &index), invalid);
    assert_says("\"t\"");
    assert_int_equal(ferry_model_find_tensor(model, "t9", &index), invalid);
    assert_int_equal(ferry_model_read(model, 3, NULL, 1, 0), invalid);
    assert_int_equal(ferry_model_read(model, 3, NULL, 0, 1), FERRY_OK);
    assert_int_equal(ferry_model_read(model, 3, &byte, 1, 1), FERRY_ERROR_OUT_OF_RANGE);
    assert_int_equal(ferry_model_read(model, 3, &byte, 1, UINT64_MAX), FERRY_ERROR_OUT_OF_RANGE);
    assert_int_equal(ferry_model_load(NULL, buffer, 0, NULL, NULL), invalid);
    assert_int_equal(ferry_model_load(model, NULL, 0, NULL, NULL), invalid);
    assert_int_equal(ferry_model_load(model, buffer, 0, NULL, NULL), FERRY_ERROR_OUT_OF_RANGE);
    assert_int_equal(ferry_model_load(model, buffer, UINT64_MAX, NULL, NULL),
                     FERRY_ERROR_OUT_OF_RANGE);
    assert_int_equal(ferry_model_load_into(NULL, places, NULL, NULL), invalid);
    assert_int_equal(ferry_model_load_into(model, NULL, NULL, NULL), invalid);
    assert_int_equal(ferry_model_load_tensor(model, TENSORS, buffer, 0), FERRY_ERROR_OUT_OF_RANGE);
    assert_int_equal(ferry_model_load_tensor(model, 0, NULL, 0), invalid);
    assert_int_equal(ferry_model_load_into(model, places, NULL, NULL), invalid);
    assert_says("another device");
    expect(buffer, NULL);
    ferry_buffer_destroy(buffer);
    ferry_buffer_destroy(far);
    ferry_model_close(model);
}

static void test_read(void **state)
{
    (void)state;
    ferry_model *model = open_model();
    for (size_t i = 0; i < TENSORS; i++) {
        unsigned char bytes[67];
        for (uint64_t offset = 0; offset + 65 <= sizes[i] && offset < 70; offset += 7) {
            memset(bytes, 0xa5, sizeof bytes);
            assert_int_equal(ferry_model_read(model, i, bytes + 1, 65, offset), FERRY_OK);
            for (uint64_t k = 0; k < 65; k++)
                assert_int_equal(bytes[1 + k], byte_of(i, offset + k));
            assert_int_equal(bytes[0], 0xa5);
            assert_int_equal(bytes[66], 0xa5);
        }
    }
    ferry_model_close(model);
}

struct heard {
    uint64_t calls, last, total;
};

static void hear(uint64_t done, uint64_t total, void *user)
{
    struct heard *heard = user;
    assert_true(done > heard->last && done <= total);
    *heard = (struct heard){heard->calls + 1, done, total};
}

static void test_load_arena(void **state)
{
    (void)state;
    ferry_model *model = open_model();
    struct ferry_model_info info;
    struct heard heard = {0, 0, 0};
    struct ferry_tensor_place places[TENSORS];
    ferry_model_get_info(model, &info);
    ferry_buffer *buffer = filled(device, info.arena_size + 31 + 3);
    assert_int_equal(ferry_model_load(model, buffer, 35, NULL, NULL), FERRY_ERROR_OUT_OF_RANGE);
    assert_int_equal(ferry_model_load(model, buffer, 31, hear, &heard), FERRY_OK);
    for (size_t i = 0; i < TENSORS; i++) {
        struct ferry_tensor_info tensor;
        assert_int_equal(ferry_model_get_tensor(model, i, &tensor), FERRY_OK);
        places[i] = (struct ferry_tensor_place){buffer, 31 + tensor.arena_offset};
    }
    expect(buffer, places);
    assert_true(heard.calls > 2);
    assert_int_equal(heard.last, info.bytes);
    assert_int_equal(heard.total, info.bytes);
    ferry_buffer_destroy(buffer);
    ferry_model_close(model);
}

/* In another order than the file's, one left out, two in one buffer. */
static void test_load_into(void **state)
{
    (void)state;
    ferry_model *model = open_model();
    ferry_buffer *small = filled(device, 70000), *large = filled(device, sizes[2] + 7);
    struct ferry_tensor_place places[TENSORS] = {
        {small, 65600}, {NULL, 0}, {large, 7}, {small, 69999}, {small, 17}};
    struct heard heard = {0, 0, 0};
    assert_int_equal(ferry_model_load_into(model, places, hear, &heard), FERRY_OK);
    assert_int_equal(heard.last, sizes[0] + sizes[2] + sizes[3] + sizes[4]);
    expect(small, places);
    expect(large, places);
    ferry_buffer_destroy(small);
    small = filled(device, 70000);
    places[0].buffer = places[3].buffer = places[4].buffer = small;
    places[3].offset = 70000;
    assert_int_equal(ferry_model_load_into(model, places, NULL, NULL), FERRY_ERROR_OUT_OF_RANGE);
    assert_says("\"t3\"");
    expect(small, NULL);
    ferry_buffer_destroy(small);
    ferry_buffer_destroy(large);
    ferry_model_close(model);
}

static void test_load_tensor(void **state)
{
    (void)state;
    ferry_model *model = open_model();
    for (size_t i = 0; i < TENSORS; i++) {
        ferry_buffer *buffer = filled(device, sizes[i] + 4);
        struct ferry_tensor_place places[TENSORS] = {{NULL, 0}};
        places[i] = (struct ferry_tensor_place){buffer, 3};
        assert_int_equal(ferry_model_load_tensor(model, i, buffer, 5), FERRY_ERROR_OUT_OF_RANGE);
        assert_int_equal(ferry_model_load_tensor(model, i, buffer, 3), FERRY_OK);
        expect(buffer, places);
        ferry_buffer_destroy(buffer);
    }
    ferry_model_close(model);
}

/* A file that is cut while the model is open: an error, and nothing outside the places. */
static void test_file_is_cut(void **state)
{
    (void)state;
    ferry_model *model = open_model();
    struct ferry_model_info info;
    ferry_model_get_info(model, &info);
    ferry_buffer *buffer = filled(device, info.arena_size + 100);
    assert_int_equal(truncate(path, 10 << 20), 0);
    assert_int_equal(ferry_model_load(model, buffer, 0, NULL, NULL), FERRY_ERROR_IO);
    assert_says("ends at byte 10485760");
    unsigned char tail[100], expected[100];
    memset(expected, 0xa5, sizeof expected);
    assert_int_equal(ferry_copy_to_host(buffer, tail, 100, info.arena_size), FERRY_OK);
    assert_memory_equal(tail, expected, 100);
    struct ferry_tensor_place places[TENSORS] = {{buffer, 0}};
    assert_int_equal(ferry_model_load_into(model, places, NULL, NULL), FERRY_OK);
    ferry_buffer_destroy(buffer);
    ferry_model_close(model);
    write_file();
}

static void try_in_callback(enum ferry_status status, ferry_ticket ticket, void *user)
{
    (void)status, (void)ticket;
    void **things = user;
    assert_int_equal(ferry_model_load_tensor(things[0], 0, things[1], 0), FERRY_ERROR_IN_CALLBACK);
    things[2] = things;
}

static void test_in_callback(void **state)
{
    (void)state;
    ferry_model *model = open_model();
    ferry_buffer *buffer = filled(device, 100);
    void *things[3] = {model, buffer, NULL};
    assert_int_equal(ferry_zero_buffer_async(buffer, try_in_callback, things, NULL), FERRY_OK);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    assert_ptr_equal(things[2], things);
    ferry_buffer_destroy(buffer);
    ferry_model_close(model);
}

/* The device fails one submission after another: each time an error, in the device's words. */
static void test_device_fails(void **state)
{
    (void)state;
    ferry_model *model = open_model();
    struct ferry_model_info info;
    const struct ferry_device_params params = {.name = "host", .map_private = FERRY_MAP_NEVER};
    ferry_model_get_info(model, &info);
    for (int n = 1; n <= 3; n++) {
        char knobs[32];
        ferry_device *failing = NULL;
        ferry_buffer *buffer = NULL;
        snprintf(knobs, sizeof knobs, "fail_exec=%d", n);
        setenv("FERRY_HOST", knobs, 1);
        assert_int_equal(ferry_device_open(&params, &failing), FERRY_OK);
        unsetenv("FERRY_HOST");
        assert_int_equal(ferry_buffer_create(failing,
                                             &(struct ferry_buffer_params){.size = info.arena_size},
                                             &buffer),
                         FERRY_OK);
        const enum ferry_status status = ferry_model_load(model, buffer, 0, NULL, NULL);
        struct ferry_stats stats;
        ferry_device_get_stats(failing, &stats, sizeof stats);
        /* How many submissions it takes depends on what is ready when one ends. */
        if (n == 1 || stats.submissions >= (uint64_t)n)
            assert_int_equal(status, FERRY_ERROR_EXECUTION_FAILED);
        else
            assert_int_equal(status, FERRY_OK);
        ferry_buffer_destroy(buffer);
        ferry_device_close(failing);
    }
    ferry_model_close(model);
}

/* Each allocation of opening fails in turn. Loading may go on where the engine does with less. */
static void test_no_memory(void **state)
{
    (void)state;
    ferry_model *model = NULL;
    int failed = 0;
    for (uint64_t n = 1;; n++) {
        (void)ferry__alloc_fail_at(n);
        enum ferry_status status = ferry_model_open(path, &model);
        if (ferry__alloc_fail_at(0) < n)
            break;
        assert_int_equal(status, FERRY_ERROR_OUT_OF_HOST_MEMORY);
        assert_null(model);
        failed++;
    }
    assert_true(failed > 4);
    ferry_buffer *buffer = filled(device, sizes[1]);
    for (uint64_t n = 1; n < 40; n++) {
        (void)ferry__alloc_fail_at(n);
        enum ferry_status status = ferry_model_load_tensor(model, 1, buffer, 0);
        (void)ferry__alloc_fail_at(0);
        assert_true(status == FERRY_OK || status == FERRY_ERROR_OUT_OF_HOST_MEMORY);
        assert_true(n > 1 || status != FERRY_OK);
    }
    ferry_buffer_destroy(buffer);
    ferry_model_close(model);
}

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL)
        return 1;
    snprintf(path, sizeof path, "%s/model.gguf", directory);
    write_file();
    return ferry_device_open(&(struct ferry_device_params){.name = "host"}, &device) != FERRY_OK ||
           ferry_device_open(&(struct ferry_device_params){.name = "host:1"}, &other) != FERRY_OK;
}

static int tear_down(void **state)
{
    (void)state;
    ferry_device_close(device);
    ferry_device_close(other);
    unlink(path);
    return rmdir(directory);
}

int main(void)
{
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tells),        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_read),         cmocka_unit_test(test_load_arena),
        cmocka_unit_test(test_load_into),    cmocka_unit_test(test_load_tensor),
        cmocka_unit_test(test_file_is_cut),  cmocka_unit_test(test_in_callback),
        cmocka_unit_test(test_device_fails), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
