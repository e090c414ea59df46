#include "engine/question.h"

#include "base/interval.h"
#include "engine/buffer.h"
#include "engine/engine.h"
#include "engine/footprint.h"
#include "engine/join.h"
#include "engine/op.h"
#include "engine/order.h"
#include "engine/reason.h"

#include <ferry/ferry.h>
#include <stdatomic.h>
#include <stdint.h>

static struct ferry__question *question_of(struct ferry__interval *interval)
{
    return (struct ferry__question *)interval; /* its first member */
}

static void enter(struct ferry__question *question)
{
    struct ferry__intervals *tree = &question->buffer->questions;
    struct ferry__interval *same =
        ferry__interval_equal(tree, question->interval.begin, question->interval.end);
    if (same) {
        ferry__interval_remove(tree, same);
        question->older = question_of(same);
        question->older->newer = question;
    }
    ferry__interval_insert(tree, &question->interval);
}

static void leave(struct ferry__question *question)
{
    struct ferry__intervals *tree = &question->buffer->questions;
    if (question->older)
        question->older->newer = question->newer;
    if (question->newer) {
        question->newer->older = question->older;
        return;
    }
    ferry__interval_remove(tree, &question->interval);
    if (question->older)
        ferry__interval_insert(tree, &question->older->interval);
}

/* --- its join --------------------------------------------------------------------------------- */

static void judge_question(struct ferry__op *op)
{
    leave(&op->join->question);
}

static void release_question(struct ferry__op *op)
{
    struct ferry_buffer *buffer = op->join ? op->join->question.buffer : NULL;
    ferry__join_release(op);
    if (buffer)
        ferry__buffer_unref(buffer);
}

static const struct ferry__op_type question_type = {
    .kind = FERRY__OP_JOIN,
    .judge = judge_question,
    .release = release_question,
};

static enum ferry_status make(struct ferry_buffer *buffer, uint64_t begin, uint64_t end,
                              struct ferry__op *same, struct ferry__op **out_op)
{
    struct ferry__op *op = ferry__join_create(buffer->device, &question_type);
    if (!op)
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    *op->own_ranges = (struct ferry__range){
        .op = op, .buffer = buffer, .begin = begin, .end = end, .kind = FERRY__RANGE_WRITE};
    op->own_count = 1;
    op->after = same;
    op->has_waiter = true; /* its failure is the others' */
    const enum ferry_status status = ferry__enqueue(op);
    op->after = NULL; /* an edge holds it */
    if (status) {
        ferry__op_unref(op); /* nobody else has it, and it holds nothing yet */
        return status;
    }
    struct ferry__question *question = &op->join->question;
    *question = (struct ferry__question){
        .interval = {.begin = begin, .end = end, .stamp = op->ticket}, .buffer = buffer, .op = op};
    ferry__buffer_ref(buffer);
    enter(question);
    *out_op = op;
    return FERRY_OK;
}

enum ferry_status ferry__question_ask(struct ferry_buffer *buffer, uint64_t begin, uint64_t end,
                                      struct ferry__op **out_op)
{
    struct ferry__interval *interval = ferry__interval_equal(&buffer->questions, begin, end);
    struct ferry__op *same = interval ? question_of(interval)->op : NULL;
    if (same && same->ticket <= buffer->order.late)
        same = NULL;
    *out_op = NULL;
    if (!ferry__order_busy(&buffer->order, true, begin, end))
        return FERRY_OK;
    if (!same || same->status || ferry__order_newer(&buffer->order, begin, end, same->ticket))
        return make(buffer, begin, end, same, out_op);
    ferry__op_ref(same);
    *out_op = same;
    return FERRY_OK;
}

/* --- failures --------------------------------------------------------------------------------- */

static void tell(struct ferry__question *question, const struct ferry__op *failed)
{
    struct ferry__op *op = question->op;
    op->status = failed->status;
    ferry__op_set_why(op, ferry__op_why(failed));
    question->interval.stamp = failed->ticket;
}

/* Of the same bytes an older one knows of all failures that a newer one knows of, if it was there
 * before they came: so its stamp is no larger, and the newest's stamp is that of all. */
static void tell_all(struct ferry__question *question, const struct ferry__op *failed)
{
    for (; question && question->op->ticket > failed->ticket; question = question->older)
        if (question->interval.stamp > failed->ticket)
            tell(question, failed);
}

void ferry__questions_tell(const struct ferry__op *failed)
{
    const struct ferry__range *ranges = ferry__op_ranges(failed);
    const size_t count = ferry__op_range_count(failed);
    for (size_t i = 0; i < count; i++) {
        const struct ferry__range *range = &ranges[i];
        const struct ferry__meeting meeting = {range->begin, range->end, failed->ticket};
        struct ferry__interval *node = ferry__meeting_first(&meeting, &range->buffer->questions),
                               *next;
        for (; node; node = next) {
            next = ferry__meeting_next(&meeting, node);
            if (range->spans &&
                !ferry__footprint_touches(failed, range->buffer, node->begin, node->end))
                continue;
            tell_all(question_of(node), failed);
            ferry__interval_changed(node);
        }
        ferry__breathe_each(failed->device, i, FERRY__RANGES_AT_ONCE);
    }
}
