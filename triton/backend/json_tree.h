/* A whole text of JSON in memory: the form in which the server gives a model's configuration. Read by
 * common/json.h, whose rules and limits hold; no key twice in an object, no byte 0 in a text, and at most
 * JSON_NODES_MAX values. */
#ifndef FERRY_BACKEND_JSON_TREE_H
#define FERRY_BACKEND_JSON_TREE_H

#include <stdbool.h>
#include <stddef.h>

enum { JSON_NODES_MAX = 65536 };

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
    enum json_type type;
    char *key;  /* in an object */
    char *text; /* of a string, without quotes and escapes; of a number or bool as it stands */
    struct json *first, *next;
};

/* NULL: why is why, JSON_NO_MEMORY where there was none for it. To be freed. */
extern const char JSON_NO_MEMORY[];
struct json *json_parse(const char *text, size_t size, const char **why);
void json_free(struct json *json);

/* The member of an object; NULL: none, or it is no object. NULL is allowed. */
const struct json *json_get(const struct json *object, const char *key);

/* The text of a string, number or bool; otherwise if there is none. NULL is allowed. */
const char *json_text(const struct json *json, const char *otherwise);

#endif
