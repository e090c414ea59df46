/* Any bytes as the configuration of a Triton model: a tree, or a reason; no key twice in an object. */
#include "fuzz.h"

#include "triton/backend/json_tree.h"

#include <stdlib.h>

static void check(const struct json *value)
{
    if ((value->type == JSON_STRING || value->type == JSON_NUMBER || value->type == JSON_BOOL) !=
        (value->text != NULL))
        abort();
    for (const struct json *member = value->first; member; member = member->next) {
        if ((value->type == JSON_OBJECT) != (member->key != NULL))
            abort();
        if (member->key && json_get(value, member->key) != member)
            abort();
        check(member);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *why = NULL;
    struct json *json = json_parse((const char *)data, size, &why);
    if (!json != (why != NULL))
        abort();
    if (json)
        check(json);
    json_free(json);
    return 0;
}
