#include "cli.h"
#include "common/show.h"
#include "common/utf8.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
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
    char message[2 * CLI_WHY_MAX], shown[3 * CLI_WHY_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    ferry__show_text(shown, sizeof shown, message);
    fflush(stdout);
    fprintf(stderr, "ferry: %s\n", shown);
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
    if (unit) {
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
    else if (ns < 60000000000)
        snprintf(text, CLI_TEXT_MAX, "%.2f s", (double)ns / 1e9);
    else
        snprintf(text, CLI_TEXT_MAX, "%" PRIu64 ":%02u", ns / 60000000000,
                 (unsigned)(ns / 1000000000 % 60));
    return text;
}

double cli_rate(uint64_t bytes, uint64_t ns)
{
    return ns == 0 ? 0 : (double)bytes / (double)ns;
}

const char *cli_show(char *shown, const char *text)
{
    ferry__show_text(shown, CLI_SHOWN_MAX, text);
    return shown;
}

void cli_json_string(FILE *out, const char *text)
{
    uint32_t code = 0;
    fputc('"', out);
    while (*text != '\0') {
        const unsigned length = ferry__utf8_read(text, strnlen(text, 4), &code);
        if (length == 0)
            fputs("\\ufffd", out);
        else if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else if (ferry__is_shown(code))
            fwrite(text, 1, length, out);
        else if (code > 0xffff)
            fprintf(out, "\\u%04x\\u%04x", (unsigned)(0xd7c0 + (code >> 10)),
                    (unsigned)(0xdc00 | (code & 0x3ff)));
        else
            fprintf(out, "\\u%04x", (unsigned)code);
        text += length == 0 ? 1 : length;
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
