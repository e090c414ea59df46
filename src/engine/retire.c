#include "engine/retire.h"
#include "base/log.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/copy_host.h"
#include "base/metrics.h"
#include "base/range.h"
#include "driver.h"
#include "engine/depend.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/op.h"
#include "engine/submission.h"
#include "engine/traced.h"
#include "engine/work_event.h"
#include "memory/staging.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdio.h>

/* The end of a submission: copied out, given back, and its ops told. */

void ferry__submission_drop_waits(struct ferry_device *device, struct ferry__submission *sub,
                                  size_t kept)
{
    while (sub->wait_count > kept) {
        struct ferry__work_event *event = sub->keeps[--sub->wait_count];
        for (unsigned q = 0; q < FERRY__QUEUES_MAX && !event; q++)
            if (sub->wait_of[q] == sub->wait_count + 1)
                sub->wait_of[q] = 0;
        if (event) {
            event->waited_by = 0;
            ferry__work_event_give(device, event);
        }
    }
}

void ferry__submission_give(struct ferry_device *device, struct ferry__submission *sub)
{
    for (; sub->wait_count > FERRY__RANGES_AT_ONCE; ferry__breathe(device))
        ferry__submission_drop_waits(device, sub, sub->wait_count - FERRY__RANGES_AT_ONCE);
    ferry__submission_drop_waits(device, sub, 0);
    ferry__list_insert(&device->free_subs, NULL, &sub->link);
}

/* --- failures --------------------------------------------------------------------------------- */

void ferry__op_fail_transfers(struct ferry__op *op, size_t first, size_t last,
                              enum ferry_status status, const char *why)
{
    ferry__op_explain(op, why);
    for (size_t i = first; i <= last && i < op->count; i++) {
        struct ferry__transfer *transfer = &ferry__op_transfers(op)[i];
        if (!transfer->status)
            transfer->status = status;
        ferry__breathe_each(op->device, i - first, FERRY__TRANSFERS_AT_ONCE);
    }
}

void ferry__op_note_untouched(struct ferry__op *op)
{
    if (op->type->kind != FERRY__OP_TRANSFER || !op->has_waiter || op->next_transfer == op->count)
        return;
    struct ferry__transfer *transfer = &ferry__op_transfers(op)[op->next_transfer];
    transfer->untouched = !transfer->begun;
}

void ferry__staging_freed(struct ferry_device *device)
{
    device->staging_returns++;
    for (unsigned q = 0; q < device->gpu.limits.queue_count; q++)
        device->queues[q].starved = false;
}

void ferry__staging_returned(struct ferry_device *device)
{
    ferry__staging_freed(device);
    if (device->staging_came)
        device->staging_came(device);
}

void ferry__op_drop_rmw(struct ferry__op *op)
{
    struct ferry_device *device = op->device;
    if (!op->rmw_merged)
        return;
    op->rmw_merged = op->holds = false;
    ferry__staging_give(&device->gpu, &device->gpu.readback, &op->rmw->slice);
    ferry__staging_returned(device);
}

void ferry__op_give_up(struct ferry__op *op, enum ferry_status status, const char *why)
{
    op->in_flight++; /* it is not done meanwhile */
    ferry__ready_remove(op, FERRY__STATE_RECORDED);
    ferry__op_drop_rmw(op);
    if (op->type->abandon)
        op->type->abandon(op, status, why);
    ferry__op_note_untouched(op);
    if (op->count)
        ferry__op_fail_transfers(op, op->next_transfer, op->count - 1, status, why);
    op->next_transfer = op->count;
    if (op->carried)
        ferry__op_submitted(op);
    op->in_flight--;
    ferry__op_try_done(op);
}

/* --- done ------------------------------------------------------------------------------------- */

/* Lets the host see what the device wrote; if that fails, the submission has failed. */
static void invalidate_all(struct ferry_device *device, struct ferry__submission *sub)
{
    for (size_t i = 0; i < sub->due_count && !sub->result.status; i++) {
        if (!sub->dues[i].reads)
            continue;
        const struct ferry__slice *slice = &sub->dues[i].slice;
        sub->result.status = ferry__memory_invalidate(&device->gpu, &slice->chunk->memory,
                                                      slice->offset, slice->size);
        if (sub->result.status)
            snprintf(sub->result.why, sizeof sub->result.why, "reading staging memory back failed");
    }
}

static void run_dues(struct ferry_device *device, struct ferry__submission *sub)
{
    invalidate_all(device, sub);
    for (size_t i = 0; i < sub->due_count; i++)
        sub->dues[i].run(device, sub, &sub->dues[i]);
}

bool ferry__due_room(struct ferry__submission *sub, size_t count)
{
    while (sub->due_capacity < sub->due_count + count)
        if (!ferry__reserve((void **)&sub->dues, &sub->due_capacity, sub->due_capacity,
                            sizeof *sub->dues))
            return false;
    return true;
}

void ferry__due_add(struct ferry__submission *sub, struct ferry__due due)
{
    sub->dues[sub->due_count++] = due;
}

void ferry__due_upload(struct ferry_device *device, struct ferry__submission *sub,
                       const struct ferry__due *due)
{
    (void)sub;
    ferry__staging_give_all(&device->gpu, &device->gpu.upload, &due->slice, due->count);
}

void ferry__due_readback(struct ferry_device *device, struct ferry__submission *sub,
                         const struct ferry__due *due)
{
    const uint64_t others = (uint64_t)(&sub->dues[sub->due_count] - due) - 1;
    if (!sub->result.status && due->size)
        ferry__copy_chunk(due->dst, ferry__slice_host(&due->slice) + due->skip, due->size,
                          due->whole, due->size * others, device->cpus_taken);
    ferry__staging_give(&device->gpu, &device->gpu.readback, &due->slice);
}

/* An op that waited for this submission goes on, or skips the transfer that failed. */
static void unblock(struct ferry__op *op, enum ferry_status status)
{
    if (status) {
        op->next_transfer++;
        op->transfer_done = 0;
    } else {
        op->rmw_merged = op->holds = true;
    }
    ferry__ready_again(op, FERRY__STATE_BLOCKED);
}

void ferry__submission_done(struct ferry_device *device, struct ferry__submission *sub)
{
    struct ferry__metrics *metrics = &device->gpu.metrics;
    const uint64_t done_ns = sub->submitted_ns ? ferry__now_ns() : 0;
    if (sub->due_count) {
        ferry__device_unlock(device);
        run_dues(device, sub);
        ferry__device_lock(device);
        ferry__staging_returned(device);
    }
    const enum ferry_status status = sub->result.status;
    if (status == FERRY_ERROR_DEVICE_LOST)
        ferry__device_lose(device);
    if (status)
        FERRY__ADD(metrics, submission_failures, 1);
    FERRY__ADD(metrics, device_time_ns, sub->result.device_ns);
    if (done_ns)
        ferry__trace_submission(device, sub, done_ns);
    for (size_t i = 0; i < sub->part_count; i++) {
        struct ferry__part *part = &sub->parts[i];
        struct ferry__op *op = part->op;
        if (status)
            ferry__op_fail_transfers(op, part->first, part->last, status, sub->result.why);
        op->in_flight--;
        if (part->blocks)
            unblock(op, status);
        ferry__op_unref_locked(op); /* the engine's is left until it is done */
        ferry__op_try_done(op);
        if (i % FERRY__AT_ONCE == FERRY__AT_ONCE - 1 || device->closing.first)
            ferry__breathe(device); /* also where one was much by itself */
    }
    ferry__submission_give(device, sub);
}
