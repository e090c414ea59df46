/* Command queues and command buffers: their states, their slots, their handlers. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

extern void *_Block_copy(const void *block);
extern void _Block_release(const void *block);

/* --- blocks ----------------------------------------------------------------------------------- */

void *sim_block_copy(mtl_block block, const char *signature)
{
    const struct mtl_block_description *description = block->description;
    const char *words = NULL;
    if (block->flags & (1 << 28)) {
        sim_breach(METALSIM_BLOCK, "a global block, which captures nothing");
        return NULL;
    }
    /* Without copy and dispose the signature follows the size. */
    size_t at = block->flags & MTL_BLOCK_HAS_COPY_DISPOSE
                    ? offsetof(struct mtl_block_description, signature)
                    : offsetof(struct mtl_block_description, copy);
    if (block->flags & MTL_BLOCK_HAS_SIGNATURE)
        memcpy(&words, (const char *)description + at, sizeof words);
    if (!words || strcmp(words, signature)) {
        sim_breach(METALSIM_BLOCK, "a block with the signature %s, not %s", words ? words : "none",
                   signature);
        return NULL;
    }
    if (description->reserved || description->size < sizeof *block || description->size > 4096 ||
        !block->invoke) {
        sim_breach(METALSIM_BLOCK, "a block of size %lu", description->size);
        return NULL;
    }
    return _Block_copy(block);
}

/* --- queues ----------------------------------------------------------------------------------- */

mtl_id sim_queue_new(struct sim_device *device, uint64_t maximum)
{
    if (sim_constructor_fails())
        return NULL;
    struct sim_queue *queue = sim_make(SIM_QUEUE);
    queue->device = sim_retain(device);
    queue->maximum = maximum;
    queue->worker = sim_worker_start();
    return (mtl_id)queue;
}

void sim_queue_dealloc(struct sim_object *object)
{
    struct sim_queue *queue = (struct sim_queue *)object;
    sim_worker_stop(queue->worker);
    sim_autorelease(queue->device);
}

/* Waits while all slots are taken; false: none of them will ever come free. */
static bool take_slot(struct sim_queue *queue)
{
    sim_lock();
    while (queue->out == queue->maximum && queue->uncommitted < queue->maximum)
        pthread_cond_wait(&sim.changed, &sim.lock);
    bool free = queue->out < queue->maximum;
    queue->out += free;
    queue->uncommitted += free;
    sim.counts.command_buffers += free;
    if (queue->out > sim.counts.most_out)
        sim.counts.most_out = queue->out;
    sim_unlock();
    return free;
}

static mtl_id make_commands(mtl_id self, bool retains)
{
    struct sim_queue *queue = (struct sim_queue *)self;
    if (sim_constructor_fails() || sim_counts_down(&sim.fail_new_commands))
        return NULL;
    if (!take_slot(queue)) {
        sim_breach(METALSIM_QUEUE_FULL, "all %lu command buffers are out and none is committed",
                   (unsigned long)queue->maximum);
        return NULL;
    }
    struct sim_commands *commands = sim_make(SIM_COMMANDS);
    commands->queue = sim_retain(queue);
    commands->retains = retains;
    return sim_autorelease(commands);
}

static mtl_id queue_new_retained(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    return make_commands(self, true);
}

static mtl_id queue_new_unretained(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    return make_commands(self, false);
}

static void queue_add_residency_set(mtl_id self, mtl_sel cmd, mtl_id set)
{
    (void)cmd;
    struct sim_queue *queue = (struct sim_queue *)self;
    struct sim_residency *residency = sim_check(set, SIM_RESIDENCY);
    if (residency && !sim_same_device(residency->device, queue->device))
        sim_breach(METALSIM_DEVICE, "a residency set of another device");
}

static mtl_id queue_device(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    return sim_autorelease(sim_retain(((struct sim_queue *)self)->device));
}

static void any_set_label(mtl_id self, mtl_sel cmd, mtl_id label)
{
    (void)self, (void)cmd;
    sim_check(label, SIM_STRING);
}

const struct sim_method sim_queue_methods[] = {
    SIM_METHOD(new_commands_retained, queue_new_retained),
    SIM_METHOD(new_commands, queue_new_unretained),
    SIM_METHOD(owner_device, queue_device),
    SIM_METHOD(add_residency_set, queue_add_residency_set),
    SIM_METHOD(set_label, any_set_label),
    {0, NULL},
};

/* --- command buffers -------------------------------------------------------------------------- */

void sim_commands_dealloc(struct sim_object *object)
{
    struct sim_commands *commands = (struct sim_commands *)object;
    sim_lock();
    if (commands->status == SIM_NOT_ENQUEUED) {
        commands->queue->out--;
        commands->queue->uncommitted--;
        pthread_cond_broadcast(&sim.changed);
    }
    sim_unlock();
    for (unsigned i = 0; i < commands->handler_count; i++)
        _Block_release(commands->handlers[i]);
    for (size_t i = 0; i < commands->item_count; i++)
        free(commands->items[i].dispatch);
    for (size_t i = 0; i < commands->kept_count; i++)
        sim_release(commands->kept[i]);
    free(commands->items);
    free(commands->kept);
    sim_release(commands->error);
    sim_release(commands->queue);
}

/* Between encoders and before commit? */
static bool is_open(struct sim_commands *commands, const char *what)
{
    if (commands->status != SIM_NOT_ENQUEUED)
        sim_breach(METALSIM_STATE, "%s after commit", what);
    else if (commands->open_encoder)
        sim_breach(METALSIM_STATE, "%s while an encoder is open", what);
    else
        return true;
    return false;
}

struct sim_item *sim_append(struct sim_commands *commands, enum sim_item_kind kind)
{
    if (commands->item_count == commands->item_capacity) {
        commands->item_capacity = commands->item_capacity ? 2 * commands->item_capacity : 8;
        commands->items =
            realloc(commands->items, commands->item_capacity * sizeof *commands->items);
    }
    struct sim_item *item = &commands->items[commands->item_count++];
    *item = (struct sim_item){.kind = kind, .encoder = commands->encoders};
    return item;
}

void sim_keep(struct sim_commands *commands, void *object)
{
    if (!commands->retains)
        return;
    commands->kept = realloc(commands->kept, (commands->kept_count + 1) * sizeof *commands->kept);
    commands->kept[commands->kept_count++] = sim_retain(object);
}

static mtl_id make_encoder(mtl_id self, enum sim_kind kind)
{
    struct sim_commands *commands = (struct sim_commands *)self;
    struct sim_encoder *encoder = NULL;
    sim_enter(self);
    if (is_open(commands, "a new encoder") && !sim_constructor_fails()) {
        encoder = sim_make(kind);
        encoder->commands = sim_retain(commands);
        encoder->number = ++commands->encoders;
        commands->open_encoder = encoder;
        sim_lock();
        sim.counts.blit_encoders += kind == SIM_BLIT;
        sim.counts.compute_encoders += kind == SIM_COMPUTE;
        sim_unlock();
    }
    sim_leave(self);
    return sim_autorelease(encoder);
}

static mtl_id commands_blit(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    return make_encoder(self, SIM_BLIT);
}

static mtl_id commands_compute(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    return make_encoder(self, SIM_COMPUTE);
}

static void commands_add_completed(mtl_id self, mtl_sel cmd, mtl_block block)
{
    (void)cmd;
    struct sim_commands *commands = (struct sim_commands *)self;
    sim_enter(self);
    if (commands->status != SIM_NOT_ENQUEUED)
        sim_breach(METALSIM_STATE, "addCompletedHandler: after commit");
    else if (commands->handler_count < SIM_HANDLERS) {
        mtl_block copy = sim_block_copy(block, "v16@?0@8");
        if (copy)
            commands->handlers[commands->handler_count++] = copy;
    }
    sim_leave(self);
}

/* On an Apple GPU command buffers of blits alone, between ones with kernels, may hang the channel
 * that carries them. */
static void check_blits(const struct sim_commands *commands)
{
    struct sim_queue *queue = commands->queue;
    bool blits = false, computes = false;
    for (size_t i = 0; i < commands->item_count; i++) {
        const enum sim_item_kind kind = commands->items[i].kind;
        computes |= kind == SIM_DISPATCH;
        blits |= kind == SIM_COPY || kind == SIM_FILL;
    }
    if (sim.config.machine != METALSIM_APPLE || sim.config.loose_blits)
        return;
    sim_lock();
    const bool hangs = computes && queue->blit_only;
    queue->blit_only = !computes && (queue->blit_only || (blits && queue->computed));
    queue->computed |= computes;
    sim_unlock();
    if (hangs)
        sim_breach(METALSIM_BLIT_ONLY, "blits alone in a command buffer between kernels");
}

/* The GPU's own events only: a shared one may be anybody's to signal, the user's above all. */
static void check_waits(const struct sim_commands *commands)
{
    for (size_t i = 0; i < commands->item_count; i++) {
        const struct sim_item *item = &commands->items[i];
        struct sim_event *event = item->dst;
        if ((item->kind != SIM_WAIT && item->kind != SIM_SIGNAL) ||
            event->object.kind != SIM_PLAIN_EVENT)
            continue;
        sim_lock();
        const bool early = item->kind == SIM_WAIT && event->promised < item->value;
        if (item->kind == SIM_SIGNAL && event->promised < item->value)
            event->promised = item->value;
        sim_unlock();
        if (early)
            sim_breach(METALSIM_UNSIGNALLED,
                       "a wait for %lu of an event whose signal is not "
                       "committed",
                       (unsigned long)item->value);
    }
}

static void commands_commit(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    sim_enter(self);
    if (is_open((struct sim_commands *)self, "commit")) {
        check_blits((struct sim_commands *)self);
        check_waits((struct sim_commands *)self);
        sim_commit((struct sim_commands *)self);
    }
    sim_leave(self);
}

static void commands_wait(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    struct sim_commands *commands = (struct sim_commands *)self;
    if (sim_on_handler_thread()) {
        sim_breach(METALSIM_STATE, "waitUntilCompleted inside a handler, a deadlock");
        return;
    }
    sim_lock();
    bool committed = commands->status != SIM_NOT_ENQUEUED;
    while (committed && !commands->handlers_done)
        pthread_cond_wait(&sim.changed, &sim.lock);
    sim_unlock();
    if (!committed)
        sim_breach(METALSIM_STATE, "waitUntilCompleted before commit, which waits for ever");
}

static uint64_t commands_status(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    sim_lock();
    uint64_t status = ((struct sim_commands *)self)->status;
    sim_unlock();
    return status;
}

static mtl_id commands_error(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    sim_lock();
    struct sim_error *error = ((struct sim_commands *)self)->error;
    sim_unlock();
    return error ? sim_autorelease(sim_retain(error)) : NULL;
}

static double commands_start(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    return ((struct sim_commands *)self)->start;
}

static double commands_end(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    return ((struct sim_commands *)self)->end;
}

/* An MTLEvent is good for its own device only. */
static bool check_event(const struct sim_commands *commands, mtl_id event)
{
    if (sim_is_alive(event) && ((struct sim_object *)event)->kind == SIM_PLAIN_EVENT) {
        if (((struct sim_event *)event)->device == commands->queue->device)
            return true;
        sim_breach(METALSIM_DEVICE, "an MTLEvent of another device");
        return false;
    }
    return sim_check(event, SIM_EVENT) != NULL;
}

static void encode_event(mtl_id self, mtl_id event, uint64_t value, enum sim_item_kind kind)
{
    struct sim_commands *commands = (struct sim_commands *)self;
    sim_enter(self);
    if (is_open(commands, "an event") && check_event(commands, event)) {
        const bool plain = ((struct sim_object *)event)->kind == SIM_PLAIN_EVENT;
        struct sim_item *item = sim_append(commands, kind);
        item->dst = event;
        item->value = value;
        sim_keep(commands, event);
        sim_lock();
        sim.counts.waits += kind == SIM_WAIT && !plain;
        sim.counts.signals += kind == SIM_SIGNAL && !plain;
        sim.counts.plain_waits += kind == SIM_WAIT && plain;
        sim.counts.plain_signals += kind == SIM_SIGNAL && plain;
        sim_unlock();
    }
    sim_leave(self);
}

static void commands_signal(mtl_id self, mtl_sel cmd, mtl_id event, uint64_t value)
{
    (void)cmd;
    encode_event(self, event, value, SIM_SIGNAL);
}

static void commands_wait_event(mtl_id self, mtl_sel cmd, mtl_id event, uint64_t value)
{
    (void)cmd;
    encode_event(self, event, value, SIM_WAIT);
}

const struct sim_method sim_commands_methods[] = {
    SIM_METHOD(new_blit, commands_blit),
    SIM_METHOD(new_compute, commands_compute),
    SIM_METHOD(add_completed, commands_add_completed),
    SIM_METHOD(commit, commands_commit),
    SIM_METHOD(wait_completed, commands_wait),
    SIM_METHOD(commands_status, commands_status),
    SIM_METHOD(commands_error, commands_error),
    SIM_METHOD(gpu_start, commands_start),
    SIM_METHOD(gpu_end, commands_end),
    SIM_METHOD(encode_signal, commands_signal),
    SIM_METHOD(encode_wait, commands_wait_event),
    SIM_METHOD(set_label, any_set_label),
    {0, NULL},
};
