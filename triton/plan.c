#include "cuda.h"
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/*
 * A copy between two devices is an operation of its own, which no batch can hold. It is joined into
 * the batch by reading one byte of what it writes: the read is ordered behind it and fails if it
 * failed, and so does the batch. Where the copy's destination is on the other device that byte
 * comes back by a second copy, into scratch memory of ours, and is read from there.
 */

/* What must live until the batch is done. */
struct join {
    ferry_callback cb;
    void *user;
    uint8_t bytes[];
};

static bool is_between(const struct ferry__triton_move *move)
{
    return move->kind == FERRY_TRITON_COPY &&
           ferry_buffer_device(move->dst) != ferry_buffer_device(move->src);
}

void ferry__triton_plan_init(struct ferry__triton_plan *plan, ferry_device *device)
{
    plan->device = device;
    plan->moves = plan->few;
    plan->count = 0;
    plan->capacity = FERRY_TRITON_FEW_MOVES;
    plan->is_asked = false;
    plan->wraps = NULL;
    plan->wrap_count = 0;
}

static bool grow(struct ferry__triton_plan *plan)
{
    const bool few = plan->moves == plan->few;
    const size_t capacity = 8 * plan->capacity;
    struct ferry__triton_move *moves = realloc(few ? NULL : plan->moves, capacity * sizeof *moves);
    if (!moves)
        return false;
    if (few)
        memcpy(moves, plan->few, sizeof plan->few);
    plan->moves = moves;
    plan->capacity = capacity;
    return true;
}

TRITONSERVER_Error *ferry__triton_plan_add(struct ferry__triton_plan *plan,
                                           const struct ferry__triton_move *move)
{
    if (!move->size)
        return NULL;
    if (plan->count == plan->capacity && !grow(plan))
        return ferry__triton_no_memory(8 * plan->capacity * sizeof *plan->moves);
    plan->moves[plan->count++] = *move;
    return NULL;
}

/* What is under way keeps what it uses of the buffers. */
void ferry__triton_plan_finish(struct ferry__triton_plan *plan)
{
    for (size_t i = 0; i < plan->wrap_count; i++)
        ferry_buffer_destroy(plan->wraps[i]);
    free(plan->wraps);
    if (plan->moves != plan->few)
        free(plan->moves);
}

/* --- one operation ---------------------------------------------------------------------------- */

static enum ferry_status add_move(ferry_batch *batch, const struct ferry__triton_move *move)
{
    switch (move->kind) {
    case FERRY_TRITON_UP:
        return ferry_batch_copy_from_host(batch, move->dst, move->host, move->size,
                                          move->dst_offset);
    case FERRY_TRITON_DOWN:
        return ferry_batch_copy_to_host(batch, move->src, move->host, move->size, move->src_offset);
    case FERRY_TRITON_COPY:
        return ferry_batch_copy_buffer(batch, move->dst, move->src, move->size, move->dst_offset,
                                       move->src_offset);
    case FERRY_TRITON_ZERO:
        return ferry_batch_fill_buffer(batch, move->dst, move->size, move->dst_offset, "", 1);
    case FERRY_TRITON_HOST:
    case FERRY_TRITON_MOVE_COUNT: break;
    }
    return FERRY_ERROR_INTERNAL;
}

/* A plan of one move is that operation: no batch, no ticket. */
static enum ferry_status carry_out(const struct ferry__triton_move *move)
{
    switch (move->kind) {
    case FERRY_TRITON_UP:
        return ferry_copy_from_host(move->dst, move->host, move->size, move->dst_offset);
    case FERRY_TRITON_DOWN:
        return ferry_copy_to_host(move->src, move->host, move->size, move->src_offset);
    case FERRY_TRITON_COPY:
        if (is_between(move))
            FERRY_TRITON_ADD(bridged, 1);
        return ferry_copy_buffer(move->dst, move->src, move->size, move->dst_offset,
                                 move->src_offset);
    case FERRY_TRITON_ZERO:
        return ferry_fill_buffer(move->dst, move->size, move->dst_offset, "", 1);
    case FERRY_TRITON_HOST:
    case FERRY_TRITON_MOVE_COUNT: break;
    }
    return FERRY_ERROR_INTERNAL;
}

static void joined(enum ferry_status status, ferry_ticket ticket, void *user)
{
    struct join *join = user;
    if (join->cb)
        join->cb(status, ticket, join->user);
    free(join);
}

/* Starts the copy, and adds to the batch the read that joins it. */
static enum ferry_status add_between(const struct ferry__triton_plan *plan, ferry_batch *batch,
                                     const struct ferry__triton_move *move, ferry_buffer *scratch,
                                     size_t slot, uint8_t *byte)
{
    ferry_ticket ticket; /* asked for: else a failure is logged as one that nobody hears of */
    enum ferry_status status = ferry_copy_buffer_async(
        move->dst, move->src, move->size, move->dst_offset, move->src_offset, NULL, NULL, &ticket);
    if (status)
        return status;
    FERRY_TRITON_ADD(bridged, 1);
    if (ferry_buffer_device(move->dst) == plan->device)
        return ferry_batch_copy_to_host(batch, move->dst, byte, 1, move->dst_offset);
    status =
        ferry_copy_buffer_async(scratch, move->dst, 1, slot, move->dst_offset, NULL, NULL, &ticket);
    return status ? status : ferry_batch_copy_to_host(batch, scratch, byte, 1, slot);
}

static enum ferry_status submit_joined(const struct ferry__triton_plan *plan, ferry_batch *batch,
                                       size_t between, ferry_callback cb, void *user,
                                       ferry_ticket *out_ticket)
{
    ferry_buffer *scratch = NULL;
    struct join *join = malloc(sizeof *join + between);
    if (!join)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    *join = (struct join){.cb = cb, .user = user};
    enum ferry_status status = ferry_buffer_create(
        plan->device,
        &(struct ferry_buffer_params){.size = between, .label = "scatter between devices"},
        &scratch);
    size_t slot = 0;
    for (size_t i = 0; i < plan->count && !status; i++) {
        if (!is_between(&plan->moves[i]))
            continue;
        status = add_between(plan, batch, &plan->moves[i], scratch, slot, &join->bytes[slot]);
        slot++;
    }
    if (!status)
        status = ferry_batch_submit(batch, joined, join, out_ticket);
    if (status)
        free(join);
    ferry_buffer_destroy(scratch);
    return status;
}

/* --- lists ------------------------------------------------------------------------------------ */

/*
 * Many small parts of one buffer, which is what a batch of requests is, are one list of blocks: less
 * is done for each. Measured with 512 bytes to 256 KiB each, staged, on lavapipe and the host driver:
 * from 8 on and up to 64 KiB lists are as fast as copies or up to 1.5 times as fast; longer parts
 * are copied faster one by one, several at once. A list is bounded by a chunk of staging, and copies
 * by all of it: a plan of many bytes stays one submission only without lists.
 */
enum {
    LIST_MIN = 8,
    COPIES_MIN = 2,      /* within the device, where each command takes as long as a whole list */
    PIECE_MAX = 2 << 20, /* of a list within a device of CUDA's */
    LIST_MAX = 128,      /* of a list that lies on the stack */
    LISTED_SIZE = 64 << 10,
    LISTED_BYTES = 1 << 20, /* of the whole plan */
    GROUPS_MAX = 16,        /* looked for in a plan: each is one more look at all of it */
};

/* What may be in lists. Of copies within the device, which need no staging, the library knows by
 * itself from what size on commands are faster. */
static bool is_listed(const struct ferry__triton_move *move, bool is_short)
{
    return move->kind == FERRY_TRITON_COPY ||
           ((move->kind == FERRY_TRITON_UP || move->kind == FERRY_TRITON_DOWN) && is_short &&
            move->size <= LISTED_SIZE);
}

/* Both may be in lists: are they in the same one? */
static bool are_of_one_list(const struct ferry__triton_move *a, const struct ferry__triton_move *b)
{
    const bool has_dst = a->kind != FERRY_TRITON_DOWN, has_src = a->kind != FERRY_TRITON_UP;
    return a->kind == b->kind && (!has_dst || a->dst == b->dst) && (!has_src || a->src == b->src) &&
           (a->kind == FERRY_TRITON_COPY || b->size <= LISTED_SIZE);
}

static struct ferry_block block_of(const struct ferry__triton_move *move)
{
    const size_t address = (size_t)(uintptr_t)move->host;
    return (struct ferry_block){move->kind == FERRY_TRITON_DOWN ? address : move->dst_offset,
                                move->kind == FERRY_TRITON_UP ? address : move->src_offset,
                                move->size};
}

static enum ferry_status add_list(ferry_batch *batch, const struct ferry__triton_move *move,
                                  const struct ferry_block *blocks, size_t count)
{
    if (move->kind == FERRY_TRITON_COPY)
        return ferry_batch_copy_blocks(batch, move->dst, move->src, blocks, count);
    return move->kind == FERRY_TRITON_UP
               ? ferry_batch_copy_blocks_from_host(batch, move->dst, NULL, blocks, count)
               : ferry_batch_copy_blocks_to_host(batch, move->src, NULL, blocks, count);
}

static enum ferry_status carry_out_list(const struct ferry__triton_move *move,
                                        const struct ferry_block *blocks, size_t count)
{
    if (move->kind == FERRY_TRITON_COPY)
        return ferry_copy_blocks(move->dst, move->src, blocks, count);
    return move->kind == FERRY_TRITON_UP
               ? ferry_copy_blocks_from_host(move->dst, NULL, blocks, count)
               : ferry_copy_blocks_to_host(move->src, NULL, blocks, count);
}

/* A group's parts in pieces of at most this: CUDA's kernel shares long blocks out among its warps, but
 * does not get those that are longer still on average. */
static size_t piece_of(const struct ferry__triton_plan *plan, size_t first)
{
    const bool is_cut = plan->moves[first].kind == FERRY_TRITON_COPY &&
                        ferry__triton_cuda_ordinal(plan->device) >= 0;
    return is_cut ? PIECE_MAX : SIZE_MAX;
}

/* How many blocks the group is; blocks has room for all, or is NULL. */
static size_t list_group(const struct ferry__triton_plan *plan, size_t first, size_t piece,
                         struct ferry_block *blocks)
{
    size_t count = 0;
    for (size_t i = first; i < plan->count; i++) {
        struct ferry__triton_move move = plan->moves[i];
        size_t left = move.size;
        if (!are_of_one_list(&plan->moves[first], &move))
            continue;
        for (; left; left -= move.size, count++) {
            move.size = left < piece ? left : piece;
            if (blocks)
                blocks[count] = block_of(&move);
            move.dst_offset += move.size;
            move.src_offset += move.size;
            if (move.host)
                move.host = (uint8_t *)move.host + move.size;
        }
    }
    return count;
}

/* All that go with the move at first, which are apart from all others in what they write: into the
 * batch, or, without one, at once. */
static enum ferry_status add_group(const struct ferry__triton_plan *plan, ferry_batch *batch,
                                   size_t first)
{
    struct ferry_block few[LIST_MAX], *blocks = few;
    const struct ferry__triton_move *move = &plan->moves[first];
    const size_t piece = piece_of(plan, first), count = list_group(plan, first, piece, NULL);
    if (count > LIST_MAX && !(blocks = malloc(count * sizeof *blocks)))
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    (void)list_group(plan, first, piece, blocks);
    const enum ferry_status status =
        batch ? add_list(batch, move, blocks, count) : carry_out_list(move, blocks, count);
    if (blocks != few)
        free(blocks);
    return status;
}

static size_t least_of(const struct ferry__triton_move *move)
{
    return move->kind == FERRY_TRITON_COPY ? COPIES_MIN : LIST_MIN;
}

static size_t count_group(const struct ferry__triton_plan *plan, size_t first)
{
    size_t count = 0;
    for (size_t i = first; i < plan->count; i++)
        count += are_of_one_list(&plan->moves[first], &plan->moves[i]);
    return count;
}

/* Groups that are in lists, each told by its first move. */
struct groups {
    size_t firsts[GROUPS_MAX], counts[GROUPS_MAX], count;
    bool is_short; /* the plan's bytes from and to the host fit a chunk of staging */
};

static bool is_short(const struct ferry__triton_plan *plan, size_t first)
{
    size_t bytes = 0;
    for (size_t i = first; i < plan->count && bytes <= LISTED_BYTES; i++)
        if (plan->moves[i].kind != FERRY_TRITON_COPY)
            bytes += plan->moves[i].size < LISTED_BYTES ? plan->moves[i].size : LISTED_BYTES + 1;
    return bytes <= LISTED_BYTES;
}

/* A move is added by itself, or with its group when its group's first comes. */
static enum ferry_status add_in_place(const struct ferry__triton_plan *plan, ferry_batch *batch,
                                      size_t at, struct groups *groups)
{
    const struct ferry__triton_move *move = &plan->moves[at];
    if (!is_listed(move, groups->is_short))
        return add_move(batch, move);
    size_t group = 0;
    while (group < groups->count && !are_of_one_list(&plan->moves[groups->firsts[group]], move))
        group++;
    if (group == GROUPS_MAX)
        return add_move(batch, move);
    const bool is_first = group == groups->count;
    if (is_first) {
        groups->firsts[groups->count] = at;
        groups->counts[groups->count++] = count_group(plan, at);
    }
    if (groups->counts[group] < least_of(move))
        return add_move(batch, move);
    return is_first ? add_group(plan, batch, at) : FERRY_OK;
}

/* Is all from the first on one list? */
static bool is_one_list(const struct ferry__triton_plan *plan, size_t first)
{
    const struct ferry__triton_move *move = &plan->moves[first];
    const size_t count = plan->count - first;
    return !is_between(move) && count >= least_of(move) && is_listed(move, is_short(plan, first)) &&
           count_group(plan, first) == count;
}

/* All from the first on, but for those between devices; and how many these are. */
static enum ferry_status add_all(const struct ferry__triton_plan *plan, size_t first,
                                 ferry_batch *batch, size_t *out_between)
{
    struct groups groups = {.is_short = is_short(plan, first)};
    enum ferry_status status = FERRY_OK;
    *out_between = 0;
    for (size_t i = first; i < plan->count && !status; i++)
        if (is_between(&plan->moves[i]))
            *out_between += 1;
        else
            status = add_in_place(plan, batch, i, &groups);
    return status;
}

/* All from the first on. */
static enum ferry_status submit(const struct ferry__triton_plan *plan, size_t first,
                                ferry_callback cb, void *user, ferry_ticket *out_ticket)
{
    ferry_batch *batch = NULL;
    size_t between = 0;
    enum ferry_status status = ferry_batch_create(plan->device, &batch);
    if (!status)
        status = add_all(plan, first, batch, &between);
    if (!status)
        status = between ? submit_joined(plan, batch, between, cb, user, out_ticket)
                         : ferry_batch_submit(batch, cb, user, out_ticket);
    ferry_batch_destroy(batch);
    return status;
}

/* --- waiting ---------------------------------------------------------------------------------- */

static uint64_t direct_count(const struct ferry_stats *stats)
{
    uint64_t count = 0;
    for (size_t i = 0; i < FERRY_OPERATION_COUNT; i++)
        count += stats->operations[i][FERRY_PATH_DIRECT].operations;
    return count;
}

/* Carries it out, and sees how it went. Where others work on the device meanwhile that may not be
 * told, and the next one tells it; or it is told wrong, which costs time and nothing else. */
static enum ferry_status carry_out_first(ferry_device *device,
                                         const struct ferry__triton_move *move, atomic_uchar *way)
{
    struct ferry_stats before, after;
    ferry_device_get_stats(device, &before, sizeof before);
    const enum ferry_status status = carry_out(move);
    ferry_device_get_stats(device, &after, sizeof after);
    const bool direct = direct_count(&after) != direct_count(&before);
    const bool submitted = after.submissions != before.submissions;
    if (!status && direct != submitted)
        atomic_store(way, direct ? FERRY_TRITON_DIRECT : FERRY_TRITON_SUBMITTED);
    return status;
}

/* What the CPU does in the call is done one by one: a batch would cost more than it saves. *out_done
 * is how many that were; the first of a kind is among them. */
static enum ferry_status carry_out_direct(const struct ferry__triton_plan *plan, size_t *out_done)
{
    atomic_uchar *ways = ferry__triton_ways(plan->device);
    enum ferry_status status = FERRY_OK;
    size_t i = 0;
    for (; ways && i < plan->count && !status; i++) {
        const struct ferry__triton_move *move = &plan->moves[i];
        const unsigned char way = atomic_load(&ways[move->kind]);
        if (way == FERRY_TRITON_SUBMITTED || is_between(move))
            break;
        status = way == FERRY_TRITON_DIRECT
                     ? carry_out(move)
                     : carry_out_first(plan->device, move, &ways[move->kind]);
    }
    *out_done = i;
    return status;
}

/* Where nobody may wait it fails before anything is under way. */
static enum ferry_status submit_and_wait(const struct ferry__triton_plan *plan)
{
    ferry_ticket ticket = 0;
    size_t done = 0;
    enum ferry_status status = ferry_wait(plan->device, 0, FERRY_FOREVER);
    if (!status)
        status = carry_out_direct(plan, &done);
    if (status || done == plan->count)
        return status;
    if (done + 1 == plan->count)
        return carry_out(&plan->moves[done]);
    if (is_one_list(plan, done))
        return add_group(plan, NULL, done);
    status = submit(plan, done, NULL, NULL, &ticket);
    return status ? status : ferry_wait(plan->device, ticket, FERRY_FOREVER);
}

/* --- in the caller's batch -------------------------------------------------------------------- */

static bool any_between(const struct ferry__triton_plan *plan)
{
    size_t i = 0;
    while (i < plan->count && !is_between(&plan->moves[i]))
        i++;
    return i < plan->count;
}

/* Copies between devices go by themselves: to this one at once, since what is in the batch by then
 * is ordered behind them, and from this one when the batch is done. */
static enum ferry_status put_in_batch(const struct ferry__triton_plan *plan, ferry_batch *batch,
                                      bool wait)
{
    ferry_ticket ticket; /* asked for: a failure is told by what reads those bytes */
    size_t between = 0;
    if (!any_between(plan)) {
        const enum ferry_status status = add_all(plan, 0, batch, &between);
        return status || !wait ? status : ferry_batch_run(batch);
    }
    if (!wait)
        return submit(plan, 0, NULL, NULL, &ticket);
    const enum ferry_status status = ferry_batch_run(batch);
    return status ? status : submit_and_wait(plan);
}

/* --- all of it -------------------------------------------------------------------------------- */

/* What is between host memory and host memory is done at once, and out of the plan. */
static void copy_on_host(struct ferry__triton_plan *plan)
{
    size_t left = 0;
    for (size_t i = 0; i < plan->count; i++) {
        const struct ferry__triton_move *move = &plan->moves[i];
        if (move->kind == FERRY_TRITON_HOST)
            memcpy(move->host, move->from, move->size);
        else if (left++ != i)
            plan->moves[left - 1] = *move;
    }
    plan->count = left;
}

TRITONSERVER_Error *ferry__triton_plan_submit(struct ferry__triton_plan *plan,
                                              const struct ferry__triton_end *end)
{
    enum ferry_status status = FERRY_OK;
    copy_on_host(plan);
    if (end->batch)
        status = put_in_batch(plan, end->batch, end->wait);
    else if (!end->wait)
        status = submit(plan, 0, end->cb, end->user, end->out_ticket);
    else if (plan->count)
        status = submit_and_wait(plan);
    return ferry__triton_status(status, "%s, %zu copies", end->what, plan->count);
}
