#include "engine/submission.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/interval.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/status.h"
#include "base/thread.h"
#include "base/tree.h"
#include "driver.h"
#include "engine/commands.h"
#include "engine/depend.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/join.h"
#include "engine/op.h"
#include "engine/retire.h"
#include "engine/traced.h"
#include "engine/work_event.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/*
 * Submissions: recorded from the ops that are ready, handed to the driver, and, when the device is
 * done with them, copied out and taken apart.
 */

/* --- their memory ----------------------------------------------------------------------------- */

static void sub_free(struct ferry__submission *sub)
{
    ferry__free(sub->commands);
    ferry__free(sub->parts);
    ferry__free(sub->waits);
    ferry__free(sub->keeps);
    ferry__free(sub->dues);
    ferry__interval_pool_finish(&sub->intervals);
    ferry__free(sub);
}

void ferry__submissions_free(struct ferry_device *device)
{
    while (device->free_subs.first)
        sub_free(
            FERRY__OF_LINK(ferry__list_pop(&device->free_subs), struct ferry__submission, link));
}

/* Gives up the lock where one has to be made. */
static struct ferry__submission *sub_take(struct ferry_device *device, unsigned queue)
{
    struct ferry__link *link = ferry__list_pop(&device->free_subs);
    struct ferry__submission *sub = NULL;
    if (link) {
        sub = FERRY__OF_LINK(link, struct ferry__submission, link);
    } else {
        ferry__device_unlock(device);
        sub = ferry__alloc(sizeof *sub);
        ferry__device_lock(device);
    }
    if (!sub)
        return NULL;
    sub->queue = queue;
    sub->number = ++device->sub_number;
    memset(sub->wait_of, 0, sizeof sub->wait_of);
    sub->result = (struct ferry__result){.status = FERRY_OK};
    sub->command_count = sub->part_count = sub->wait_count = 0;
    sub->due_count = 0;
    sub->copies_out = sub->follows = false;
    ferry__run_begin(sub);
    sub->added = sub->staged = sub->transfers = sub->submitted_ns = 0;
    sub->blocks = sub->blocks_max = sub->block_bytes = 0;
    sub->launch.goes_on = false;
    return sub;
}

/* --- building --------------------------------------------------------------------------------- */

static bool add_wait(struct ferry__submission *sub, struct ferry_sync point,
                     struct ferry__work_event *keep)
{
    if (!ferry__reserve((void **)&sub->waits, &sub->wait_capacity, sub->wait_count,
                        sizeof *sub->waits) ||
        !ferry__reserve((void **)&sub->keeps, &sub->keep_capacity, sub->wait_count,
                        sizeof *sub->keeps))
        return false;
    sub->keeps[sub->wait_count] = keep;
    sub->waits[sub->wait_count++] = point;
    return true;
}

/* Work of another queue: one wait for each, for the latest of it. */
static bool add_queue_wait(struct ferry_device *device, struct ferry__submission *sub,
                           unsigned queue, uint64_t value)
{
    size_t *which = &sub->wait_of[queue];
    if (!*which) {
        if (!add_wait(sub, (struct ferry_sync){device->queues[queue].event, value}, NULL))
            return false;
        *which = sub->wait_count;
    } else if (sub->waits[*which - 1].value < value) {
        sub->waits[*which - 1].value = value;
    }
    return true;
}

/* External work goes with its event: the submission keeps it, since what stands between the two may
 * be done and gone before the device comes to wait. */
static bool add_external_wait(void *to_sub, struct ferry__op *from)
{
    struct ferry__submission *sub = to_sub;
    struct ferry__work_event *event = from->own_event;
    if (event->waited_by == sub->number)
        return true;
    if (!add_wait(sub, (struct ferry_sync){from->event, from->raised}, event))
        return false;
    event->waited_by = sub->number;
    event->users++;
    return true;
}

/* For so many more waits, under no lock: long lists take long to grow. Where memory is short
 * add_wait says so. */
static void make_room_for_waits(struct ferry__submission *sub, size_t count)
{
    const size_t all = sub->wait_count + count;
    while (sub->wait_capacity < all && ferry__reserve((void **)&sub->waits, &sub->wait_capacity,
                                                      sub->wait_capacity, sizeof *sub->waits))
        ;
    while (sub->keep_capacity < all && ferry__reserve((void **)&sub->keeps, &sub->keep_capacity,
                                                      sub->keep_capacity, sizeof *sub->keeps))
        ;
}

/* All that a join stands for. Gives up the lock on the way where it is much. */
static bool add_join_waits(struct ferry__submission *sub, struct ferry__op *from)
{
    const struct ferry__join *join = from->join;
    bool enough = true;
    if (join->waited_by == sub->number)
        return true;
    if (sub->wait_count + join->work_count > sub->wait_capacity &&
        join->work_count > FERRY__WORKS_EACH) {
        const size_t count = join->work_count;
        ferry__device_unlock(from->device);
        make_room_for_waits(sub, count);
        ferry__device_lock(from->device);
        if (atomic_load(&from->done))
            return true;
    }
    for (unsigned q = 0; q < FERRY__QUEUES_MAX && enough; q++)
        if (join->latest[q] && q != sub->queue)
            enough = add_queue_wait(from->device, sub, q, join->latest[q]);
    enough = enough && ferry__join_each_work(from, add_external_wait, sub);
    if (enough &&
        !atomic_load(&from->done)) /* else the next that follows it would wait for a part */
        from->join->waited_by = sub->number;
    return enough;
}

/* What op depends on in other queues, and of the user's, is waited for on the device. Of its own
 * queue it is in an earlier submission, or in this one, with all that it waits for itself. What
 * never came to the device is done, or op would not be here. */
static bool add_waits(struct ferry__submission *sub, struct ferry__op *op)
{
    bool enough = true;
    for (size_t i = 0; i < ferry__op_edge_count(op) && enough; i++) {
        struct ferry__op *from = ferry__op_from(op, i);
        if (atomic_load(&from->done))
            continue;
        if (ferry__op_is_join(from))
            enough = add_join_waits(sub, from);
        else if (from->type->kind == FERRY__OP_EXTERNAL)
            enough = add_external_wait(sub, from);
        else if (from->queue != sub->queue)
            enough = add_queue_wait(op->device, sub, from->queue, from->value);
    }
    return enough;
}

/* Makes op a part of the submission, with its waits. */
static bool add_part(struct ferry__submission *sub, struct ferry__op *op)
{
    const size_t waits = sub->wait_count;
    if (!op->carried && !add_waits(sub, op))
        return false;
    if (!ferry__reserve((void **)&sub->parts, &sub->part_capacity, sub->part_count,
                        sizeof *sub->parts))
        return false;
    sub->parts[sub->part_count++] = (struct ferry__part){
        .op = op,
        .first = op->next_transfer,
        .last = op->next_transfer,
        .continued = op->transfer_done || op->rmw_merged || (ferry__op_is_half(op) && op->carried),
        .added_before = sub->added,
        .waits_before = waits};
    sub->follows |= op->carried && op->in_flight;
    ferry__op_ref(op);
    op->in_flight++;
    return true;
}

/* Takes back the last part: it has no commands, and is no concern of the submission's. Nor is what
 * it waits for. */
static void drop_part(struct ferry__submission *sub)
{
    struct ferry__op *op = sub->parts[--sub->part_count].op;
    ferry__submission_drop_waits(op->device, sub, sub->parts[sub->part_count].waits_before);
    for (size_t i = 0; i < ferry__op_edge_count(op); i++)
        if (!atomic_load(&ferry__op_from(op, i)->done) && ferry__op_is_join(ferry__op_from(op, i)))
            ferry__op_from(op, i)->join->waited_by = 0;
    op->in_flight--;
    ferry__op_unref_locked(op);
}

/* Staging is short. A waiting operation that must not wait for it is refused, and changes
 * nothing. */
static bool refuse(struct ferry_device *device, struct ferry__op *op)
{
    if (!op->has_waiter || !device->no_staging_wait || op->transfer_done || op->carried)
        return false;
    FERRY__ADD(&device->gpu.metrics, staging_exhaustions, 1);
    ferry__op_give_up(op, FERRY_ERROR_POOL_EXHAUSTED,
                      "all staging memory is in use by other operations");
    return true;
}

/* Behind work that waits for staging, those that must not wait for it are refused. */
static bool refuse_behind(struct ferry_device *device, const struct ferry__queue *queue)
{
    struct ferry__node *node = queue->ready.first;
    for (; node && device->no_staging_wait; node = ferry__tree_next(node)) {
        struct ferry__op *op = FERRY__OF_NODE(node, struct ferry__op, ready);
        if (!op->batch &&
            (op->one.path == FERRY_PATH_STAGED || op->one.path == FERRY_PATH_PIPELINED) &&
            refuse(device, op))
            return true;
    }
    return false;
}

/* All of op is in submissions. One without commands comes to nothing: who depends on op waits until
 * it is done, and need not look for what it depends on itself. */
static void cursor_ended(const struct ferry__submission *sub, struct ferry__op *op)
{
    ferry__ready_remove(op, FERRY__STATE_RECORDED);
    if (sub->command_count)
        ferry__op_followed(op);
}

/* op goes on when it is resumed; at once, where meanwhile it was. True: it has left the list. */
static bool suspend(struct ferry__op *op)
{
    if (op->resumed)
        ferry__op_become(op, FERRY__STATE_READY);
    else
        ferry__ready_remove(op, FERRY__STATE_SUSPENDED);
    return !op->resumed;
}

/* op goes on when the submission is done. */
static void block(struct ferry__part *part, struct ferry__op *op)
{
    part->blocks = true;
    ferry__ready_remove(op, FERRY__STATE_BLOCKED);
}

static bool has_room(const struct ferry_device *device, const struct ferry__submission *sub)
{
    return sub->staged < device->gpu.upload.chunk_size &&
           sub->command_count < FERRY__COMMANDS_MAX && sub->part_count < FERRY__PARTS_MAX;
}

/* Whether another op may join this submission, or it is handed over now. */
enum after_part { GATHER_MORE, HAND_OVER };

/* op goes on when it is resumed. Where it has put nothing into the submission it shall not fail
 * with the others. */
static enum after_part set_aside(struct ferry__submission *sub, struct ferry__op *op)
{
    if (!suspend(op))
        return HAND_OVER;
    if (sub->added == sub->parts[sub->part_count - 1].added_before)
        drop_part(sub);
    return GATHER_MORE;
}

/* What follows from the result of recording op. */
static enum after_part apply(struct ferry_device *device, struct ferry__submission *sub,
                             struct ferry__op *op, enum ferry__emitted result,
                             enum ferry_status status, uint64_t returns)
{
    struct ferry__queue *queue = &device->queues[sub->queue];
    struct ferry__part *part = &sub->parts[sub->part_count - 1];
    if (!ferry__op_is_half(op)) /* which holds its memory until it ends */
        op->holds = op->rmw_merged;
    part->last = op->next_transfer < op->count ? op->next_transfer : op->count ? op->count - 1 : 0;
    if (op->starved_us)
        ferry__trace_wait(op);
    switch (result) {
    case FERRY__EMIT_DONE:
        cursor_ended(sub, op);
        return has_room(device, sub) ? GATHER_MORE : HAND_OVER;
    case FERRY__EMIT_MORE:
        ferry__op_become(op, FERRY__STATE_READY);
        ferry__ready_behind(op);
        return HAND_OVER;
    case FERRY__EMIT_STARVED:
        if (sub->command_count && sub->added == part->added_before)
            drop_part(sub); /* it shall not fail with the others */
        if (!sub->command_count && refuse(device, op))
            return HAND_OVER;
        ferry__ready_remove(op, FERRY__STATE_READY); /* behind those that hold staging */
        ferry__ready_list(op);
        if (sub->command_count)
            return HAND_OVER;
        FERRY__ADD(&device->gpu.metrics, staging_waits, 1);
        if (device->trace)
            ferry__trace_starved(op);
        queue->starved = returns == device->staging_returns && !ferry__ready_first(queue)->holds;
        return HAND_OVER;
    case FERRY__EMIT_BLOCKED:
        if (ferry__op_is_half(op))
            return set_aside(sub, op);
        block(part, op);
        return GATHER_MORE;
    case FERRY__EMIT_WAITS: return set_aside(sub, op);
    case FERRY__EMIT_FAILED:
        ferry__op_note_untouched(op);
        ferry__op_fail_transfers(op, op->next_transfer, op->next_transfer, status,
                                 ferry_last_error());
        ferry__op_drop_rmw(op);
        op->next_transfer++;
        op->transfer_done = 0;
        if (op->next_transfer < op->count) { /* the batch goes on behind it */
            ferry__op_become(op, FERRY__STATE_READY);
            return GATHER_MORE;
        }
        cursor_ended(sub, op);
        return GATHER_MORE;
    }
    return HAND_OVER;
}

/* Room for what comes next, under no lock. Where memory is short add_part says so. */
static void make_room(struct ferry__submission *sub)
{
    if (sub->part_count < FERRY__PARTS_MAX)
        (void)!ferry__reserve((void **)&sub->parts, &sub->part_capacity, sub->part_count,
                              sizeof *sub->parts);
    if (sub->wait_count)
        make_room_for_waits(sub, sub->wait_count);
}

/* Fills a submission with what is ready. */
static void fill(struct ferry_device *device, struct ferry__submission *sub)
{
    struct ferry__queue *queue = &device->queues[sub->queue];
    struct ferry__op *op;
    while ((op = ferry__ready_first(queue))) {
        if (atomic_load(&device->dead)) {
            ferry__op_give_up(op, FERRY_ERROR_DEVICE_LOST, "the device is lost");
            continue;
        }
        const bool again = sub->part_count && sub->parts[sub->part_count - 1].op == op;
        op->resumed = false;
        ferry__op_become(op, FERRY__STATE_RECORDING);
        if (!again && !add_part(sub, op)) {
            ferry__op_give_up(op, FERRY_ERROR_OUT_OF_HOST_MEMORY,
                              "no host memory for a submission");
            continue;
        }
        enum ferry_status status = FERRY_OK;
        const uint64_t returns = device->staging_returns;
        ferry__device_unlock(device);
        ferry__error_begin(); /* of op, not of the thread that happens to build it */
        const enum ferry__emitted result = op->type->record(device, sub, op, &status);
        make_room(sub);
        ferry__device_lock(device);
        const enum after_part after = apply(device, sub, op, result, status, returns);
        ferry__error_end(FERRY_OK);
        if (after == HAND_OVER || sub->part_count == FERRY__PARTS_MAX)
            break;
    }
}

static void note_submitted(struct ferry_device *device, struct ferry__submission *sub)
{
    struct ferry__queue *queue = &device->queues[sub->queue];
    queue->value = sub->value;
    queue->in_flight++;
    ferry__count_submission(&device->gpu.metrics, sub->transfers, sub->command_count);
    for (size_t i = 0; i < sub->part_count; i++) {
        struct ferry__op *op = sub->parts[i].op;
        if (op->carried && op->batch)
            FERRY__ADD(&device->gpu.metrics, batch_splits, 1);
        op->carried = true;
        if (op->state == FERRY__STATE_RECORDED)
            ferry__op_submitted(op);
        if (i % FERRY__AT_ONCE == FERRY__AT_ONCE - 1)
            ferry__breathe(device);
    }
    ferry__list_push(&queue->flying, &sub->link);
    ferry__queue_poll(device, sub->queue);
}

/* Nothing came of a submission: earlier ones may have had the rest of its ops. */
static void note_what_was_submitted(const struct ferry__submission *sub)
{
    for (size_t i = 0; i < sub->part_count; i++) {
        struct ferry__op *op = sub->parts[i].op;
        if (!op->carried)
            ferry__op_unfollowed(op);
        else if (op->state == FERRY__STATE_RECORDED)
            ferry__op_submitted(op);
    }
}

/* A submission that was refused has written nothing (R9). What had begun before, or goes straight
 * into memory, may have; what goes on behind it will; what had failed by itself has failed. From
 * here on each has failed for this, also a copy between devices whose source fails later. */
static void note_refused(const struct ferry__submission *sub)
{
    for (size_t i = 0; i < sub->part_count; i++) {
        const struct ferry__part *part = &sub->parts[i];
        struct ferry__op *op = part->op;
        for (size_t at = part->first + part->continued; at <= part->last && at < op->count; at++) {
            struct ferry__transfer *transfer = &ferry__op_transfers(op)[at];
            if (transfer->path != FERRY_PATH_DIRECT && !transfer->status)
                transfer->untouched = true;
            ferry__op_fail_transfers(op, at, at, sub->result.status, sub->result.why);
            ferry__breathe_each(op->device, at - part->first, FERRY__TRANSFERS_AT_ONCE);
        }
    }
}

static void submit(struct ferry_device *device, struct ferry__submission *sub)
{
    char why[FERRY__WHY_MAX] = "";
    sub->value = device->queues[sub->queue].value + 1;
    const struct ferry__submission_info info = {.queue = sub->queue,
                                                .commands = sub->commands,
                                                .count = sub->command_count,
                                                .waits = sub->waits,
                                                .wait_count = sub->wait_count,
                                                .value = sub->value,
                                                .result = &sub->result};
    if (device->trace)
        sub->submitted_ns = ferry__now_ns();
    ferry__device_unlock(device);
    const enum ferry_status status = device->gpu.driver->submit(device->gpu.state, &info, why);
    ferry__device_lock(device);
    if (!status) {
        note_submitted(device, sub);
        return;
    }
    ferry__log(FERRY_LOG_INFO, "a submission was refused: %s", why);
    sub->result.status = status;
    memcpy(sub->result.why, why, sizeof why);
    note_refused(sub);
    note_what_was_submitted(sub);
    ferry__submission_done(device, sub);
}

bool ferry__build(struct ferry_device *device, unsigned q)
{
    struct ferry__queue *queue = &device->queues[q];
    if (queue->building || !queue->ready.first)
        return false;
    if (queue->starved)
        return refuse_behind(device, queue);
    if (queue->in_flight >= FERRY__IN_FLIGHT_MAX)
        return false;
    const int cancel = ferry__cancel_off();
    queue->building = true;
    struct ferry__submission *sub = sub_take(device, q);
    if (!sub) {
        struct ferry__op *op = ferry__ready_first(queue);
        if (op)
            ferry__op_give_up(op, FERRY_ERROR_OUT_OF_HOST_MEMORY,
                              "no host memory for a submission");
    } else {
        fill(device, sub);
        if (sub->command_count) {
            submit(device, sub);
        } else { /* all that was recorded needs nothing of the device, or is ready no more */
            note_what_was_submitted(sub);
            ferry__submission_done(device, sub);
        }
    }
    queue->building = false;
    ferry__cancel_on(cancel);
    return true;
}
