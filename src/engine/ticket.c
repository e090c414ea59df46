#include "engine/ticket.h"

#include "base/alloc.h"
#include "base/status.h"
#include "base/tree.h"
#include "engine/device.h"
#include "engine/op.h"
#include "engine/reason.h"

#include <assert.h>
#include <ferry/ferry.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

/* Tickets: numbers of ops, by which they are found, and what is kept of those that failed. */

bool ferry__tickets_init(struct ferry__tickets *tickets)
{
    tickets->reasons = ferry__alloc(FERRY__REASONS_KEPT * sizeof(struct ferry__reason *));
    return tickets->reasons;
}

static struct ferry__op *find_in(const struct ferry__tree *tree, ferry_ticket ticket)
{
    struct ferry__node *node = ferry__tree_floor(tree, ticket);
    return node && node->key == ticket ? ferry__living(node) : NULL;
}

struct ferry__op *ferry__ticket_find(const struct ferry_device *device, ferry_ticket ticket)
{
    struct ferry__op *op = find_in(&device->living, ticket);
    return op ? op : find_in(&device->tickets.held, ticket);
}

/* --- what failed ------------------------------------------------------------------------------ */

struct failure {
    ferry_ticket ticket;
    uint32_t status;
    uint32_t reason; /* its number */
};

/* Failures by ticket. A page lies in the memory of an op that failed: whoever fails brings the
 * memory that it may need. */
struct page {
    struct ferry__node node; /* its key is no more than its first ticket, and over all before */
    size_t count;
    struct failure list[];
};

enum {
    OP_MIN =
        sizeof(struct ferry__op) + sizeof(struct ferry__range), /* bytes: one range is in any */
    PAGE_MAX = (OP_MIN - sizeof(struct page)) / sizeof(struct failure),
};

static_assert((int)PAGE_MAX >= 8, "a page of failures takes little more than its failures");

static struct page *page_of(struct ferry__node *node)
{
    return FERRY__OF_NODE(node, struct page, node);
}

/* How many of a page's tickets are smaller. */
static size_t count_before(const struct page *page, ferry_ticket ticket)
{
    size_t low = 0, high = page->count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (page->list[middle].ticket < ticket)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct failure *find_failure(const struct ferry__tickets *tickets, ferry_ticket ticket)
{
    struct ferry__node *node = ferry__tree_floor(&tickets->failed, ticket);
    if (!node)
        return NULL;
    const struct page *page = page_of(node);
    const size_t at = count_before(page, ticket);
    return at < page->count && page->list[at].ticket == ticket ? &page->list[at] : NULL;
}

/* A page in memory that holds one, for what is not before first. */
static struct page *add_page(struct ferry__tickets *tickets, void *memory, ferry_ticket first)
{
    struct page *page = memory;
    page->node = (struct ferry__node){.key = first};
    page->count = 0;
    ferry__tree_add(&tickets->failed, &page->node);
    return page;
}

/* The upper half of a full page goes into a new one; where tickets rise, nothing does. */
static struct page *split(struct ferry__tickets *tickets, struct page *page, void *memory,
                          ferry_ticket ticket)
{
    if (page->list[page->count - 1].ticket < ticket)
        return add_page(tickets, memory, ticket);
    const size_t half = page->count / 2;
    struct page *upper = add_page(tickets, memory, page->list[half].ticket);
    upper->count = page->count - half;
    memcpy(upper->list, &page->list[half], upper->count * sizeof *upper->list);
    page->count = half;
    return ticket < upper->node.key ? page : upper;
}

/* The page that a ticket goes to: one that falls between two pages may go to either, so that pages
 * fill up whether tickets rise or fall. NULL: there is none. */
static struct page *page_for(const struct ferry__tickets *tickets, ferry_ticket ticket)
{
    struct ferry__node *node = ferry__tree_floor(&tickets->failed, ticket);
    struct ferry__node *next = node ? ferry__tree_next(node) : tickets->failed.first;
    const bool between = !node || (page_of(node)->count == PAGE_MAX &&
                                   page_of(node)->list[PAGE_MAX - 1].ticket < ticket);
    if (!between || !next || page_of(next)->count == PAGE_MAX)
        return node ? page_of(node) : NULL;
    next->key = ticket;
    return page_of(next);
}

/* True: the memory is used. */
static bool add_failure(struct ferry__tickets *tickets, struct failure failure, void *memory)
{
    struct page *page = page_for(tickets, failure.ticket);
    const bool uses = !page || page->count == PAGE_MAX;
    if (uses)
        page = page ? split(tickets, page, memory, failure.ticket)
                    : add_page(tickets, memory, failure.ticket);
    const size_t at = count_before(page, failure.ticket);
    memmove(&page->list[at + 1], &page->list[at], (page->count - at) * sizeof *page->list);
    page->list[at] = failure;
    page->count++;
    return uses;
}

/* The number of a reason, which is kept with the latest. Who fails for the same one after another
 * shares it. */
static uint32_t keep_reason(struct ferry__tickets *tickets, struct ferry__reason *reason)
{
    if (tickets->reason_count &&
        tickets->reasons[tickets->reason_count % FERRY__REASONS_KEPT] == reason)
        return tickets->reason_count;
    struct ferry__reason **place = &tickets->reasons[++tickets->reason_count % FERRY__REASONS_KEPT];
    ferry__reason_unref(*place);
    *place = ferry__reason_ref(reason);
    return tickets->reason_count;
}

void ferry__ticket_keep(struct ferry_device *device, struct ferry__op *op)
{
    struct ferry__tickets *tickets = &device->tickets;
    struct ferry__reason *reason = ferry__op_why(op);
    const struct failure failure = {op->ticket, op->status, keep_reason(tickets, reason)};
    ferry__tree_remove(&tickets->held, &op->living);
    if (!add_failure(tickets, failure, op))
        ferry__free(op);
    ferry__reason_unref(reason);
}

enum ferry_status ferry__ticket_status(const struct ferry_device *device, ferry_ticket ticket)
{
    const struct ferry__tickets *tickets = &device->tickets;
    const struct ferry__op *op = ferry__ticket_find(device, ticket);
    if (op && !atomic_load(&op->told))
        return FERRY_PENDING;
    if (op) {
        if (op->status)
            ferry__set_error(ferry__reason_text(ferry__op_why(op)));
        return op->status;
    }
    const struct failure *failure = find_failure(tickets, ticket);
    if (!failure)
        return FERRY_OK;
    const enum ferry_status status = (enum ferry_status)failure->status;
    if (tickets->reason_count - failure->reason < FERRY__REASONS_KEPT)
        ferry__set_error(
            ferry__reason_text(tickets->reasons[failure->reason % FERRY__REASONS_KEPT]));
    else
        return ferry__fail(
            status, "operation %llu failed (%s); its reason is no longer kept (the latest %d are)",
            (unsigned long long)ticket, ferry_status_name(status), FERRY__REASONS_KEPT);
    return status;
}

/* What failed and is still held goes with its holder. */
void ferry__tickets_finish(struct ferry__tickets *tickets)
{
    for (struct ferry__node *node = tickets->held.first; node; node = ferry__tree_next(node))
        ferry__living(node)->kept = false;
    while (tickets->failed.first) {
        struct ferry__node *node = tickets->failed.first;
        ferry__tree_remove(&tickets->failed, node);
        ferry__free(page_of(node));
    }
    for (size_t i = 0; tickets->reasons && i < FERRY__REASONS_KEPT; i++)
        ferry__reason_unref(tickets->reasons[i]);
    ferry__free(tickets->reasons);
    *tickets = (struct ferry__tickets){0};
}

/* --- numbers ---------------------------------------------------------------------------------- */

static _Atomic uint64_t ticket_counter;

ferry_ticket ferry__ticket_next(const struct ferry_device *device)
{
    const uint64_t number = atomic_fetch_add_explicit(&ticket_counter, 1, memory_order_relaxed) + 1;
    return number << FERRY__DEVICE_BITS | device->id;
}

bool ferry__ticket_issued(const struct ferry_device *device, ferry_ticket ticket)
{
    const uint64_t number = ticket >> FERRY__DEVICE_BITS;
    return (ticket & ((1u << FERRY__DEVICE_BITS) - 1)) == device->id &&
           ticket >= device->first_ticket && number <= atomic_load(&ticket_counter);
}
