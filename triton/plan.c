#include "internal.h"

#include <stdlib.h>

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

TRITONSERVER_Error *ferry__triton_plan_add(struct ferry__triton_plan *plan,
                                           const struct ferry__triton_move *move)
{
    if (!move->size)
        return NULL;
    if (plan->count == plan->capacity) {
        const size_t capacity = plan->capacity ? 2 * plan->capacity : 64;
        struct ferry__triton_move *moves = realloc(plan->moves, capacity * sizeof *moves);
        if (!moves)
            return ferry__triton_no_memory(capacity * sizeof *moves);
        plan->moves = moves;
        plan->capacity = capacity;
    }
    plan->moves[plan->count++] = *move;
    return NULL;
}

void ferry__triton_plan_finish(struct ferry__triton_plan *plan)
{
    free(plan->moves);
}

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

TRITONSERVER_Error *ferry__triton_plan_submit(struct ferry__triton_plan *plan, ferry_callback cb,
                                              void *user, ferry_ticket *out_ticket)
{
    ferry_batch *batch = NULL;
    size_t between = 0;
    enum ferry_status status = ferry_batch_create(plan->device, &batch);
    for (size_t i = 0; i < plan->count && !status; i++) {
        if (is_between(&plan->moves[i]))
            between++;
        else
            status = add_move(batch, &plan->moves[i]);
    }
    if (!status)
        status = between ? submit_joined(plan, batch, between, cb, user, out_ticket)
                         : ferry_batch_submit(batch, cb, user, out_ticket);
    TRITONSERVER_Error *error = ferry__triton_status(status, "submitting %zu copies", plan->count);
    ferry_batch_destroy(batch);
    return error;
}
