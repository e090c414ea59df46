#include "json.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 64 };

struct reader {
    const char *at, *end;
};

static struct json *read_value(struct reader *reader, int depth);

static char peek(struct reader *reader)
{
    while (reader->at < reader->end && isspace((unsigned char)*reader->at))
        reader->at++;
    return reader->at < reader->end ? *reader->at : 0;
}

static bool take(struct reader *reader, char c)
{
    if (peek(reader) != c)
        return false;
    reader->at++;
    return true;
}

/* Four hexadecimal digits as UTF-8. */
static bool read_unicode(struct reader *reader, char **to)
{
    unsigned code = 0;
    if (reader->end - reader->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        const int c = *reader->at++;
        if (!isxdigit(c))
            return false;
        code = 16 * code + (unsigned)(isdigit(c) ? c - '0' : tolower(c) - 'a' + 10);
    }
    if (code < 0x80) {
        *(*to)++ = (char)code;
    } else if (code < 0x800) {
        *(*to)++ = (char)(0xc0 | code >> 6);
        *(*to)++ = (char)(0x80 | (code & 0x3f));
    } else {
        *(*to)++ = (char)(0xe0 | code >> 12);
        *(*to)++ = (char)(0x80 | (code >> 6 & 0x3f));
        *(*to)++ = (char)(0x80 | (code & 0x3f));
    }
    return true;
}

static bool read_escape(struct reader *reader, char **to)
{
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    const char c = reader->at < reader->end ? *reader->at++ : 0;
    if (c == 'u')
        return read_unicode(reader, to);
    const char *found = c ? strchr(from, c) : NULL;
    if (!found)
        return false;
    *(*to)++ = into[found - from];
    return true;
}

/* The text between quotes, at the first of which the reader is. NULL: a mistake. */
static char *read_string(struct reader *reader)
{
    if (!take(reader, '"'))
        return NULL;
    char *text = malloc((size_t)(reader->end - reader->at) + 1), *to = text;
    while (text && reader->at < reader->end) {
        const char c = *reader->at++;
        if (c == '"') {
            *to = 0;
            return text;
        }
        if (c != '\\')
            *to++ = c;
        else if (!read_escape(reader, &to))
            break;
    }
    free(text);
    return NULL;
}

/* A number, true, false or null as it stands. */
static bool read_word(struct reader *reader, struct json *json)
{
    const char *start = reader->at;
    while (reader->at < reader->end &&
           (isalnum((unsigned char)*reader->at) || strchr("+-.", *reader->at)))
        reader->at++;
    json->text = strndup(start, (size_t)(reader->at - start));
    if (!json->text || !json->text[0])
        return false;
    if (!strcmp(json->text, "null"))
        json->type = JSON_NULL;
    else if (!strcmp(json->text, "true") || !strcmp(json->text, "false"))
        json->type = JSON_BOOL;
    else if (!isdigit((unsigned char)json->text[0]) && json->text[0] != '-')
        return false;
    else
        json->type = JSON_NUMBER;
    return true;
}

static bool read_members(struct reader *reader, struct json *json, int depth)
{
    const bool object = json->type == JSON_OBJECT;
    const char close = object ? '}' : ']';
    struct json **link = &json->first;
    reader->at++;
    if (take(reader, close))
        return true;
    do {
        char *key = object ? read_string(reader) : NULL;
        if (object && (!key || !take(reader, ':'))) {
            free(key);
            return false;
        }
        *link = read_value(reader, depth + 1);
        if (!*link) {
            free(key);
            return false;
        }
        (*link)->key = key;
        link = &(*link)->next;
    } while (take(reader, ','));
    return take(reader, close);
}

static struct json *read_value(struct reader *reader, int depth)
{
    struct json *json = calloc(1, sizeof *json);
    bool good = false;
    if (!json || depth > DEPTH_MAX) {
        free(json);
        return NULL;
    }
    switch (peek(reader)) {
    case '"':
        json->type = JSON_STRING;
        json->text = read_string(reader);
        good = json->text != NULL;
        break;
    case '{':
    case '[':
        json->type = *reader->at == '{' ? JSON_OBJECT : JSON_ARRAY;
        good = read_members(reader, json, depth);
        break;
    default: good = read_word(reader, json);
    }
    if (good)
        return json;
    json_free(json);
    return NULL;
}

struct json *json_parse(const char *text, size_t size)
{
    struct reader reader = {text, text + size};
    struct json *json = read_value(&reader, 0);
    if (json && !peek(&reader))
        return json;
    json_free(json);
    return NULL;
}

void json_free(struct json *json)
{
    while (json) {
        struct json *next = json->next;
        json_free(json->first);
        free(json->key);
        free(json->text);
        free(json);
        json = next;
    }
}

const struct json *json_get(const struct json *object, const char *key)
{
    const struct json *member = object && object->type == JSON_OBJECT ? object->first : NULL;
    while (member && strcmp(member->key, key))
        member = member->next;
    return member;
}

const char *json_text(const struct json *json, const char *otherwise)
{
    return json && json->text ? json->text : otherwise;
}
