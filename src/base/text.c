#include "base/text.h"

#include "common/show.h"
#include "common/utf8.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
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

/* A character that is not for showing: JSON has an escape for it, a label has what ferry__show_text
 * makes of it. */
static void put_hidden(struct ferry__text *text, uint32_t code, bool json)
{
    if (!json && code < 0x80)
        ferry__put(text, "\\\\x%02x", (unsigned)code);
    else if (!json)
        ferry__put(text, code > 0xFFFF ? "\\\\U%08x" : "\\\\u%04x", (unsigned)code);
    else if (code > 0xFFFF)
        ferry__put(text, "\\u%04x\\u%04x", (unsigned)(0xD7C0 + (code >> 10)),
                   (unsigned)(0xDC00 | (code & 0x3FF)));
    else
        ferry__put(text, "\\u%04x", (unsigned)code);
}

static void put_quoted(struct ferry__text *text, const char *string, bool json)
{
    uint32_t code = 0;
    ferry__put(text, "\"");
    for (const char *at = string; *at != '\0';) {
        const unsigned length = ferry__utf8_read(at, strnlen(at, 4), &code);
        if (length == 0)
            ferry__put(text, "\xEF\xBF\xBD");
        else if (*at == '"' || *at == '\\')
            ferry__put(text, "\\%c", *at);
        else if (*at == '\n')
            ferry__put(text, "\\n");
        else if (!ferry__is_shown(code))
            put_hidden(text, code, json);
        else
            ferry__put(text, "%.*s", (int)length, at);
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
