#include "engine/failure.h"

#include "base/alloc.h"
#include "base/interval.h"
#include "engine/reason.h"

#include <ferry/ferry.h>

const char *ferry__failed_why(const struct ferry__failed *failed)
{
    return ferry__reason_text(failed->reason);
}

/* --- intervals -------------------------------------------------------------------------------- */

static struct ferry__failed *failed_of(struct ferry__interval *interval)
{
    return (struct ferry__failed *)interval; /* its first member */
}

const struct ferry__failed *ferry__failed_find(const struct ferry__failures *failures,
                                               uint64_t begin, uint64_t end)
{
    struct ferry__interval *node = ferry__interval_after(&failures->tree, begin);
    return node && node->begin < end ? failed_of(node) : NULL;
}

static struct ferry__failed *node_take(struct ferry__failures *failures)
{
    struct ferry__failed *node = ferry__alloc(sizeof *node);
    if (node || failures->last_resort_used)
        return node;
    failures->last_resort_used = true;
    return &failures->last_resort;
}

static void node_give(struct ferry__failures *failures, struct ferry__failed *node)
{
    ferry__reason_unref(node->reason);
    if (node == &failures->last_resort)
        failures->last_resort_used = false;
    else
        ferry__free(node);
}

static void put(struct ferry__failures *failures, struct ferry__failed *node, uint64_t begin,
                uint64_t end, const struct ferry__failed *as)
{
    *node = (struct ferry__failed){
        .interval = {.begin = begin, .end = end, .stamp = as->interval.stamp},
        .status = as->status,
        .reason = ferry__reason_ref(as->reason)};
    ferry__interval_insert(&failures->tree, &node->interval);
}

static void drop(struct ferry__failures *failures, struct ferry__interval *node)
{
    ferry__interval_remove(&failures->tree, node);
    node_give(failures, failed_of(node));
}

/* Takes [begin, end) from one interval that meets it. */
static void cut(struct ferry__failures *failures, struct ferry__interval *node, uint64_t begin,
                uint64_t end)
{
    const uint64_t old_end = node->end;
    struct ferry__failed *rest = NULL;
    if (node->begin >= begin && old_end <= end) {
        drop(failures, node);
        return;
    }
    if (node->begin >= begin) {
        node->begin = end;
        return;
    }
    if (old_end > end && !(rest = node_take(failures)))
        return;
    node->end = begin;
    ferry__interval_changed(node);
    if (rest)
        put(failures, rest, end, old_end, failed_of(node));
}

void ferry__failed_cover(struct ferry__failures *failures, uint64_t begin, uint64_t end,
                         uint64_t up_to)
{
    struct ferry__interval *node = ferry__interval_after(&failures->tree, begin), *next;
    for (; node && node->begin < end; node = next) {
        next = ferry__interval_next(node);
        if (node->stamp <= up_to)
            cut(failures, node, begin, end);
    }
}

/* No memory for another interval: a neighbour takes these bytes in, and what lies between. */
static void widen(struct ferry__failures *failures, uint64_t begin, uint64_t end,
                  enum ferry_status status)
{
    struct ferry__interval *node = ferry__interval_after(&failures->tree, begin), *next;
    if (!node) /* all end before it; the last resort is in use, so there is one */
        for (node = failures->tree.root; node->right;)
            node = node->right;
    if (node->begin > begin)
        node->begin = begin;
    if (node->end < end)
        node->end = end;
    while ((next = ferry__interval_next(node)) && next->begin < node->end) {
        if (next->end > node->end)
            node->end = next->end;
        drop(failures, next);
    }
    node->stamp = failures->count;
    failed_of(node)->status = status;
    ferry__interval_changed(node);
}

void ferry__failed_add(struct ferry__failures *failures, uint64_t begin, uint64_t end,
                       enum ferry_status status, struct ferry__reason *reason)
{
    if (begin >= end)
        return;
    const struct ferry__failed as = {
        .interval = {.stamp = ++failures->count}, .status = status, .reason = reason};
    ferry__failed_cover(failures, begin, end, UINT64_MAX);
    struct ferry__failed *node = NULL;
    if (!ferry__failed_find(failures, begin, end)) /* all of it could be cut out */
        node = node_take(failures);
    if (node)
        put(failures, node, begin, end, &as);
    else
        widen(failures, begin, end, status);
}

void ferry__failed_finish(struct ferry__failures *failures)
{
    while (failures->tree.root)
        drop(failures, failures->tree.root);
}
