#include "core.h"

#include <ctype.h>

/* config.pbtxt as JSON: the text form of protocol buffers, as far as configurations use it. */

enum { FIELDS_MAX = 64 };

struct text {
    const char *at;
    char *why;
    size_t why_size;
    bool bad;
};

struct fields {
    char names[FIELDS_MAX][NAME_SIZE];
    char *values[FIELDS_MAX];
    size_t count;
};

static void skip(struct text *text)
{
    for (;;) {
        while (*text->at && (isspace((unsigned char)*text->at) || strchr(",;", *text->at)))
            text->at++;
        if (*text->at != '#')
            return;
        while (*text->at && *text->at != '\n')
            text->at++;
    }
}

static void spoil(struct text *text, const char *what)
{
    if (!text->bad)
        snprintf(text->why, text->why_size, "config.pbtxt: %s at \"%.20s\"", what, text->at);
    text->bad = true;
}

static bool take(struct text *text, char c)
{
    skip(text);
    if (*text->at != c)
        return false;
    text->at++;
    return true;
}

static char *join(char *a, const char *b)
{
    const size_t length = a ? strlen(a) : 0;
    a = realloc(a, length + strlen(b) + 1);
    if (!a)
        abort();
    strcpy(a + length, b);
    return a;
}

static char *parse_message(struct text *text, char end, const char *name);

/* A number or a word of an enum; words are strings in JSON, but for true and false. */
static char *parse_word(struct text *text)
{
    char word[128];
    size_t length = 0;
    while (*text->at && (isalnum((unsigned char)*text->at) || strchr("_.-+", *text->at)) &&
           length + 3 < sizeof word)
        word[length++] = *text->at++;
    word[length] = 0;
    if (!length) {
        spoil(text, "no value");
        if (*text->at)
            text->at++;
    }
    const bool plain = isdigit((unsigned char)word[0]) || word[0] == '-' || !strcmp(word, "true") ||
                       !strcmp(word, "false");
    char quoted[sizeof word + 2];
    snprintf(quoted, sizeof quoted, plain ? "%s" : "\"%s\"", word);
    return join(NULL, quoted);
}

static char *parse_string(struct text *text)
{
    const char *start = text->at++;
    while (*text->at && *text->at != '"')
        text->at += text->at[0] == '\\' && text->at[1] ? 2 : 1;
    if (*text->at)
        text->at++;
    else
        spoil(text, "no closing quote");
    char *copy = strndup(start, (size_t)(text->at - start));
    if (!copy)
        abort();
    return copy;
}

static char *parse_value(struct text *text, const char *name)
{
    skip(text);
    if (*text->at == '"')
        return parse_string(text);
    if (take(text, '{'))
        return parse_message(text, '}', name);
    if (!take(text, '['))
        return parse_word(text);
    char *list = join(NULL, "[");
    for (bool first = true; !take(text, ']') && !text->bad; first = false) {
        char *value = parse_value(text, name);
        if (!first)
            list = join(list, ",");
        list = join(list, value);
        free(value);
    }
    return join(list, "]");
}

static void add(struct fields *fields, const char *name, char *value)
{
    if (fields->count == FIELDS_MAX)
        abort();
    snprintf(fields->names[fields->count], NAME_SIZE, "%s", name);
    fields->values[fields->count++] = value;
}

static bool is_repeated(const char *name)
{
    static const char *const names[] = {"input", "output", "instance_group", "dims", "gpus"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

/* All of one name: the elements of a list, the entries of the map "parameters", or one value. */
static char *print_name(struct fields *fields, size_t first)
{
    const char *name = fields->names[first];
    const bool list = is_repeated(name), map = !strcmp(name, "parameters");
    char *json = join(NULL, list ? "[" : map ? "{" : "");
    bool any = false;
    for (size_t i = first; i < fields->count; i++) {
        char *value = fields->values[i];
        if (!value || strcmp(fields->names[i], name))
            continue;
        if (any)
            json = join(json, ",");
        any = true;
        const size_t length = strlen(value);
        if ((list || map) && (value[0] == '[' || map))
            value[length - 1] = 0;
        /* A list in brackets, or a map's entry, goes in without them. */
        json = join(json, (list && value[0] == '[') || map ? value + 1 : value);
        free(fields->values[i]);
        fields->values[i] = NULL;
    }
    return join(json, list ? "]" : map ? "}" : "");
}

static char *print(struct fields *fields)
{
    char *json = join(NULL, "{");
    for (size_t i = 0; i < fields->count; i++) {
        if (!fields->values[i])
            continue;
        char *value = print_name(fields, i);
        char start[NAME_SIZE + 8];
        snprintf(start, sizeof start, "%s\"%s\":", json[1] ? "," : "", fields->names[i]);
        json = join(json, start);
        json = join(json, value);
        free(value);
    }
    return join(json, "}");
}

/* An entry {key: "k" value: {...}} of a map is {"k":{...}}. */
static char *print_entry(struct fields *fields)
{
    char *key = NULL, *value = NULL;
    for (size_t i = 0; i < fields->count; i++)
        *(strcmp(fields->names[i], "key") ? &value : &key) = fields->values[i];
    char *json = join(NULL, "{");
    json = join(json, key ? key : "\"\"");
    json = join(json, ":");
    json = join(json, value ? value : "{}");
    free(key);
    free(value);
    return join(json, "}");
}

static char *parse_message(struct text *text, char end, const char *of)
{
    struct fields *fields = calloc(1, sizeof *fields);
    if (!fields)
        abort();
    for (skip(text); !text->bad && *text->at && *text->at != end; skip(text)) {
        char name[NAME_SIZE];
        size_t length = 0;
        while ((isalnum((unsigned char)*text->at) || *text->at == '_') && length + 1 < sizeof name)
            name[length++] = *text->at++;
        name[length] = 0;
        if (!length)
            spoil(text, "no name");
        (void)take(text, ':');
        add(fields, name, parse_value(text, name));
    }
    if (end && !take(text, end))
        spoil(text, "no closing bracket");
    char *json = !strcmp(of, "parameters") ? print_entry(fields) : print(fields);
    free(fields);
    return json;
}

char *config_to_json(const char *source, char *why, size_t why_size)
{
    struct text text = {.at = source, .why = why, .why_size = why_size};
    char *json = parse_message(&text, 0, "");
    if (!text.bad)
        return json;
    free(json);
    return NULL;
}
