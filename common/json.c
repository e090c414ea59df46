#include "common/json.h"

#include "common/utf8.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum state {
    WANT_VALUE,
    WANT_VALUE_OR_END, /* at an array's begin */
    WANT_KEY,
    WANT_KEY_OR_END,
    AFTER_VALUE,
};

void ferry__json_init(struct ferry__json *json, const void *text, size_t size)
{
    *json = (struct ferry__json){.begin = text, .at = text, .state = WANT_VALUE};
    json->end = size > 0 ? json->begin + size : json->begin;
}

static enum ferry__json_event wrong(struct ferry__json *json, const char *why)
{
    if (!json->wrong)
        json->wrong = why;
    json->text = (struct ferry__json_text){NULL, 0};
    return json->event = FERRY__JSON_WRONG;
}

size_t ferry__json_where(const struct ferry__json *json)
{
    return (size_t)(json->at - json->begin);
}

/* The next character after white space; 0: the text's end, or a byte 0 in it, which nothing
 * takes. */
static char peek(struct ferry__json *json)
{
    while (json->at < json->end &&
           (*json->at == ' ' || *json->at == '\n' || *json->at == '\r' || *json->at == '\t'))
        json->at++;
    return json->at < json->end ? *json->at : 0;
}

/* --- strings ---------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    const char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Four hexadecimal digits at `at`. */
static bool read_unit(const char *at, const char *end, uint32_t *out)
{
    uint32_t unit = 0;
    if (end - at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        const int digit = hex_digit(at[i]);
        if (digit < 0)
            return false;
        unit = unit << 4 | (uint32_t)digit;
    }
    *out = unit;
    return true;
}

/* An escape, after its backslash: bytes of it, and its character; 0: it is none. */
static size_t read_escape(const char *at, const char *end, uint32_t *out_code)
{
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    uint32_t code = 0, low = 0;
    if (at == end)
        return 0;
    if (*at != 'u') {
        const char *found = memchr(from, *at, sizeof from - 1);
        if (!found)
            return 0;
        *out_code = (unsigned char)into[found - from];
        return 1;
    }
    if (!read_unit(at + 1, end, &code) || (code >= 0xDC00 && code <= 0xDFFF))
        return 0;
    *out_code = code;
    if (code < 0xD800 || code > 0xDBFF)
        return 5;
    if (end - at < 11 || at[5] != '\\' || at[6] != 'u' || !read_unit(at + 7, end, &low) ||
        low < 0xDC00 || low > 0xDFFF)
        return 0;
    *out_code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    return 11;
}

/* Walks over one character of a string, which is not its closing quote. */
static const char *step(struct ferry__json *json)
{
    const unsigned char byte = (unsigned char)*json->at;
    uint32_t code = 0;
    size_t length = 1;
    if (byte == '\\') {
        length = read_escape(json->at + 1, json->end, &code);
        if (!length)
            return "an escape that there is not";
        length++;
    } else if (byte < 0x20) {
        return "a control character in a string";
    } else if (byte >= 0x80) {
        length = ferry__utf8_read(json->at, (size_t)(json->end - json->at), &code);
        if (!length)
            return "what is not UTF-8";
    }
    json->at += length;
    return NULL;
}

/* From the opening quote on; leaves the reader after the closing one. */
static const char *read_string(struct ferry__json *json, size_t max)
{
    const char *begin = ++json->at;
    while (json->at < json->end && *json->at != '"') {
        const char *why = step(json);
        if (why)
            return why;
        if ((size_t)(json->at - begin) > max)
            return max == FERRY__JSON_KEY_MAX ? "a key of over 65535 bytes"
                                              : "a string of over 16777216 bytes";
    }
    if (json->at == json->end)
        return "a string without an end";
    json->text = (struct ferry__json_text){begin, (size_t)(json->at - begin)};
    json->at++;
    return NULL;
}

/* --- numbers and words ------------------------------------------------------------------------ */

static size_t digits(const char *at, const char *end)
{
    const char *from = at;
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return (size_t)(at - from);
}

/* Bytes of the number at `at`; 0: it is none. */
static size_t number_length(const char *from, const char *end)
{
    const char *at = from;
    size_t count;
    if (at < end && *at == '-')
        at++;
    count = digits(at, end);
    if (!count || (*at == '0' && count > 1))
        return 0;
    at += count;
    if (at < end && *at == '.') {
        count = digits(++at, end);
        if (!count)
            return 0;
        at += count;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        count = digits(at, end);
        if (!count)
            return 0;
        at += count;
    }
    return (size_t)(at - from);
}

static const struct word {
    const char *text;
    size_t length;
    enum ferry__json_event event;
} words[] = {
    {"true", 4, FERRY__JSON_TRUE}, {"false", 5, FERRY__JSON_FALSE}, {"null", 4, FERRY__JSON_NULL}};

static enum ferry__json_event take(struct ferry__json *json, size_t length,
                                   enum ferry__json_event event)
{
    json->text = (struct ferry__json_text){json->at, length};
    json->at += length;
    json->state = AFTER_VALUE;
    return event;
}

static enum ferry__json_event read_word(struct ferry__json *json)
{
    const size_t left = (size_t)(json->end - json->at);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (left >= words[i].length && !memcmp(json->at, words[i].text, words[i].length))
            return take(json, words[i].length, words[i].event);
    const size_t length = number_length(json->at, json->end);
    if (length > FERRY__JSON_NUMBER_MAX)
        return wrong(json, "a number of over 1024 characters");
    return length ? take(json, length, FERRY__JSON_NUMBER) : wrong(json, "no value");
}

/* --- structure -------------------------------------------------------------------------------- */

static bool in_object(const struct ferry__json *json)
{
    return json->objects >> (json->depth - 1) & 1;
}

static enum ferry__json_event open_level(struct ferry__json *json, bool object)
{
    if (json->depth == FERRY__JSON_DEPTH_MAX)
        return wrong(json, "values deeper than 64 levels");
    const uint64_t bit = (uint64_t)1 << json->depth++;
    json->objects = object ? json->objects | bit : json->objects & ~bit;
    json->state = object ? WANT_KEY_OR_END : WANT_VALUE_OR_END;
    json->at++;
    return object ? FERRY__JSON_OBJECT : FERRY__JSON_ARRAY;
}

static enum ferry__json_event close_level(struct ferry__json *json)
{
    const bool object = in_object(json);
    json->depth--;
    json->state = AFTER_VALUE;
    json->at++;
    return object ? FERRY__JSON_OBJECT_END : FERRY__JSON_ARRAY_END;
}

static enum ferry__json_event read_key(struct ferry__json *json)
{
    if (peek(json) != '"')
        return wrong(json, "no key");
    const char *why = read_string(json, FERRY__JSON_KEY_MAX);
    if (why)
        return wrong(json, why);
    if (peek(json) != ':')
        return wrong(json, "no colon after a key");
    json->at++;
    json->state = WANT_VALUE;
    return FERRY__JSON_KEY;
}

static enum ferry__json_event read_value(struct ferry__json *json)
{
    const char *why;
    switch (peek(json)) {
    case '{': return open_level(json, true);
    case '[': return open_level(json, false);
    case '"':
        why = read_string(json, FERRY__JSON_STRING_MAX);
        json->state = AFTER_VALUE;
        return why ? wrong(json, why) : FERRY__JSON_STRING;
    default: return json->at == json->end ? wrong(json, "its end is missing") : read_word(json);
    }
}

/* After a value: its level goes on, or ends, or it was the whole. */
static enum ferry__json_event read_after(struct ferry__json *json)
{
    const char next = peek(json);
    if (!json->depth)
        return json->at == json->end ? FERRY__JSON_END : wrong(json, "more after its end");
    if (next == (in_object(json) ? '}' : ']'))
        return close_level(json);
    if (next != ',')
        return wrong(json, json->at == json->end ? "its end is missing" : "no comma");
    json->at++;
    json->state = in_object(json) ? WANT_KEY : WANT_VALUE;
    return FERRY__JSON_WRONG; /* nothing yet: the caller goes on */
}

enum ferry__json_event ferry__json_next(struct ferry__json *json)
{
    if (json->wrong)
        return FERRY__JSON_WRONG;
    if (json->state == AFTER_VALUE) {
        const enum ferry__json_event event = read_after(json);
        if (event != FERRY__JSON_WRONG || json->wrong)
            return json->event = event;
    }
    if (json->state == WANT_KEY_OR_END && peek(json) == '}')
        return json->event = close_level(json);
    if (json->state == WANT_VALUE_OR_END && peek(json) == ']')
        return json->event = close_level(json);
    if (json->nodes == FERRY__JSON_NODES_MAX)
        return wrong(json, "over 16777216 values");
    json->nodes++;
    return json->event = json->state == WANT_KEY || json->state == WANT_KEY_OR_END
                             ? read_key(json)
                             : read_value(json);
}

bool ferry__json_skip(struct ferry__json *json)
{
    if (json->event != FERRY__JSON_OBJECT && json->event != FERRY__JSON_ARRAY)
        return json->event != FERRY__JSON_WRONG;
    const uint32_t outside = json->depth - 1;
    while (json->depth > outside)
        if (ferry__json_next(json) == FERRY__JSON_WRONG)
            return false;
    return true;
}

/* --- what a text says ------------------------------------------------------------------------- */

/* The bytes of a key or string one by one, escapes resolved. */
struct bytes {
    const char *at, *end;
    char character[4];
    unsigned next, length;
};

static int next_byte(struct bytes *bytes) /* -1: the end */
{
    uint32_t code = 0;
    if (bytes->next < bytes->length)
        return (unsigned char)bytes->character[bytes->next++];
    if (bytes->at == bytes->end)
        return -1;
    if (*bytes->at != '\\')
        return (unsigned char)*bytes->at++;
    bytes->at += 1 + read_escape(bytes->at + 1, bytes->end, &code);
    bytes->length = ferry__utf8_write(code, bytes->character);
    bytes->next = 1;
    return (unsigned char)bytes->character[0];
}

int ferry__json_compare(struct ferry__json_text a, struct ferry__json_text b)
{
    struct bytes x = {.at = a.at, .end = a.at + a.size}, y = {.at = b.at, .end = b.at + b.size};
    for (;;) {
        const int p = next_byte(&x), q = next_byte(&y);
        if (p != q || p < 0)
            return p - q;
    }
}

bool ferry__json_is(struct ferry__json_text text, const char *word)
{
    struct bytes bytes = {.at = text.at, .end = text.at + text.size};
    int byte;
    while ((byte = next_byte(&bytes)) > 0 && byte == (unsigned char)*word)
        word++;
    return byte < 0 && !*word;
}

size_t ferry__json_copy(struct ferry__json_text text, char *out, size_t capacity)
{
    struct bytes bytes = {.at = text.at, .end = text.at + text.size};
    size_t size = 0;
    int byte;
    for (; (byte = next_byte(&bytes)) >= 0; size++)
        if (size + 1 < capacity)
            out[size] = (char)byte;
    if (capacity)
        out[size < capacity ? size : capacity - 1] = 0;
    return size;
}

bool ferry__json_whole(struct ferry__json_text text, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        const unsigned digit = (unsigned char)text.at[i] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value) || value > INT64_MAX)
            return false;
    }
    *out = value;
    return text.size > 0;
}
