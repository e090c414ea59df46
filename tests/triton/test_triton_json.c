#include "json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* From memory of exactly this size, for the address sanitizer. */
static struct json *parse(const char *text)
{
    const size_t size = strlen(text);
    char *copy = malloc(size ? size : 1);
    memcpy(copy, text, size);
    struct json *json = json_parse(copy, size);
    free(copy);
    return json;
}

static void reads_what_a_server_gives(void **state)
{
    (void)state;
    struct json *json = parse(" {\"name\":\"m\", \"max_batch_size\": 8, \"input\":[{\"name\":\"A\","
                              "\"dims\":[\"-1\",16]},{}],\"decoupled\":true,\"none\":null,"
                              "\"a\\u0041\\n\\\"\\\\\":\"\\u00e4\\u20ac\"} ");
    assert_non_null(json);
    assert_string_equal(json_text(json_get(json, "name"), ""), "m");
    assert_string_equal(json_text(json_get(json, "max_batch_size"), ""), "8");
    assert_string_equal(json_text(json_get(json, "decoupled"), ""), "true");
    assert_int_equal(json_get(json, "none")->type, JSON_NULL);
    assert_string_equal(json_text(json_get(json, "aA\n\"\\"), ""), "\xc3\xa4\xe2\x82\xac");
    const struct json *input = json_get(json, "input")->first;
    const struct json *dims = json_get(input, "dims");
    assert_int_equal(dims->type, JSON_ARRAY);
    assert_string_equal(json_text(dims->first, ""), "-1");
    assert_string_equal(json_text(dims->first->next, ""), "16");
    assert_null(dims->first->next->next);
    assert_int_equal(input->next->type, JSON_OBJECT);
    assert_null(input->next->first);
    assert_null(json_get(json, "gone"));
    assert_null(json_get(NULL, "gone"));
    assert_string_equal(json_text(NULL, "else"), "else");
    assert_string_equal(json_text(dims, "else"), "else");
    json_free(json);
}

static void refuses_what_is_none(void **state)
{
    static const char *const bad[] = {
        "",      "{",     "}",      "{\"a\"}",     "{\"a\":}",    "{\"a\":1,}",
        "[1,]",  "[1 2]", "\"open", "\"\\x\"",     "\"\\u12\"",   "\"\\u12g4\"",
        "tru",   "nul",   "{a:1}",  "1 2",         "{\"a\":1}}",  "[\"a\":1]",
        "\"a\\", ":",     "[",      "{\"a\":\"b}", "\"\\uzzzz\"", "+1",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct json *json = parse(bad[i]);
        if (json)
            fail_msg("\"%s\" was read", bad[i]);
    }
}

/* Deep nesting is refused, not followed until the stack ends. */
static void refuses_depth(void **state)
{
    enum { DEPTH = 100000 };
    char *text = malloc(2 * DEPTH + 1);
    (void)state;
    memset(text, '[', DEPTH);
    memset(text + DEPTH, ']', DEPTH);
    text[2 * DEPTH] = 0;
    assert_null(parse(text));
    text[DEPTH + 20] = 0;
    struct json *json = parse(text + DEPTH - 20);
    assert_non_null(json);
    json_free(json);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_a_server_gives),
        cmocka_unit_test(refuses_what_is_none),
        cmocka_unit_test(refuses_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
