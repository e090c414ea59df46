/* Text of others as it is shown: in messages, in the log, in metrics and in JSON. */
#include "base/base.h"
#include "base/text.h"
#include "common/show.h"

#include <setjmp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *text, *shown;
} cases[] = {
    {"", ""},
    {"plain", "plain"},
    {"\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80"},
    {"a\nb\rc\td", "a\\nb\\x0dc\\x09d"},
    {"\x1b[31mred\x07", "\\x1b[31mred\\x07"},
    {"\x7f", "\\x7f"},
    {"\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0", "\\u0080\\u009b\\u009f\xc2\xa0"},
    {"\xd8\x9c\xe2\x80\x8d\xe2\x80\x8e\xe2\x80\x8f", "\\u061c\xe2\x80\x8d\\u200e\\u200f"},
    {"\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xae\xe2\x80\xaf", "\\u2028\\u2029\\u202e\xe2\x80\xaf"},
    {"\xe2\x81\xa6\xe2\x81\xa9\xe2\x81\xb0", "\\u2066\\u2069\xe2\x81\xb0"},
    {"\xef\xbb\xbf", "\\ufeff"},
    {"\xf3\xa0\x81\x81", "\\U000e0041"},
    {"\xff\xc0\x80\xed\xa0\x80", "\\xff\\xc0\\x80\\xed\\xa0\\x80"},
    {"\xf4\x90\x80\x80\xe2\x82", "\\xf4\\x90\\x80\\x80\\xe2\\x82"},
    {"back\\slash", "back\\slash"},
};

static void test_shown(void **state)
{
    (void)state;
    char shown[128], again[128];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(ferry__show_text(shown, sizeof shown, cases[i].text),
                         strlen(cases[i].shown));
        assert_string_equal(shown, cases[i].shown);
        ferry__show_text(again, sizeof again, shown);
        assert_string_equal(again, shown);
    }
}

/* What is cut is told, and no character or escape is cut in two. */
static void test_cut(void **state)
{
    (void)state;
    static const char text[] = "ab\x1b\xc3\xbc\xf0\x9f\x98\x80yz";
    static const char *const shown[] = {
        [4] = "...",
        [5] = "a...",
        [6] = "ab...",
        [7] = "ab...",
        [8] = "ab...",
        [9] = "ab...",
        [10] = "ab\\x1b...",
        [11] = "ab\\x1b...",
        [12] = "ab\\x1b\xc3\xbc...",
        [13] = "ab\\x1b\xc3\xbc...",
        [14] = "ab\\x1b\xc3\xbc...",
        [15] = "ab\\x1b\xc3\xbc\xf0\x9f\x98\x80yz",
    };
    for (size_t capacity = 4; capacity < sizeof shown / sizeof *shown; capacity++) {
        char *out = malloc(capacity); /* of just this size, for sanitizers */
        assert_non_null(out);
        const size_t length = ferry__show_text(out, capacity, text);
        assert_int_equal(length, strlen(out));
        assert_string_equal(out, shown[capacity]);
        free(out);
    }
}

static void keep(enum ferry_log_level level, const char *message, void *user)
{
    (void)level;
    strcpy(user, message);
}

/* Labels of buffers, names of devices, whatever a reason quotes. */
static void test_reasons_and_log(void **state)
{
    (void)state;
    static const struct ferry_buffer_params params = {.size = 16,
                                                      .label = "x\n\x1b[2J\xe2\x80\xae"};
    char logged[2048] = "";
    ferry_device *device = NULL;
    ferry_buffer *buffer = NULL;
    ferry_set_log(keep, logged, FERRY_LOG_INFO);
    assert_int_equal(ferry_device_open(&(struct ferry_device_params){.name = "host"}, &device), 0);
    assert_int_equal(ferry_buffer_create(device, &params, &buffer), 0);
    assert_int_equal(ferry_copy_from_host(buffer, "12345678901234567", 17, 0),
                     FERRY_ERROR_OUT_OF_RANGE);
    assert_non_null(strstr(ferry_last_error(), "\"x\\n\\x1b[2J\\u202e\""));
    assert_null(strpbrk(ferry_last_error(), "\n\x1b\xe2"));
    assert_non_null(strstr(logged, "\"x\\n\\x1b[2J\\u202e\""));
    assert_null(strpbrk(logged, "\n\x1b\xe2"));
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    assert_int_equal(
        ferry_device_open(&(struct ferry_device_params){.name = "no\x9b\ndevice"}, &device),
        FERRY_ERROR_NO_DEVICE);
    assert_non_null(strstr(ferry_last_error(), "no\\x9b\\ndevice"));
    ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
}

static void test_quoted(void **state)
{
    (void)state;
    static const char name[] = "a\"\\\n\x1b\x7f\xc2\x9b\xe2\x80\xae\xf3\xa0\x81\x81\xff\xc3\xbc";
    char out[128];
    struct ferry__text text = {out, sizeof out, 0};
    ferry__put_json(&text, name);
    assert_string_equal(out, "\"a\\\"\\\\\\n\\u001b\\u007f\\u009b\\u202e\\udb40\\udc41\xef\xbf\xbd"
                             "\xc3\xbc\"");
    text.length = 0;
    ferry__put_label(&text, name);
    assert_string_equal(out,
                        "\"a\\\"\\\\\\n\\\\x1b\\\\x7f\\\\u009b\\\\u202e\\\\U000e0041\xef\xbf\xbd"
                        "\xc3\xbc\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shown),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_reasons_and_log),
        cmocka_unit_test(test_quoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
