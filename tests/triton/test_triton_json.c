#include "json_tree.h"
#include "starve/starve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const char *why; /* of the last text that was refused */

/* From memory of exactly this size, for the address sanitizer. */
static struct json *parse(const char *text)
{
    const size_t size = strlen(text);
    char *copy = malloc(size ? size : 1);
    memcpy(copy, text, size);
    why = NULL;
    struct json *json = json_parse(copy, size, &why);
    free(copy);
    assert_true(!json == !!why);
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

static void refuses_what_has_two_meanings(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        {"{\"device\":\"a\",\"path\":\"b\",\"device\":\"c\"}", "a key appears twice in an object"},
        {"{\"x\":[{\"a\":1,\"\\u0061\":2}]}", "a key appears twice in an object"},
        {"{\"device\\u0000x\":1}", "a string contains a zero byte"},
        {"[\"a\\u0000\"]", "a string contains a zero byte"},
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        assert_null(parse(texts[i][0]));
        assert_string_equal(why, texts[i][1]);
    }
    struct json *json = parse("[{\"a\":1},{\"a\":1,\"A\":2}]");
    assert_non_null(json);
    json_free(json);
}

/* Each text takes what it is long: 800 KB of small ones, of which each used to take the rest. And
 * values have a limit. */
static void takes_little(void **state)
{
    (void)state;
    enum { STRINGS = 60000 };
    char *text = malloc(STRINGS * 16 + 2), *at = text;
    assert_non_null(text);
    struct rlimit before, now;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    *at++ = '[';
    for (int i = 0; i < STRINGS; i++)
        at += sprintf(at, "%s\"%010d\"", i ? "," : "", i);
    strcpy(at, "]");
    FILE *statm = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    if (statm && fscanf(statm, "%lu", &pages) == 1 && starve_is_whole) {
        now = before;
        now.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + (64 << 20);
        assert_int_equal(setrlimit(RLIMIT_AS, &now), 0);
    }
    struct json *json = parse(text);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_non_null(json);
    json_free(json);
    if (statm)
        fclose(statm);
    at = text;
    *at++ = '[';
    for (int i = 0; i < JSON_NODES_MAX; i++)
        at += sprintf(at, "0,");
    strcpy(at, "0]");
    assert_null(parse(text));
    assert_string_equal(why, "more than 65536 values");
    free(text);
}

/* Every allocation fails in turn: told as such, and nothing is lost. */
static void memory_fails(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":[1,\"two\",{\"b\":null}],\"c\":{\"d\":true,\"e\":\"\"}}";
    for (uint64_t n = 1;; n++) {
        starve_at(n, false);
        struct json *json = json_parse(text, sizeof text - 1, &why);
        if (!starve_end()) {
            assert_true(json && (n > 15 || !starve_is_whole));
            json_free(json);
            break;
        }
        if (json) /* qsort did without */
            json_free(json);
        else
            assert_ptr_equal(why, JSON_NO_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_a_server_gives),
        cmocka_unit_test(refuses_what_is_none),
        cmocka_unit_test(refuses_depth),
        cmocka_unit_test(refuses_what_has_two_meanings),
        cmocka_unit_test(takes_little),
        cmocka_unit_test(memory_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
