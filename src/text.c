#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static size_t room(const struct ferry__text *text)
{
    return text->length < text->capacity ? text->capacity - text->length : 0;
}

void ferry__put(struct ferry__text *text, const char *format, ...)
{
    size_t left = room(text);
    va_list args;
    va_start(args, format);
    int length = vsnprintf(left > 0 ? text->out + text->length : NULL, left, format, args);
    va_end(args);
    text->length += length > 0 ? (size_t)length : 0;
}

void ferry__put_seconds(struct ferry__text *text, uint64_t time_ns)
{
    ferry__put(text, "%" PRIu64 ".%09" PRIu64, time_ns / 1000000000u, time_ns % 1000000000u);
}

void ferry__put_microseconds(struct ferry__text *text, uint64_t time_ns)
{
    ferry__put(text, "%" PRIu64 ".%03" PRIu64, time_ns / 1000u, time_ns % 1000u);
}

/* Bytes of the character that string begins with; 0: it is not UTF-8 (RFC 3629). */
static unsigned character(const unsigned char *string)
{
    static const struct {
        unsigned char first, last, second_first, second_last, length;
    } forms[] = {
        {0x01, 0x7F, 0, 0, 1},       {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
        {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
        {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (string[0] < forms[i].first || string[0] > forms[i].last)
            continue;
        if (forms[i].length > 1 &&
            (string[1] < forms[i].second_first || string[1] > forms[i].second_last))
            return 0;
        for (unsigned at = 2; at < forms[i].length; at++)
            if ((string[at] & 0xC0) != 0x80)
                return 0;
        return forms[i].length;
    }
    return 0;
}

static void put_quoted(struct ferry__text *text, const char *string, bool json)
{
    const unsigned char *at = (const unsigned char *)string;
    ferry__put(text, "\"");
    while (*at != '\0') {
        unsigned length = character(at);
        if (length == 0)
            ferry__put(text, "\xEF\xBF\xBD");
        else if (*at == '"' || *at == '\\')
            ferry__put(text, "\\%c", *at);
        else if (*at == '\n')
            ferry__put(text, "\\n");
        else if (*at < 0x20)
            ferry__put(text, json ? "\\u%04x" : "%c", *at);
        else
            ferry__put(text, "%.*s", (int)length, (const char *)at);
        at += length > 0 ? length : 1;
    }
    ferry__put(text, "\"");
}

void ferry__put_json(struct ferry__text *text, const char *string)
{
    put_quoted(text, string, true);
}

void ferry__put_label(struct ferry__text *text, const char *string)
{
    put_quoted(text, string, false);
}
