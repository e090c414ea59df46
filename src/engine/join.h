/* Joins: ops without work of their own that stand for many others, so that many times many edges
 * stay few. One is handed over when all that it follows is, and done when all of that is. Under
 * device->lock, but for its release. */
#ifndef FERRY_ENGINE_JOIN_H
#define FERRY_ENGINE_JOIN_H

#include "driver.h"
#include "engine/op.h"
#include "engine/question.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ferry_device;

/* An op that follows more than this many others in one way hangs on one join. */
enum { FERRY__CROWD = 16, FERRY__NO_QUEUE = FERRY__QUEUES_MAX };

enum { FERRY__WORKS_EACH = 64 };

/* A part of a list of external work, so that none is moved where it grows. */
struct ferry__works {
    struct ferry__works *next;
    size_t count;
    struct ferry__op *list[FERRY__WORKS_EACH];
};

struct ferry__join {
    /* Once it is handed over: of each queue the latest value that what it stands for raises; 0:
     * none. So nobody looks at all those again, and the device waits for each queue once. */
    uint64_t latest[FERRY__QUEUES_MAX];
    /* External work that it stands for, by itself or by other joins, with references. */
    struct ferry__works *works;
    size_t work_count;
    unsigned early;     /* edges that are closed within its queue only */
    bool listed;        /* in device->joins */
    uint64_t waited_by; /* the number of the submission that waits for it */
    struct ferry__op *next, *next_to_undo;
    struct ferry__question question;
};

/* A join that follows nothing yet. */
struct ferry__op *ferry__join_create(struct ferry_device *device,
                                     const struct ferry__op_type *type);

/* It is to follow these: notes external work among them, and finds its queue: the one that all of
 * them are of, or none. False: no host memory. */
bool ferry__join_note(struct ferry__op *op, struct ferry__op *const *follows, size_t count);

/* All that it follows is handed over: notes what there is to wait for. */
void ferry__join_sum_up(struct ferry__op *op);

/* External work that it stands for and that is not done; NULL: none is known. */
const struct ferry__op *ferry__join_work(const struct ferry__op *op);

/* Calls back with each external work that a join stands for and that is not done, until one
 * returns false: then it does, too. Gives up the lock on the way; a join that is done meanwhile has
 * none. */
bool ferry__join_each_work(const struct ferry__op *op,
                           bool (*call)(void *arg, struct ferry__op *work), void *arg);

void ferry__join_release(struct ferry__op *op);

/* Stands for a crowd, and is no concern of the user's. */
extern const struct ferry__op_type ferry__join_type;

#endif
