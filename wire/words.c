#include "words.h"

#include "common/show.h"

#include <ferry/stream.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum ferry_status ferry__wire_fail(enum ferry_status status, const char *format, ...)
{
    char why[FERRY_WIRE_WHY_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    return ferry_stream_error(status, why);
}

void ferry__wire_log(enum ferry_log_level level, const char *format, ...)
{
    char words[FERRY_WIRE_WHY_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    ferry_stream_log(level, words);
}

void ferry__wire_show(char *out, size_t capacity, const void *text, size_t size)
{
    char copy[FERRY_WIRE_WHY_MAX];
    if (size >= sizeof copy)
        size = sizeof copy - 1;
    memcpy(copy, text, size);
    copy[size] = '\0';
    ferry__show_text(out, capacity, copy);
}

uint64_t ferry__wire_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
