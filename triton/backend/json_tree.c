#include "json_tree.h"

#include "common/json.h"

#include <stdlib.h>
#include <string.h>

const char JSON_NO_MEMORY[] = "no host memory";

struct builder {
    struct ferry__json reader;
    struct json *open[FERRY__JSON_DEPTH_MAX]; /* objects and arrays, the innermost last */
    struct json *last[FERRY__JSON_DEPTH_MAX]; /* of their members; NULL: none yet */
    struct json *root;
    struct ferry__json_text key;
    size_t nodes;
    const char *why; /* NULL: nothing is wrong yet */
};

static char *copy_text(struct builder *builder, struct ferry__json_text text)
{
    char *copy = malloc(text.size + 1);
    if (!copy)
        builder->why = JSON_NO_MEMORY;
    else if (ferry__json_copy(text, copy, text.size + 1) != strlen(copy))
        builder->why = "a string contains a zero byte";
    return copy;
}

/* A new value, put where it belongs, so that whoever frees the root frees it. */
static struct json *add(struct builder *builder, enum json_type type)
{
    const size_t depth = builder->reader.depth - (type >= JSON_ARRAY);
    struct json *json = calloc(1, sizeof *json);
    if (!json || ++builder->nodes > JSON_NODES_MAX) {
        builder->why = json ? "more than 65536 values" : JSON_NO_MEMORY;
        free(json);
        return NULL;
    }
    json->type = type;
    if (!depth) {
        builder->root = json;
        return json;
    }
    struct json *parent = builder->open[depth - 1], *before = builder->last[depth - 1];
    *(before ? &before->next : &parent->first) = json;
    builder->last[depth - 1] = json;
    if (parent->type == JSON_OBJECT)
        json->key = copy_text(builder, builder->key);
    return json;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp((*(const struct json *const *)a)->key, (*(const struct json *const *)b)->key);
}

static void check_keys(struct builder *builder, const struct json *object)
{
    size_t count = 0;
    for (const struct json *member = object->first; member; member = member->next)
        count++;
    const struct json **members = malloc((count + 1) * sizeof *members);
    if (!members) {
        builder->why = JSON_NO_MEMORY;
        return;
    }
    count = 0;
    for (const struct json *member = object->first; member; member = member->next)
        members[count++] = member;
    qsort(members, count, sizeof *members, compare_keys);
    for (size_t i = 1; i < count; i++)
        if (!strcmp(members[i - 1]->key, members[i]->key))
            builder->why = "a key appears twice in an object";
    free(members);
}

static void take(struct builder *builder, enum ferry__json_event event)
{
    static const enum json_type types[] = {
        [FERRY__JSON_OBJECT] = JSON_OBJECT, [FERRY__JSON_ARRAY] = JSON_ARRAY,
        [FERRY__JSON_STRING] = JSON_STRING, [FERRY__JSON_NUMBER] = JSON_NUMBER,
        [FERRY__JSON_TRUE] = JSON_BOOL,     [FERRY__JSON_FALSE] = JSON_BOOL,
        [FERRY__JSON_NULL] = JSON_NULL,
    };
    struct ferry__json *reader = &builder->reader;
    if (event == FERRY__JSON_KEY) {
        builder->key = reader->text;
        return;
    }
    if (event == FERRY__JSON_OBJECT_END || event == FERRY__JSON_ARRAY_END) {
        if (event == FERRY__JSON_OBJECT_END)
            check_keys(builder, builder->open[reader->depth]);
        return;
    }
    struct json *json = add(builder, types[event]);
    if (json && json->type >= JSON_ARRAY) {
        builder->open[reader->depth - 1] = json;
        builder->last[reader->depth - 1] = NULL;
    } else if (json && json->type != JSON_NULL) {
        json->text = copy_text(builder, reader->text);
    }
}

struct json *json_parse(const char *text, size_t size, const char **why)
{
    struct builder builder = {.root = NULL};
    enum ferry__json_event event = FERRY__JSON_NULL;
    ferry__json_init(&builder.reader, text, size);
    while (!builder.why) {
        event = ferry__json_next(&builder.reader);
        if (event == FERRY__JSON_END)
            return builder.root;
        if (event == FERRY__JSON_WRONG)
            builder.why = builder.reader.wrong;
        else
            take(&builder, event);
    }
    json_free(builder.root);
    *why = builder.why;
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
