/* MTLSharedEvent: a value that only grows, waiters, notifications. MTLEvent: the GPU's alone. */
#include "sim.h"

#include <stdlib.h>

extern void _Block_release(const void *block);

/* Retains no event: one that dies leaves its notifications where they are. */
struct sim_notification {
    struct sim_event *event;
    uint64_t value;
    mtl_block block;
    struct sim_notification *next;
};

static struct sim_listener *listeners; /* guarded by sim.lock */

static mtl_id make(struct sim_device *device, enum sim_kind kind)
{
    if (sim_constructor_fails())
        return NULL;
    struct sim_event *event = sim_make(kind);
    event->device = sim_retain(device);
    return (mtl_id)event;
}

mtl_id sim_event_new(struct sim_device *device)
{
    return make(device, SIM_EVENT);
}

mtl_id sim_plain_event_new(struct sim_device *device)
{
    return make(device, SIM_PLAIN_EVENT);
}

void sim_event_dealloc(struct sim_object *object)
{
    sim_autorelease(((struct sim_event *)object)->device);
}

/* Hands on what waited for this value. Locked. */
static void notify(struct sim_event *event)
{
    for (struct sim_listener *listener = listeners; listener; listener = listener->next) {
        struct sim_notification **link = &listener->notifications;
        while (*link) {
            struct sim_notification *n = *link;
            if (n->event != event || n->value > event->value) {
                link = &n->next;
                continue;
            }
            *link = n->next;
            sim_notify_later(n->block, listener, event, event->value);
            free(n);
        }
    }
}

void sim_event_raise(struct sim_event *event, uint64_t value)
{
    sim_lock();
    if (value < event->value)
        sim.counts.lowered++;
    else
        event->value = value;
    notify(event);
    pthread_cond_broadcast(&sim.changed);
    sim_unlock();
}

static uint64_t event_value(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    sim_lock();
    uint64_t value = ((struct sim_event *)self)->value;
    sim_unlock();
    return value;
}

static void event_set(mtl_id self, mtl_sel cmd, uint64_t value)
{
    (void)cmd;
    sim_event_raise((struct sim_event *)self, value);
}

static void event_notify(mtl_id self, mtl_sel cmd, mtl_id to, uint64_t value, mtl_block block)
{
    (void)cmd;
    struct sim_event *event = (struct sim_event *)self;
    struct sim_listener *listener = sim_check(to, SIM_LISTENER);
    mtl_block copy = listener ? sim_block_copy(block, "v24@?0@8Q16") : NULL;
    if (!copy)
        return;
    struct sim_notification *n = malloc(sizeof *n);
    sim_lock();
    *n = (struct sim_notification){event, value, copy, listener->notifications};
    listener->notifications = n;
    listener->pending++;
    notify(event);
    sim_unlock();
}

static void event_set_label(mtl_id self, mtl_sel cmd, mtl_id label)
{
    (void)self, (void)cmd;
    sim_check(label, SIM_STRING);
}

const struct sim_method sim_event_methods[] = {
    SIM_METHOD(event_value, event_value),
    SIM_METHOD(event_set, event_set),
    SIM_METHOD(event_notify, event_notify),
    SIM_METHOD(set_label, event_set_label),
    {0, NULL},
};
const struct sim_method sim_plain_event_methods[] = {SIM_METHOD(set_label, event_set_label),
                                                     {0, NULL}};

/* --- listeners -------------------------------------------------------------------------------- */

static mtl_id listener_new(mtl_id self, mtl_sel cmd)
{
    (void)self, (void)cmd;
    if (sim_constructor_fails())
        return NULL;
    struct sim_listener *listener = sim_make(SIM_LISTENER);
    sim_lock();
    listener->next = listeners;
    listeners = listener;
    sim_unlock();
    sim_knobs_faults(true); /* the last that the driver makes when it opens a device */
    return (mtl_id)listener;
}

const struct sim_method sim_listener_class_methods[] = {SIM_METHOD(class_new, listener_new),
                                                        {0, NULL}};

/* What was asked for comes to a port that is closed. */
void sim_listener_dealloc(struct sim_object *object)
{
    struct sim_listener *dead = (struct sim_listener *)object;
    sim_lock();
    struct sim_listener **link = &listeners;
    while (*link != dead)
        link = &(*link)->next;
    *link = dead->next;
    const unsigned pending = dead->pending;
    struct sim_notification *left = dead->notifications;
    sim_unlock();
    if (pending)
        sim_breach(METALSIM_LIFETIME, "a listener dies with %u notifications pending", pending);
    while (left) {
        struct sim_notification *next = left->next;
        _Block_release(left->block);
        free(left);
        left = next;
    }
}
