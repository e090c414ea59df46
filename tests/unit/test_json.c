/* The reader of JSON: events, limits, and everything that is no JSON. */
#include "common/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Events as letters, with the texts between them. */
static void describe(const char *text, size_t size, char *out, size_t capacity)
{
    static const char letters[] = "?{}[]ksntfz.";
    struct ferry__json json;
    size_t at = 0;
    enum ferry__json_event event;
    ferry__json_init(&json, text, size);
    do {
        event = ferry__json_next(&json);
        assert_true(at + 2 < capacity);
        out[at++] = letters[event];
        if (event == FERRY__JSON_KEY || event == FERRY__JSON_STRING ||
            event == FERRY__JSON_NUMBER) {
            assert_true(json.text.size + 3 < capacity - at);
            memcpy(out + at, json.text.at, json.text.size);
            at += json.text.size;
            out[at++] = ' ';
        }
    } while (event != FERRY__JSON_END && event != FERRY__JSON_WRONG);
    out[at] = 0;
    assert_int_equal(ferry__json_next(&json), event); /* and so it stays */
}

static void test_events(void **state)
{
    (void)state;
    static const struct {
        const char *text, *events;
    } cases[] = {
        {"{}", "{}."},
        {" [ ] \r\n\t", "[]."},
        {"{\"a\":[1,-2.5e+3,0],\"b\" : {\"c\":\"d\"}}", "{ka [n1 n-2.5e+3 n0 ]kb {kc sd }}."},
        {"[true,false,null]", "[tfz]."},
        {"\"\"", "s ."},
        {"7", "n7 ."},
        {"-0", "n-0 ."},
        {"\"a\\\"b\"", "sa\\\"b ."},
        {"[[],[[]]]", "[[][[]]]."},
    };
    char events[256];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        describe(cases[i].text, strlen(cases[i].text), events, sizeof events);
        assert_string_equal(events, cases[i].events);
    }
}

static const struct {
    const char *text;
    size_t where;
    const char *wrong;
} no_json[] = {
    {"", 0, "its end is missing"},
    {"{", 1, "no key"},
    {"[", 1, "its end is missing"},
    {"[1", 2, "its end is missing"},
    {"[1 2]", 3, "no comma"},
    {"[1,]", 3, "no value"},
    {"[,1]", 1, "no value"},
    {"{\"a\":1,}", 7, "no key"},
    {"{\"a\" 1}", 5, "no colon after a key"},
    {"{\"a\":}", 5, "no value"},
    {"{a:1}", 1, "no key"},
    {"[1}", 2, "no comma"},
    {"{\"a\":1]", 6, "no comma"},
    {"{} {}", 3, "more after its end"},
    {"1 ,", 2, "more after its end"},
    {"+1", 0, "no value"},
    {"01", 0, "no value"},
    {"-", 0, "no value"},
    {"1.", 0, "no value"},
    {".5", 0, "no value"},
    {"1e", 0, "no value"},
    {"1e+", 0, "no value"},
    {"0x1", 1, "more after its end"},
    {"nul", 0, "no value"},
    {"True", 0, "no value"},
    {"NaN", 0, "no value"},
    {"nullx", 4, "more after its end"},
    {"'a'", 0, "no value"},
    {"\"a", 2, "a string without an end"},
    {"\"a\\\"", 4, "a string without an end"},
    {"\"\t\"", 1, "a control character in a string"},
    {"\"\\x\"", 1, "an escape that there is not"},
    {"\"\\u12g4\"", 1, "an escape that there is not"},
    {"\"\\u123", 1, "an escape that there is not"},
    {"\"\\ud800\"", 1, "an escape that there is not"},
    {"\"\\ud800\\u0041\"", 1, "an escape that there is not"},
    {"\"\\udc00\"", 1, "an escape that there is not"},
    {"\"\xff\"", 1, "what is not UTF-8"},
    {"\"\xc0\x80\"", 1, "what is not UTF-8"},
    {"\"\xed\xa0\x80\"", 1, "what is not UTF-8"},
    {"\"\xf4\x90\x80\x80\"", 1, "what is not UTF-8"},
    {"\"\xe2\x82\"", 1, "what is not UTF-8"},
    {"\xef\xbb\xbf{}", 0, "no value"},
    {"// a\n1", 0, "no value"},
};

static void test_what_is_no_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof no_json / sizeof *no_json; i++) {
        struct ferry__json json;
        enum ferry__json_event event;
        ferry__json_init(&json, no_json[i].text, strlen(no_json[i].text));
        while ((event = ferry__json_next(&json)) != FERRY__JSON_WRONG)
            assert_int_not_equal(event, FERRY__JSON_END);
        assert_string_equal(json.wrong, no_json[i].wrong);
        assert_int_equal(ferry__json_where(&json), no_json[i].where);
    }
}

/* Bytes 0 are not the end of anything. */
static void test_bytes_0(void **state)
{
    (void)state;
    static const char after[] = "1\0", inside[] = "\"a\0b\"", before[] = "\0{}";
    char events[64];
    describe(after, 2, events, sizeof events);
    assert_string_equal(events, "n1 ?");
    describe(inside, 5, events, sizeof events);
    assert_string_equal(events, "?");
    describe(before, 3, events, sizeof events);
    assert_string_equal(events, "?");
}

static struct ferry__json_text string_of(const char *text)
{
    struct ferry__json json;
    ferry__json_init(&json, text, strlen(text));
    assert_int_equal(ferry__json_next(&json), FERRY__JSON_STRING);
    return json.text;
}

static void test_texts(void **state)
{
    (void)state;
    char out[32];
    const struct ferry__json_text all =
        string_of("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00fc\\u20AC\\ud83d\\ude00\xc3\xbc\"");
    static const char expected[] = "\"\\/\b\f\n\r\tA\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xbc";
    assert_int_equal(ferry__json_copy(all, out, sizeof out), sizeof expected - 1);
    assert_string_equal(out, expected);
    assert_true(ferry__json_is(all, expected));
    assert_int_equal(ferry__json_copy(all, out, 4), sizeof expected - 1); /* cut */
    assert_string_equal(out, "\"\\/");
    assert_int_equal(ferry__json_copy(all, NULL, 0), sizeof expected - 1);

    const struct ferry__json_text zero = string_of("\"device\\u0000x\"");
    assert_false(ferry__json_is(zero, "device"));
    assert_false(ferry__json_is(string_of("\"devic\""), "device"));
    assert_false(ferry__json_is(string_of("\"devices\""), "device"));
    assert_true(ferry__json_is(string_of("\"d\\u0065vice\""), "device"));
    assert_true(ferry__json_is(string_of("\"\""), ""));
    assert_int_equal(ferry__json_copy(zero, out, sizeof out), 8);
    assert_memory_equal(out, "device\0x", 9);

    assert_int_equal(ferry__json_compare(string_of("\"a\""), string_of("\"\\u0061\"")), 0);
    assert_true(ferry__json_compare(string_of("\"a\""), string_of("\"ab\"")) < 0);
    assert_true(ferry__json_compare(string_of("\"\\u00fc\""), string_of("\"z\"")) > 0);
    assert_true(ferry__json_compare(string_of("\"a\\u0000\""), string_of("\"a\"")) > 0);
}

static void test_whole_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool whole;
        uint64_t value;
    } cases[] = {
        {"0", true, 0},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"18446744073709551616", false, 0},
        {"99999999999999999999999", false, 0},
        {"-1", false, 0},
        {"1.0", false, 0},
        {"1e2", false, 0},
        {"", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t value = 0;
        const struct ferry__json_text text = {cases[i].text, strlen(cases[i].text)};
        assert_int_equal(ferry__json_whole(text, &value), cases[i].whole);
        assert_true(!cases[i].whole || value == cases[i].value);
    }
}

/* BEFORE, then count times MIDDLE, then AFTER. */
static const char *reads(const char *before, const char *middle, size_t count, const char *after)
{
    const size_t length = strlen(middle), size = strlen(before) + count * length + strlen(after);
    char *text = malloc(size + 1), *at = text + strlen(before);
    struct ferry__json json;
    assert_non_null(text);
    strcpy(text, before);
    for (size_t i = 0; i < count; i++, at += length)
        memcpy(at, middle, length);
    strcpy(at, after);
    ferry__json_init(&json, text, size);
    enum ferry__json_event event;
    do
        event = ferry__json_next(&json);
    while (event != FERRY__JSON_END && event != FERRY__JSON_WRONG);
    free(text);
    return json.wrong ? json.wrong : "";
}

static void test_limits(void **state)
{
    (void)state;
    assert_string_equal(reads("", "[", 64,
                              "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
                              "]]]]]]]"),
                        "");
    assert_string_equal(reads("", "[", 65, ""), "values deeper than 64 levels");
    assert_string_equal(reads("", "[{\"\":", 33, ""), "values deeper than 64 levels");
    assert_string_equal(reads("{\"", "k", FERRY__JSON_KEY_MAX, "\":1}"), "");
    assert_string_equal(reads("{\"", "k", FERRY__JSON_KEY_MAX + 1, "\":1}"),
                        "a key of over 65535 bytes");
    assert_string_equal(reads("\"", "s", FERRY__JSON_STRING_MAX, "\""), "");
    assert_string_equal(reads("\"", "s", FERRY__JSON_STRING_MAX + 1, "\""),
                        "a string of over 16777216 bytes");
    assert_string_equal(reads("", "1", FERRY__JSON_NUMBER_MAX, ""), "");
    assert_string_equal(reads("", "1", FERRY__JSON_NUMBER_MAX + 1, ""),
                        "a number of over 1024 characters");
    assert_string_equal(reads("[", "0,", FERRY__JSON_NODES_MAX - 2, "0]"), "");
    assert_string_equal(reads("[", "0,", FERRY__JSON_NODES_MAX - 1, "0]"), "over 16777216 values");
}

static void test_skip(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":[{\"b\":[1,[2]]},3],\"c\":4}";
    struct ferry__json json;
    ferry__json_init(&json, text, sizeof text - 1);
    assert_int_equal(ferry__json_next(&json), FERRY__JSON_OBJECT);
    assert_int_equal(ferry__json_next(&json), FERRY__JSON_KEY);
    assert_true(ferry__json_skip(&json)); /* of what is no value's begin: nothing */
    assert_int_equal(ferry__json_next(&json), FERRY__JSON_ARRAY);
    assert_true(ferry__json_skip(&json));
    assert_int_equal(ferry__json_next(&json), FERRY__JSON_KEY);
    assert_true(ferry__json_is(json.text, "c"));
    ferry__json_init(&json, text, 15);
    assert_int_equal(ferry__json_next(&json), FERRY__JSON_OBJECT);
    assert_false(ferry__json_skip(&json));
    assert_false(ferry__json_skip(&json));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),        cmocka_unit_test(test_what_is_no_json),
        cmocka_unit_test(test_bytes_0),       cmocka_unit_test(test_texts),
        cmocka_unit_test(test_whole_numbers), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_skip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
