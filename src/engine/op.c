#include "engine/op.h"

#include "base/alloc.h"
#include "base/status.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/engine.h"
#include "engine/footprint.h"
#include "paths/bridge.h"
#include "paths/choose.h"
#include "paths/file_op.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>

/* The life of an op: made, referenced, let go once it is done. */

struct ferry__op *ferry__op_create(struct ferry_device *device, enum ferry__op_kind kind)
{
    struct ferry__op *op = ferry__alloc(sizeof *op);
    if (!op) {
        (void)!ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for %zu bytes",
                           sizeof *op);
        return NULL;
    }
    op->device = device;
    op->kind = kind;
    op->ranges = &op->one_range;
    op->gathered = kind == FERRY__OP_READY || kind == FERRY__OP_EXTERNAL;
    atomic_init(&op->refs, 1);
    return op;
}

void ferry__op_ref(struct ferry__op *op)
{
    atomic_fetch_add_explicit(&op->refs, 1, memory_order_relaxed);
}

/* Lets go what only an op in flight needs. */
static void let_go(struct ferry__op *op)
{
    for (size_t i = 0; i < op->edge_count; i++)
        ferry__op_unref(op->edges[i].from);
    ferry__free(op->edges);
    op->edges = NULL;
    op->edge_count = 0;
    ferry__files_free(op);
    for (size_t i = 0; i < op->count; i++)
        ferry__item_finish(op->device, &op->items[i]);
    if (op->items != &op->one)
        ferry__free(op->items);
    op->items = NULL;
    op->count = 0;
    for (size_t i = 0; i < op->use_count; i++)
        ferry__buffer_unref(op->uses[i].buffer);
    op->use_count = 0;
    if (op->bridge)
        ferry__bridge_unref(op->bridge);
    op->bridge = NULL;
}

void ferry__op_unref(struct ferry__op *op)
{
    if (atomic_fetch_sub_explicit(&op->refs, 1, memory_order_acq_rel) != 1)
        return;
    let_go(op);
    ferry__footprint_free(op);
    ferry__free(op->uses);
    ferry__free(op->call);
    ferry__free(op);
}

void ferry__op_unref_locked(struct ferry__op *op)
{
    atomic_fetch_sub_explicit(&op->refs, 1, memory_order_acq_rel);
}

void ferry__reap(struct ferry_device *device)
{
    while (device->dead_ops || device->pokes) {
        struct ferry__op *list = device->dead_ops, *pokes = device->pokes;
        device->dead_ops = device->pokes = NULL;
        device->reaping++;
        pthread_mutex_unlock(&device->lock);
        ferry__bridge_poke_all(pokes);
        while (list) {
            struct ferry__op *op = list;
            list = op->work_next;
            if (op->bridge)
                ferry__bridge_half_done(op);
            let_go(op);
            ferry__op_unref(op);
        }
        pthread_mutex_lock(&device->lock);
        if (--device->reaping == 0)
            ferry__changed(device);
    }
}
