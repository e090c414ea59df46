/* MTLSharedEvent: a value that only grows, waiters, notifications. */
#include "sim.h"

#include <stdlib.h>

extern void _Block_release(const void *block);

struct sim_notification {
    uint64_t value;
    mtl_block block;
    struct sim_notification *next;
};

mtl_id sim_event_new(struct sim_device *device)
{
    if (sim_constructor_fails())
        return NULL;
    struct sim_event *event = sim_make(SIM_EVENT);
    event->device = sim_retain(device);
    return (mtl_id)event;
}

void sim_event_dealloc(struct sim_object *object)
{
    struct sim_event *event = (struct sim_event *)object;
    while (event->notifications) {
        struct sim_notification *first = event->notifications;
        event->notifications = first->next;
        _Block_release(first->block);
        free(first);
    }
    sim_autorelease(event->device);
}

/* Hands on what waited for this value. Locked. */
static void notify(struct sim_event *event)
{
    struct sim_notification **link = &event->notifications;
    while (*link) {
        struct sim_notification *n = *link;
        if (n->value > event->value) {
            link = &n->next;
            continue;
        }
        *link = n->next;
        sim_notify_later(n->block, event, event->value);
        free(n);
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

static void event_notify(mtl_id self, mtl_sel cmd, mtl_id listener, uint64_t value, mtl_block block)
{
    (void)cmd;
    struct sim_event *event = (struct sim_event *)self;
    mtl_block copy =
        sim_check(listener, SIM_LISTENER) ? sim_block_copy(block, "v24@?0@8Q16") : NULL;
    if (!copy)
        return;
    struct sim_notification *n = malloc(sizeof *n);
    sim_lock();
    *n = (struct sim_notification){value, copy, event->notifications};
    event->notifications = n;
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
