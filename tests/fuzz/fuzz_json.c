/* Any bytes as JSON: the same events every time, all texts inside the input, and what is copied out
 * compares as what it was copied from. */
#include "fuzz.h"

#include "common/json.h"

#include <stdlib.h>
#include <string.h>

enum { COPY_MAX = 4096 };

static void check(bool good)
{
    if (!good)
        abort();
}

static void check_text(const uint8_t *data, size_t size, struct ferry__json_text text)
{
    static char copy[COPY_MAX];
    const char *begin = (const char *)data;
    check(text.at >= begin && text.at <= begin + size);
    check(text.size <= size - (size_t)(text.at - begin));
    const size_t length = ferry__json_copy(text, copy, sizeof copy);
    check(length <= text.size && ferry__json_compare(text, text) == 0);
    check(copy[length < sizeof copy ? length : sizeof copy - 1] == 0);
    if (length < sizeof copy && strlen(copy) == length)
        check(ferry__json_is(text, copy));
    if (length > 0 && length < sizeof copy) {
        copy[length - 1]++;
        check(!ferry__json_is(text, copy));
    }
}

/* Events until the end; the depth as they tell it. */
static uint64_t walk(const uint8_t *data, size_t size, bool skip)
{
    struct ferry__json json;
    uint64_t events = 0;
    ferry__json_init(&json, data, size);
    for (;;) {
        const enum ferry__json_event event = ferry__json_next(&json);
        check(ferry__json_where(&json) <= size && json.depth <= FERRY__JSON_DEPTH_MAX);
        check((event == FERRY__JSON_WRONG) == (json.wrong != NULL));
        if (event == FERRY__JSON_WRONG)
            return UINT64_MAX;
        if (event == FERRY__JSON_END)
            return events;
        if (event == FERRY__JSON_KEY || event == FERRY__JSON_STRING)
            check_text(data, size, json.text);
        if (skip && !ferry__json_skip(&json))
            return UINT64_MAX;
        check(++events <= 2 * (uint64_t)size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint64_t events = walk(data, size, false);
    const uint64_t skipped = walk(data, size, true);
    check((events == UINT64_MAX) == (skipped == UINT64_MAX));
    check(skipped == UINT64_MAX || skipped == 1);
    return 0;
}
