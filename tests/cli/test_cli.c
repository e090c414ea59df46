/* The command's parts: comparing, reading, words. */
#include "cli/cli.h"
#include "cli/compare.h"
#include "cli/input.h"
#include "cli/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static const size_t sizes[] = {1, 3, 4, 5, 31, 33, 4095, 4096, 4097, 65535, 65536, 65537, 200000};

/* One byte is planted at every edge of every size: it is found, and the first of two is named. */
static void test_compare_finds_a_planted_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLI_COUNT(sizes); i++) {
        size_t size = sizes[i];
        unsigned char *a = malloc(size), *b = malloc(size);
        assert_non_null(a);
        assert_non_null(b);
        memset(a, 7, size);
        memset(b, 7, size);
        assert_int_equal(compare_bytes(a, b, size), size);
        const size_t places[] = {size - 1, size / 2, 0};
        for (size_t k = 0; k < CLI_COUNT(places); k++) {
            b[places[k]] = 9;
            assert_int_equal(compare_bytes(a, b, size), places[k]);
        }
        free(a);
        free(b);
    }
}

static void test_compare_of_nothing(void **state)
{
    (void)state;
    assert_int_equal(compare_bytes("a", "b", 0), 0);
}

static void test_compare_names_the_offset(void **state)
{
    (void)state;
    char why[CLI_WHY_MAX];
    compare_why(why, "ab", "a\x01", 1, 4294967296);
    assert_string_equal(why, "the byte at offset 4294967297 came back as 0x01, not 0x62");
}

/* --- input ------------------------------------------------------------------------------------ */

static void test_input_refuses_a_directory(void **state)
{
    (void)state;
    struct input input;
    char why[CLI_WHY_MAX] = "";
    assert_false(input_open(&input, "/", why));
    assert_non_null(strstr(why, "/: it is a directory"));
}

static void test_input_names_what_is_missing(void **state)
{
    (void)state;
    struct input input;
    char why[CLI_WHY_MAX] = "";
    assert_false(input_open(&input, "/nowhere/at all", why));
    assert_non_null(strstr(why, "/nowhere/at all"));
    assert_non_null(strstr(why, "No such file"));
}

static void write_all(int fd, const void *bytes, size_t size)
{
    assert_int_equal(write(fd, bytes, size), size);
}

/* A regular file in windows, and once more. */
static void test_input_reads_windows_again(void **state)
{
    (void)state;
    char name[] = "/tmp/ferry-test-XXXXXX", why[CLI_WHY_MAX];
    unsigned char window[4];
    struct input input;
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    write_all(fd, "abcdefgh", 8);
    close(fd);
    assert_true(input_open(&input, name, why));
    assert_int_equal(input.size, 8);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(input_read(&input, window, 4, why), 4);
        assert_memory_equal(window, "abcd", 4);
        assert_int_equal(input_more(&input, why), 1);
        assert_int_equal(input_more(&input, why), 1);
        assert_int_equal(input_read(&input, window, 4, why), 4);
        assert_memory_equal(window, "efgh", 4);
        assert_int_equal(input_more(&input, why), 0);
        assert_int_equal(input_read(&input, window, 4, why), 0);
        assert_true(input_rewind(&input, why));
    }
    input_close(&input);
    unlink(name);
}

/* A pipe gives what it has; a window is filled all the same. */
static void test_input_fills_windows_from_a_pipe(void **state)
{
    (void)state;
    char why[CLI_WHY_MAX];
    unsigned char window[6] = "";
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool good =
            write(ends[1], "abc", 3) == 3 && usleep(20000) == 0 && write(ends[1], "defg", 4) == 4;
        _exit(!good);
    }
    close(ends[1]);
    struct input input = {.name = "pipe", .fd = ends[0]};
    assert_int_equal(input_read(&input, window, 6, why), 6);
    assert_memory_equal(window, "abcdef", 6);
    assert_int_equal(input_more(&input, why), 1);
    assert_int_equal(input_read(&input, window, 6, why), 1);
    assert_int_equal(window[0], 'g');
    assert_int_equal(input_more(&input, why), 0);
    assert_false(input_rewind(&input, why));
    input_close(&input);
    waitpid(child, NULL, 0);
}

/* --- words ------------------------------------------------------------------------------------ */

static void test_sizes_in_words(void **state)
{
    (void)state;
    char text[CLI_TEXT_MAX];
    assert_string_equal(cli_size(text, 0), "0 bytes");
    assert_string_equal(cli_size(text, 1), "1 byte");
    assert_string_equal(cli_size(text, 1023), "1023 bytes");
    assert_string_equal(cli_size(text, 1024), "1.0 KiB");
    assert_string_equal(cli_size(text, 1048575), "1.0 MiB");
    assert_string_equal(cli_size(text, UINT64_MAX), "16.0 EiB");
}

static void test_times_in_words(void **state)
{
    (void)state;
    char text[CLI_TEXT_MAX];
    assert_string_equal(cli_time(text, 999), "999 ns");
    assert_string_equal(cli_time(text, 1500000000), "1.50 s");
    assert_string_equal(cli_time(text, 59990000000), "59.99 s");
    assert_string_equal(cli_time(text, 60000000000), "1:00");
    assert_string_equal(cli_time(text, 65999999999), "1:05");
    assert_string_equal(cli_time(text, 3723000000000), "62:03");
}

static void test_median(void **state)
{
    (void)state;
    uint64_t values[] = {9, 1, 5, 7, 3};
    assert_int_equal(cli_median(values, 5), 5);
    assert_int_equal(cli_median(values, 0), 0);
}

static void test_the_worse_exit_wins(void **state)
{
    (void)state;
    assert_int_equal(cli_worse(CLI_DEVICE, CLI_CHECK), CLI_CHECK);
    assert_int_equal(cli_worse(CLI_CHECK, CLI_DEVICE), CLI_CHECK);
    assert_int_equal(cli_worse(CLI_DONE, CLI_DEVICE), CLI_DEVICE);
    assert_int_equal(cli_worse(CLI_DONE, CLI_DONE), CLI_DONE);
}

static void expect_json(const char *text, const char *expected)
{
    char *got = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&got, &size);
    assert_non_null(out);
    cli_json_string(out, text);
    fclose(out);
    assert_string_equal(got, expected);
    free(got);
}

static void test_json_strings(void **state)
{
    (void)state;
    expect_json("", "\"\"");
    expect_json("a\"b\\c\n", "\"a\\\"b\\\\c\\u000a\"");
    expect_json("Fähre ⛴ \xf0\x9f\x9a\xa2", "\"Fähre ⛴ \xf0\x9f\x9a\xa2\"");
    /* Not UTF-8: a lone byte, a cut sequence, an overlong one, a surrogate, beyond U+10FFFF. */
    expect_json("\xff", "\"\\ufffd\"");
    expect_json("\xe2\x9b", "\"\\ufffd\\ufffd\"");
    expect_json("\xc0\xaf", "\"\\ufffd\\ufffd\"");
    expect_json("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"");
    expect_json("\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
}

static void expect_size(const char *text, bool good, uint64_t bytes)
{
    uint64_t value = 77;
    assert_int_equal(cli_read_size(text, &value), good);
    if (good)
        assert_int_equal(value, bytes);
}

static void test_sizes_are_read(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "0",
                                        "0K",
                                        "K",
                                        "-1",
                                        " 1",
                                        "1x",
                                        "1 K",
                                        "1KK",
                                        "1.5M",
                                        "1KiBs",
                                        "0x10",
                                        "18446744073709551616",
                                        "16777216T"};
    expect_size("1", true, 1);
    expect_size("4096", true, 4096);
    expect_size("64K", true, 65536);
    expect_size("64k", true, 65536);
    expect_size("64KiB", true, 65536);
    expect_size("64KB", true, 65536);
    expect_size("1M", true, 1 << 20);
    expect_size("3G", true, 3ull << 30);
    expect_size("2T", true, 2ull << 40);
    expect_size("18446744073709551615", true, UINT64_MAX);
    for (size_t i = 0; i < CLI_COUNT(wrong); i++)
        expect_size(wrong[i], false, 0);
}

static void expect_line(size_t columns, const char *name, uint64_t done, uint64_t total,
                        const char *expected)
{
    char line[PROGRESS_LINE_MAX];
    progress_line(line, columns, name, done, total, 2000000000);
    assert_string_equal(line, expected);
}

static void test_progress_line(void **state)
{
    (void)state;
    const uint64_t whole = 4000000000;
    expect_line(110, "model.bin", whole / 4, whole,
                "model.bin  [######..................]  25 %  953.7 MiB of 3.7 GiB  0.50 GB/s  6 s "
                "left");
    expect_line(79, "model.bin", whole, whole,
                "model.bin  [##################]  100 %  3.7 GiB of 3.7 GiB  2.00 GB/s  0 s left");
    expect_line(60, "model.bin", whole / 4, whole,
                "model.bin  25 %  953.7 MiB of 3.7 GiB  0.50 GB/s  6 s left");
    expect_line(10, "model.bin", whole / 4, whole, "[..]  25 %");
    /* The end of a long name, and nothing in it that moves the cursor. */
    expect_line(110, "/a/very/long/path/of/folders/to\n\033[2Jmodel.bin", 1 << 20, 0,
                "...h/of/folders/to??[2Jmodel.bin  1.0 MiB  0.00 GB/s");
    /* The whole is not known: no share, no time left. */
    expect_line(80, NULL, 1 << 30, 0, "1.0 GiB  0.54 GB/s");
    expect_line(80, NULL, 9, 8, "9 bytes  0.00 GB/s");
}

/* No line is wider than the terminal, whatever is told; more columns never show less. */
static void test_progress_fits(void **state)
{
    (void)state;
    static const char *const names[] = {NULL, "", "a", "a model of some length.safetensors"};
    static const uint64_t amounts[] = {0, 1, 1023, 1 << 20, 3ull << 40, UINT64_MAX};
    for (size_t n = 0; n < CLI_COUNT(names); n++) {
        for (size_t d = 0; d < CLI_COUNT(amounts); d++) {
            for (size_t t = 0; t < CLI_COUNT(amounts); t++) {
                for (size_t columns = 0; columns < 200; columns++) {
                    char line[PROGRESS_LINE_MAX];
                    progress_line(line, columns, names[n], amounts[d], amounts[t], 1);
                    assert_true(strlen(line) <= columns);
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare_finds_a_planted_byte),
        cmocka_unit_test(test_compare_of_nothing),
        cmocka_unit_test(test_compare_names_the_offset),
        cmocka_unit_test(test_input_refuses_a_directory),
        cmocka_unit_test(test_input_names_what_is_missing),
        cmocka_unit_test(test_input_reads_windows_again),
        cmocka_unit_test(test_input_fills_windows_from_a_pipe),
        cmocka_unit_test(test_sizes_in_words),
        cmocka_unit_test(test_times_in_words),
        cmocka_unit_test(test_median),
        cmocka_unit_test(test_the_worse_exit_wins),
        cmocka_unit_test(test_json_strings),
        cmocka_unit_test(test_sizes_are_read),
        cmocka_unit_test(test_progress_line),
        cmocka_unit_test(test_progress_fits),
    };
    return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
