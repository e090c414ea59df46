/* Joins of all that is in flight on bytes of a buffer: what ferry_buffer_ticket and
 * ferry_buffer_wait ask for. Under device->lock. */
#ifndef FERRY_ENGINE_QUESTION_H
#define FERRY_ENGINE_QUESTION_H

#include "base/interval.h"

#include <ferry/ferry.h>
#include <stdint.h>

struct ferry__op;
struct ferry_buffer;

/* What a join knows of it. Of several for the same bytes the newest is in the buffer's tree. */
struct ferry__question {
    struct ferry__interval interval; /* stamped: failures of smaller tickets are news to it */
    struct ferry_buffer *buffer;     /* with a reference; NULL: nobody asked */
    struct ferry__op *op;
    struct ferry__question *newer, *older;
};

/* An op that is done when all that is in flight on [begin, end) is, with a reference; NULL: nothing
 * is. Its status is that of the first of them, by ticket, that fails. Whoever asks again while
 * nothing new came, and nothing failed, gets the same one. */
enum ferry_status ferry__question_ask(struct ferry_buffer *buffer, uint64_t begin, uint64_t end,
                                      struct ferry__op **out_op);

/* An op has failed: those who asked while it was in flight are to know. */
void ferry__questions_tell(const struct ferry__op *failed);

#endif
