#include "engine/traced.h"

#include "base/clock.h"
#include "driver.h"
#include "engine/blocks.h"
#include "engine/buffer.h"
#include "engine/callback.h"
#include "engine/device.h"
#include "engine/op.h"
#include "engine/submission.h"
#include "engine/ticket.h"
#include "trace/event.h"
#include "trace/trace.h"

#include <assert.h>
#include <ferry/ferry.h>
#include <ferry/stream.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* From what the engine has to events of a trace. */

static_assert((int)FERRY__TRACE_ITSELF == 1 << FERRY__DEVICE_BITS,
              "no device has the number of the trace itself");
static_assert((int)FERRY__TRACK_QUEUES + (int)FERRY__QUEUES_MAX <= (int)FERRY__TRACKS_MAX,
              "each queue has a track");

static void add(const struct ferry_device *device, const struct ferry__event *event)
{
    if (atomic_load(&device->dead) != FERRY__FORKED)
        ferry__trace_add(device->trace, event);
}

static void copy_label(char label[FERRY__TRACE_LABEL_MAX], const struct ferry_buffer *buffer)
{
    static const char quote[] = "buffer \""; /* that the label begins with, and '"' ends it */
    if (!buffer)
        label[0] = '\0';
    else if (!buffer->label)
        snprintf(label, FERRY__TRACE_LABEL_MAX, "buffer");
    else
        snprintf(label, FERRY__TRACE_LABEL_MAX, "%.*s", (int)(strlen(buffer->label) - sizeof quote),
                 buffer->label + sizeof quote - 1);
}

static struct ferry__event transfer_event(const struct ferry_device *device,
                                          const struct ferry__transfer *transfer)
{
    struct ferry__event event = {
        .kind = FERRY__EVENT_OPERATION, .device = device->id, .status = transfer->status};
    event.transfer.operation = transfer->operation;
    event.transfer.path = transfer->path;
    event.transfer.size = transfer->size;
    event.transfer.dst_offset = transfer->dst_offset;
    event.transfer.src_offset = transfer->src_offset;
    copy_label(event.transfer.dst, transfer->dst);
    copy_label(event.transfer.src, transfer->src);
    return event;
}

void ferry__trace_transfer(const struct ferry_device *device,
                           const struct ferry__transfer *transfer, ferry_ticket ticket,
                           uint64_t begin_ns)
{
    struct ferry__event event = transfer_event(device, transfer);
    event.ticket = ticket;
    event.begin_ns = begin_ns;
    event.end_ns = ferry__now_ns();
    add(device, &event);
}

/* The operations that were merged into a list one by one; where memory was short, as one. */
static void trace_batched(const struct ferry__op *op, const struct ferry__transfer *transfer,
                          bool begun, uint64_t end_ns)
{
    const struct ferry__blocks *blocks = ferry__blocks_of(transfer);
    const struct ferry_block *each = blocks ? blocks->merged_as : NULL;
    const size_t count = each ? ferry__transfer_operations(transfer) : 1;
    struct ferry__event event = transfer_event(op->device, transfer);
    event.kind = begun ? FERRY__EVENT_BATCHED : FERRY__EVENT_OPERATION;
    event.ticket = op->ticket;
    event.begin_ns = op->start_ns;
    event.end_ns = end_ns;
    for (size_t i = 0; i < count; i++) {
        if (each) {
            event.transfer.size = each[i].size;
            event.transfer.dst_offset = each[i].dst_offset;
            event.transfer.src_offset = each[i].src_offset;
        }
        ferry__trace_add_locked(op->device->trace, &event, begun);
    }
}

/* Of a batch the begin and the end are both written, or neither. */
static void trace_batch(const struct ferry__op *op, uint64_t end_ns)
{
    struct ferry__trace *trace = op->device->trace;
    struct ferry__event event = {.kind = FERRY__EVENT_BATCH,
                                 .device = op->device->id,
                                 .status = op->status,
                                 .begin_ns = op->start_ns,
                                 .end_ns = end_ns,
                                 .ticket = op->ticket};
    for (size_t i = 0; i < op->count; i++)
        event.count += ferry__transfer_operations(&ferry__op_transfers(op)[i]);
    struct ferry__event end = event;
    end.kind = FERRY__EVENT_BATCH_END;
    ferry__trace_lock(trace);
    const bool begun = ferry__trace_add_locked(trace, &event, 1);
    for (size_t i = 0; i < op->count; i++)
        trace_batched(op, &ferry__op_transfers(op)[i], begun, end_ns);
    if (begun)
        ferry__trace_add_locked(trace, &end, 0);
    ferry__trace_unlock(trace);
}

void ferry__trace_op(struct ferry__op *op, uint64_t end_ns)
{
    if (atomic_load(&op->device->dead) == FERRY__FORKED)
        return;
    if (op->starved_us)
        ferry__trace_wait(op);
    if (op->batch) {
        trace_batch(op, end_ns);
        return;
    }
    struct ferry__event event = {
        .kind = FERRY__EVENT_EXTERNAL, .device = op->device->id, .status = op->status};
    if (op->type->kind == FERRY__OP_EXTERNAL)
        event.count = op->use_count;
    if (op->type->kind == FERRY__OP_TRANSFER || op->type->kind == FERRY__OP_BRIDGE_WRITE)
        event = transfer_event(op->device, ferry__op_transfers(op));
    else if (op->type->kind != FERRY__OP_EXTERNAL)
        return;
    event.ticket = op->ticket;
    event.begin_ns = op->start_ns;
    event.end_ns = end_ns;
    add(op->device, &event);
}

void ferry__trace_submission(const struct ferry_device *device, const struct ferry__submission *sub,
                             uint64_t end_ns)
{
    struct ferry__event event = {.kind = FERRY__EVENT_SUBMISSION,
                                 .device = device->id,
                                 .track = (enum ferry__track)(FERRY__TRACK_QUEUES + sub->queue),
                                 .status = sub->result.status,
                                 .begin_ns = sub->submitted_ns,
                                 .end_ns = end_ns,
                                 .count = sub->transfers};
    event.submission.value = sub->value;
    event.submission.commands = sub->command_count;
    event.submission.staged = sub->staged;
    event.submission.device_ns = sub->result.device_ns;
    add(device, &event);
}

void ferry__trace_wait(struct ferry__op *op)
{
    add(op->device,
        &(struct ferry__event){.kind = FERRY__EVENT_WAIT,
                               .device = op->device->id,
                               .track = FERRY__TRACK_STAGING,
                               .ticket = op->ticket,
                               .begin_ns = op->start_ns + op->starved_us * UINT64_C(1000),
                               .end_ns = ferry__now_ns()});
    op->starved_us = 0;
}

void ferry__trace_starved(struct ferry__op *op)
{
    const uint64_t us = (ferry__now_ns() - op->start_ns) / 1000;
    op->starved_us = us < 1 ? 1 : us < UINT32_MAX ? (unsigned)us : UINT32_MAX;
}

void ferry__trace_callback(const struct ferry_device *device, const struct ferry__call *call,
                           uint64_t begin_ns)
{
    add(device, &(struct ferry__event){.kind = FERRY__EVENT_CALLBACK,
                                       .device = device->id,
                                       .track = FERRY__TRACK_CALLBACKS,
                                       .status = call->status,
                                       .ticket = call->ticket,
                                       .begin_ns = begin_ns,
                                       .end_ns = ferry__now_ns()});
}

void ferry__trace_stream(const struct ferry_device *device, const struct ferry_stream_event *stream)
{
    struct ferry__event event = {.kind = FERRY__EVENT_STREAM,
                                 .device = device->id,
                                 .track = FERRY__TRACK_STREAMS,
                                 .status = stream->status,
                                 .ticket = stream->ticket,
                                 .begin_ns = stream->begin_ns,
                                 .end_ns = stream->end_ns};
    snprintf(event.stream.words, sizeof event.stream.words, "%s",
             stream->words ? stream->words : "");
    size_t length = 0;
    /* A name stands in the file as it is. */
    for (const char *at = stream->name; at && *at && length + 1 < sizeof event.stream.name; at++)
        event.stream.name[length++] =
            *at >= ' ' && *at < 127 && *at != '"' && *at != '\\' ? *at : '?';
    add(device, &event);
}

void ferry__device_trace(struct ferry_device *device)
{
    struct ferry__event names = {.kind = FERRY__EVENT_NAMES, .device = device->id};
    snprintf(names.names.device, sizeof names.names.device, "%s (%.40s)", device->gpu.info.name,
             device->gpu.info.description);
    names.names.queues = device->gpu.limits.queue_count;
    device->trace = ferry__trace_open(&names);
}
