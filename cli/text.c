#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum cli_exit cli_worse(enum cli_exit a, enum cli_exit b)
{
    static const int rank[] = {[CLI_DONE] = 0, [CLI_USAGE] = 1, [CLI_DEVICE] = 2, [CLI_CHECK] = 3};
    return rank[a] >= rank[b] ? a : b;
}

void cli_complain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fputs("ferry: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

void cli_why(char *why, const char *what)
{
    snprintf(why, CLI_WHY_MAX, "%s: %s", what, ferry_last_error());
}

uint64_t cli_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

const char *cli_size(char *text, uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        snprintf(text, CLI_TEXT_MAX, "%u byte%s", (unsigned)bytes, bytes == 1 ? "" : "s");
        return text;
    }
    double value = (double)bytes / 1024;
    size_t unit = 0;
    while (value >= 1023.95 && unit + 1 < CLI_COUNT(units)) {
        value /= 1024;
        unit++;
    }
    snprintf(text, CLI_TEXT_MAX, "%.1f %s", value, units[unit]);
    return text;
}

bool cli_read_size(const char *text, uint64_t *out)
{
    static const char units[] = "kmgt";
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || errno != 0)
        return false;
    const char *unit = *end != 0 ? strchr(units, tolower((unsigned char)*end)) : NULL;
    if (unit != NULL) {
        end += strcmp(end + 1, "iB") == 0 ? 3 : strcmp(end + 1, "B") == 0 ? 2 : 1;
        for (long i = 0; i <= unit - units; i++) {
            if (value > UINT64_MAX / 1024)
                return false;
            value *= 1024;
        }
    }
    *out = value;
    return *end == 0 && value > 0;
}

const char *cli_time(char *text, uint64_t ns)
{
    if (ns < 1000)
        snprintf(text, CLI_TEXT_MAX, "%u ns", (unsigned)ns);
    else if (ns < 1000000)
        snprintf(text, CLI_TEXT_MAX, "%.1f us", (double)ns / 1e3);
    else if (ns < 1000000000)
        snprintf(text, CLI_TEXT_MAX, "%.1f ms", (double)ns / 1e6);
    else
        snprintf(text, CLI_TEXT_MAX, "%.2f s", (double)ns / 1e9);
    return text;
}

double cli_rate(uint64_t bytes, uint64_t ns)
{
    return ns == 0 ? 0 : (double)bytes / (double)ns;
}

/* The length of the UTF-8 sequence that text begins with; 0: it begins with none. */
static int utf8_length(const unsigned char *text)
{
    static const struct {
        unsigned char mask, lead, low, high; /* the range of the second byte */
        int length;
    } forms[] = {
        {0x80, 0x00, 0x00, 0x00, 1}, {0xff, 0xe0, 0xa0, 0xbf, 3}, {0xff, 0xed, 0x80, 0x9f, 3},
        {0xff, 0xf0, 0x90, 0xbf, 4}, {0xff, 0xf4, 0x80, 0x8f, 4}, {0xff, 0xc0, 0x01, 0x00, 2},
        {0xff, 0xc1, 0x01, 0x00, 2}, {0xe0, 0xc0, 0x80, 0xbf, 2}, {0xf0, 0xe0, 0x80, 0xbf, 3},
        {0xfc, 0xf0, 0x80, 0xbf, 4},
    };
    for (size_t i = 0; i < CLI_COUNT(forms); i++) {
        if ((text[0] & forms[i].mask) != forms[i].lead)
            continue;
        if (forms[i].length > 1 && (text[1] < forms[i].low || text[1] > forms[i].high))
            return 0;
        for (int k = 2; k < forms[i].length; k++) {
            if ((text[k] & 0xc0) != 0x80)
                return 0;
        }
        return forms[i].length;
    }
    return 0;
}

void cli_json_string(FILE *out, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    fputc('"', out);
    while (*at != 0) {
        int length = utf8_length(at);
        if (length == 0)
            fputs("\\ufffd", out);
        else if (*at < 0x20 || *at == 0x7f)
            fprintf(out, "\\u%04x", *at);
        else if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else
            fwrite(at, 1, (size_t)length, out);
        at += length == 0 ? 1 : length;
    }
    fputc('"', out);
}

void cli_json_head(FILE *out, const char *command)
{
    fprintf(out, "{\"version\": %d, \"ferry\": \"%s\", \"command\": \"%s\",\n ", CLI_JSON_VERSION,
            ferry_version_string(), command);
}

void cli_json_device(FILE *out, const struct ferry_device_info *info)
{
    fputs("\"device\": {\"name\": ", out);
    cli_json_string(out, info->name);
    fputs(", \"description\": ", out);
    cli_json_string(out, info->description);
    fprintf(out, ", \"kind\": \"%s\", \"reason\": ", ferry_device_kind_name(info->kind));
    cli_json_string(out, info->reason);
    fputs("},\n ", out);
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

uint64_t cli_median(uint64_t *values, size_t count)
{
    if (count == 0)
        return 0;
    qsort(values, count, sizeof *values, compare_numbers);
    return values[count / 2];
}
