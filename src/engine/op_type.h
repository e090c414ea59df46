/* Types of op: what differs between them. */
#ifndef FERRY_ENGINE_OP_TYPE_H
#define FERRY_ENGINE_OP_TYPE_H

#include <ferry/ferry.h>

struct ferry__op;
struct ferry__submission;
struct ferry_device;

enum ferry__op_kind {
    FERRY__OP_TRANSFER,
    FERRY__OP_EXTERNAL,     /* the user's own work */
    FERRY__OP_JOIN,         /* stands for others: done when all that it depends on is done */
    FERRY__OP_BRIDGE_READ,  /* the half of a bridged copy on the source's device */
    FERRY__OP_BRIDGE_WRITE, /* the half on the destination's */
};

/* How recording an op ended. */
enum ferry__emitted {
    FERRY__EMIT_DONE,    /* all of the op is in submissions */
    FERRY__EMIT_MORE,    /* the submission is full */
    FERRY__EMIT_STARVED, /* no staging is free */
    FERRY__EMIT_BLOCKED, /* the op goes on when this submission is done; a bridge, when told to */
    FERRY__EMIT_WAITS,   /* the op goes on when it is resumed */
    FERRY__EMIT_FAILED,  /* the transfer at the cursor cannot be carried out: ferry_last_error() */
};

/* What differs between types of op. */
struct ferry__op_type {
    enum ferry__op_kind kind;
    /* Writes commands of op, as many as there is room and staging for. On FAILED *out_status says
     * why. Under no lock. */
    enum ferry__emitted (*record)(struct ferry_device *device, struct ferry__submission *sub,
                                  struct ferry__op *op, enum ferry_status *out_status);
    /* The rest of op will not be carried out. Under device->lock. NULL: nothing to do. */
    void (*abandon)(struct ferry__op *op, enum ferry_status status, const char *why);
    /* All that op depends on is done, and so is its own work: what became of it. Under
     * device->lock. */
    void (*judge)(struct ferry__op *op);
    /* op is done. Under no lock. NULL: nothing to do. */
    void (*done)(struct ferry__op *op);
    /* Lets go what only an op in flight needs; again: nothing. Under no lock. NULL: nothing to
     * do. */
    void (*release)(struct ferry__op *op);
};

#endif
