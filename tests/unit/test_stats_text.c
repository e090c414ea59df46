/* Metrics as text: Prometheus and JSON, of one device and of several. */
#include "base/base.h"

#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct ferry_stats stats;

static char *format(enum ferry_stats_format which)
{
    size_t size = 0, again = 0;
    assert_int_equal(ferry_stats_format(&stats, which, NULL, 0, &size), FERRY_OK);
    char *text = malloc(size + 1);
    assert_non_null(text);
    assert_int_equal(ferry_stats_format(&stats, which, text, size + 1, &again), FERRY_OK);
    assert_int_equal(again, size);
    assert_int_equal(strlen(text), size);
    return text;
}

static void fill_stats(void)
{
    memset(&stats, 0, sizeof stats);
    uint64_t *numbers = (uint64_t *)&stats;
    for (size_t i = 0; i < sizeof stats / sizeof *numbers; i++)
        numbers[i] = i + 1;
}

static void contract_of_snprintf(void **state)
{
    (void)state;
    fill_stats();
    for (int which = FERRY_STATS_PROMETHEUS; which <= FERRY_STATS_JSON; which++) {
        char *whole = format((enum ferry_stats_format)which);
        size_t length = strlen(whole);
        char *part = malloc(length + 10);
        assert_non_null(part);
        for (size_t capacity = 0; capacity <= length + 2; capacity += capacity < 300 ? 1 : 997) {
            size_t size = 0;
            memset(part, 0x5A, length + 10);
            assert_int_equal(
                ferry_stats_format(&stats, (enum ferry_stats_format)which, part, capacity, &size),
                FERRY_OK);
            assert_int_equal(size, length);
            size_t kept = capacity == 0 ? 0 : capacity - 1 < length ? capacity - 1 : length;
            assert_memory_equal(part, whole, kept);
            if (capacity > 0)
                assert_int_equal(part[kept], '\0');
            assert_int_equal(part[kept + (capacity > 0)], 0x5A);
        }
        free(part);
        free(whole);
    }
}

static void bad_arguments(void **state)
{
    (void)state;
    char out[10];
    size_t size = 7;
    assert_int_equal(ferry_stats_format(NULL, FERRY_STATS_JSON, out, 10, &size),
                     FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(ferry_stats_format(&stats, FERRY_STATS_JSON, NULL, 10, &size),
                     FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(ferry_stats_format(&stats, FERRY_STATS_JSON, out, 10, NULL),
                     FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(ferry_stats_format(&stats, (enum ferry_stats_format)2, out, 10, &size),
                     FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(size, 7);
}

/* A checker of the Prometheus text format: families in one piece, HELP and TYPE before the samples,
 * names, labels and values well formed, no sample twice. Returns how many samples there are. */
static bool is_name(const char *from, const char *to)
{
    for (const char *at = from; at < to; at++) {
        bool digit = isdigit((unsigned char)*at) && at > from;
        if (!islower((unsigned char)*at) && *at != '_' && !digit)
            return false;
    }
    return to > from;
}

static const char *check_labels(const char *at)
{
    if (*at != '{')
        return at;
    do {
        const char *equals = strchr(++at, '=');
        assert_non_null(equals);
        assert_true(is_name(at, equals));
        assert_int_equal(equals[1], '"');
        at = equals + 2;
        while (*at != '"') {
            assert_true(*at != '\0' && *at != '\n');
            if (*at++ == '\\')
                assert_non_null(strchr("\\\"n", *at++));
        }
        at++;
    } while (*at == ',');
    assert_int_equal(*at, '}');
    return at + 1;
}

static void check_sample(const char *line, const char *family, const char *type)
{
    size_t length = strcspn(line, "{ ");
    assert_true(is_name(line, line + length));
    assert_memory_equal(line, family, strlen(family));
    const char *suffix = line + strlen(family);
    size_t suffix_length = length - strlen(family);
    if (strcmp(type, "histogram") == 0)
        assert_true((suffix_length == 7 && memcmp(suffix, "_bucket", 7) == 0) ||
                    (suffix_length == 4 && memcmp(suffix, "_sum", 4) == 0) ||
                    (suffix_length == 6 && memcmp(suffix, "_count", 6) == 0));
    else
        assert_int_equal(suffix_length, 0);
    const char *value = check_labels(line + length);
    assert_int_equal(*value, ' ');
    assert_true(isdigit((unsigned char)value[1]));
    char *end;
    (void)strtod(value + 1, &end);
    assert_int_equal(*end, '\0');
}

static unsigned check_prometheus(const char *text)
{
    static char families[100][80];
    char family[80] = "", type[20] = "", help[80];
    unsigned samples = 0, family_count = 0;
    char *copy = strdup(text), *rest = NULL;
    assert_non_null(copy);
    assert_int_equal(text[strlen(text) - 1], '\n');
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "# HELP ", 7) == 0) {
            assert_int_equal(sscanf(line, "# HELP %79s", help), 1);
            assert_true(strlen(line) > 7 + strlen(help) + 1);
        } else if (strncmp(line, "# TYPE ", 7) == 0) {
            assert_int_equal(sscanf(line, "# TYPE %79s %19s", family, type), 2);
            assert_string_equal(help, family);
            assert_memory_equal(family, "ferry_", 6);
            bool total = strlen(family) > 6 && strcmp(family + strlen(family) - 6, "_total") == 0;
            assert_int_equal(total, strcmp(type, "counter") == 0);
            for (unsigned i = 0; i < family_count; i++)
                assert_string_not_equal(families[i], family);
            strcpy(families[family_count++], family);
        } else {
            check_sample(line, family, type);
            samples++;
        }
    }
    free(copy);
    return samples;
}

static void expect_line(const char *text, const char *line)
{
    const char *at = text;
    size_t length = strlen(line);
    while ((at = strstr(at, line)) != NULL) {
        if ((at == text || at[-1] == '\n') && at[length] == '\n')
            return;
        at++;
    }
    fail_msg("there is no line '%s' in:\n%s", line, text);
}

enum {
    SCALARS = 0
#define FERRY_STAT(field, kind, unit, help) +1
#include <ferry/stats.inc>
#undef FERRY_STAT
    ,
    HISTOGRAMS = 0
#define FERRY_STAT(field, kind, unit, help)
#define FERRY_STAT_HISTOGRAM(field, sum, help) +1
#include <ferry/stats.inc>
#undef FERRY_STAT
    ,
    BUILD = 1, /* ferry_build_info, once for all devices */
    SAMPLES = SCALARS + HISTOGRAMS * (FERRY_COUNT_BUCKETS + 2),
    COMBINATIONS = FERRY_OPERATION_COUNT * FERRY_PATH_COUNT,
    SAMPLES_EACH = 3 + FERRY_TIME_BUCKETS + 2
};

static void prometheus(void **state)
{
    (void)state;
    memset(&stats, 0, sizeof stats);
    char *text = format(FERRY_STATS_PROMETHEUS);
    assert_int_equal(check_prometheus(text), BUILD + SAMPLES);
    char line[256];
    snprintf(line, sizeof line,
             "ferry_build_info{version=\"%s\",drivers=\"%s\",libraries=\"%s\"} 1",
             ferry_version_string(), ferry_build_drivers(), ferry_build_libraries());
    expect_line(text, line);
    free(text);
    fill_stats();
    text = format(FERRY_STATS_PROMETHEUS);
    assert_int_equal(check_prometheus(text), BUILD + SAMPLES + COMBINATIONS * SAMPLES_EACH);
    free(text);
    memset(&stats, 0xFF, sizeof stats); /* the longest numbers */
    text = format(FERRY_STATS_PROMETHEUS);
    assert_int_equal(check_prometheus(text), BUILD + SAMPLES + COMBINATIONS * SAMPLES_EACH);
    free(text);
}

static void prometheus_values(void **state)
{
    (void)state;
    memset(&stats, 0, sizeof stats);
    stats.operations[FERRY_OPERATION_DOWNLOAD][FERRY_PATH_PIPELINED] =
        (struct ferry_operation_stats){.operations = 9,
                                       .bytes = 12345678901,
                                       .errors = 2,
                                       .timed = 6,
                                       .time_ns = 2000000003,
                                       .buckets = {1, 0, 2, [FERRY_TIME_BUCKETS - 1] = 3}};
    stats.device_time_ns = 1500000000;
    stats.memory_in_use_bytes = 77;
    stats.batches = 5;
    stats.submitted_operations = 1005;
    stats.submission_operations[0] = 5;
    stats.submission_operations[5] = 1;
    char *text = format(FERRY_STATS_PROMETHEUS);
    assert_int_equal(check_prometheus(text), BUILD + SAMPLES + SAMPLES_EACH);
    static const char *const lines[] = {
#define LABELS "operation=\"download\",path=\"pipelined\""
#define DURATION "ferry_operation_duration_seconds"
        "ferry_operations_total{" LABELS "} 9",
        "ferry_operation_bytes_total{" LABELS "} 12345678901",
        "ferry_operation_errors_total{" LABELS "} 2",
        "# TYPE " DURATION " histogram",
        DURATION "_bucket{" LABELS ",le=\"0.000001000\"} 1",
        DURATION "_bucket{" LABELS ",le=\"0.000004000\"} 1",
        DURATION "_bucket{" LABELS ",le=\"0.000016000\"} 3",
        DURATION "_bucket{" LABELS ",le=\"1.048576000\"} 3",
        DURATION "_bucket{" LABELS ",le=\"+Inf\"} 6",
        DURATION "_sum{" LABELS "} 2.000000003",
        DURATION "_count{" LABELS "} 6",
        "# TYPE ferry_device_time_seconds_total counter",
        "ferry_device_time_seconds_total 1.500000000",
        "# TYPE ferry_memory_in_use_bytes gauge",
        "ferry_memory_in_use_bytes 77",
        "ferry_batches_total 5",
        "ferry_memory_allocated_bytes_total 0",
        "# TYPE ferry_submission_operations histogram",
        "ferry_submission_operations_bucket{le=\"1\"} 5",
        "ferry_submission_operations_bucket{le=\"256\"} 5",
        "ferry_submission_operations_bucket{le=\"1024\"} 6",
        "ferry_submission_operations_bucket{le=\"+Inf\"} 6",
        "ferry_submission_operations_sum 1005",
        "ferry_submission_operations_count 6",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        expect_line(text, lines[i]);
    free(text);
}

/* A reader of the JSON that there is: objects, arrays, strings without escapes, whole numbers. */
static const char *check_json(const char *at);

static const char *check_json_string(const char *at)
{
    assert_int_equal(*at, '"');
    const char *end = strchr(at + 1, '"');
    assert_non_null(end);
    assert_null(memchr(at, '\\', (size_t)(end - at)));
    return end + 1;
}

static const char *check_json_list(const char *at, char close)
{
    if (*++at == close)
        return at + 1;
    for (;;) {
        if (close == '}') {
            at = check_json_string(at);
            assert_int_equal(*at, ':');
            at++;
        }
        at = check_json(at);
        if (*at == close)
            return at + 1;
        assert_int_equal(*at, ',');
        at++;
    }
}

static const char *check_json(const char *at)
{
    if (*at == '{' || *at == '[')
        return check_json_list(at, *at == '{' ? '}' : ']');
    if (*at == '"')
        return check_json_string(at);
    assert_true(isdigit((unsigned char)*at));
    assert_true(*at != '0' || !isdigit((unsigned char)at[1]));
    return at + strspn(at, "0123456789");
}

static unsigned occurrences(const char *text, const char *part)
{
    unsigned count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
        count++;
    return count;
}

static void json(void **state)
{
    (void)state;
    memset(&stats, 0, sizeof stats);
    char *text = format(FERRY_STATS_JSON);
    assert_string_equal(check_json(text), "\n");
    assert_non_null(strstr(text, "\"operations\":[],"));
    assert_int_equal(occurrences(text, "\":"), 1 + SCALARS + HISTOGRAMS);
    free(text);
    stats.operations[FERRY_OPERATION_FILL][FERRY_PATH_BRIDGED].bytes = UINT64_MAX;
    stats.deallocations = 8;
    text = format(FERRY_STATS_JSON);
    assert_string_equal(check_json(text), "\n");
    assert_non_null(strstr(text, "\"operation\":\"fill\",\"path\":\"bridged\",\"operations\":0,"
                                 "\"bytes\":18446744073709551615,"));
    assert_non_null(strstr(text, "\"deallocations\":8,"));
    free(text);
    fill_stats();
    text = format(FERRY_STATS_JSON);
    assert_string_equal(check_json(text), "\n");
    assert_int_equal(occurrences(text, "\"path\":"), COMBINATIONS);
    assert_int_equal(occurrences(text, "\"submissions\":"), 1);
    free(text);
}

/* --- several devices -------------------------------------------------------------------------- */

static char *format_named(const struct ferry_named_stats *named, size_t count,
                          enum ferry_stats_format which)
{
    size_t size = 0, again = 0;
    assert_int_equal(ferry_stats_format_named(named, count, which, NULL, 0, &size), FERRY_OK);
    char *text = malloc(size + 1);
    assert_non_null(text);
    assert_int_equal(ferry_stats_format_named(named, count, which, text, size + 1, &again),
                     FERRY_OK);
    assert_int_equal(again, size);
    assert_int_equal(strlen(text), size);
    return text;
}

static void several_devices(void **state)
{
    (void)state;
    static struct ferry_stats other;
    const struct ferry_named_stats named[] = {{"host:0", &stats}, {"a \"b\"\\c\n", &other}};
    memset(&other, 0, sizeof other);
    other.batches = 3;
    fill_stats();
    char *text = format_named(named, 2, FERRY_STATS_PROMETHEUS);
    assert_int_equal(check_prometheus(text), BUILD + 2 * SAMPLES + COMBINATIONS * SAMPLES_EACH);
    expect_line(text, "ferry_batches_total{device=\"a \\\"b\\\"\\\\c\\n\"} 3");
    expect_line(text,
                "ferry_submission_operations_bucket{device=\"a \\\"b\\\"\\\\c\\n\",le=\"1\"} 0");
    expect_line(text, "ferry_operations_total{device=\"host:0\",operation=\"upload\","
                      "path=\"auto\"} 1");
    free(text);
    text = format_named(named, 2, FERRY_STATS_JSON);
    assert_memory_equal(text, "[{\"device\":\"host:0\",\"operations\":[{", 34);
    assert_non_null(strstr(text, "},\n{\"device\":\"a \\\"b\\\"\\\\c\\n\",\"operations\":[],"));
    free(text);
    text = format_named(named, 1, FERRY_STATS_JSON);
    assert_int_equal(text[0], '[');
    free(text);
    text = format_named(NULL, 0, FERRY_STATS_JSON);
    assert_string_equal(text, "[]\n");
    free(text);
    text = format_named(NULL, 0, FERRY_STATS_PROMETHEUS);
    assert_int_equal(check_prometheus(text), BUILD);
    free(text);
    size_t size = 77;
    assert_int_equal(ferry_stats_format_named(NULL, 1, FERRY_STATS_JSON, NULL, 0, &size),
                     FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(ferry_stats_format_named(&(struct ferry_named_stats){NULL, &stats}, 1,
                                              FERRY_STATS_JSON, NULL, 0, &size),
                     FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(ferry_stats_format_named(&(struct ferry_named_stats){"x", NULL}, 1,
                                              FERRY_STATS_JSON, NULL, 0, &size),
                     FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(size, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contract_of_snprintf),
        cmocka_unit_test(bad_arguments),
        cmocka_unit_test(prometheus),
        cmocka_unit_test(prometheus_values),
        cmocka_unit_test(json),
        cmocka_unit_test(several_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
