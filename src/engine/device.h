/* A device. */
#ifndef FERRY_ENGINE_DEVICE_H
#define FERRY_ENGINE_DEVICE_H

#include "base/compiler.h"
#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/tree.h"
#include "driver.h"
#include "engine/callback.h"
#include "engine/register.h"
#include "engine/submission.h"
#include "engine/ticket.h"
#include "engine/work_event.h"
#include "memory/gpu.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>

enum { FERRY__TOKENS_MAX = 8 };

struct ferry__bridge_wait;
struct ferry__file_io;
struct ferry__stream_slots;
struct ferry__op;
struct ferry__reason;
struct ferry__trace;
struct ferry_buffer;
struct ferry_stream;

/* A walk through the living ops during which the lock is given up. */
struct ferry__walk {
    struct ferry__op *next;
    struct ferry__walk *outer;
};

struct ferry_device {
    struct ferry__gpu gpu;
    struct ferry__trace *trace; /* NULL: none is written */
    unsigned id;
    _Atomic unsigned refs; /* the user's, and one for each buffer */
    _Atomic int dead;      /* FERRY__ALIVE, or why not */
    enum ferry_path path;
    enum ferry_map map;
    bool no_staging_wait, zeroed;
    unsigned cpus_taken; /* by the device itself: 1 where a CPU carries it out */

    pthread_mutex_t lock;       /* guards all below, and what says so above */
    pthread_cond_t changed;     /* something is done, or a waiter must take over */
    pthread_cond_t engine_work; /* wakes the engine thread */
    struct ferry__queue queues[FERRY__QUEUES_MAX];
    unsigned role_queue[4];    /* by log2 of the role */
    struct ferry__tree living; /* ops that are not done, by ticket */
    struct ferry__walk *walks; /* through them, in pieces */
    struct ferry__tickets tickets;
    ferry_ticket first_ticket, last_ticket;
    uint64_t awaited_done; /* operations that have ended of which somebody waited for one of many */
    bool no_kernel;        /* for what commands can do */
    uint64_t parked_max,
        parked;          /* operations and blocks that were not handed over; internal ones and
                                    those that wait inside their call are not counted */
    uint64_t sub_number; /* of the latest submission that was begun */
    struct ferry__list buffers;
    pthread_t engine;
    struct ferry__start engine_start;
    bool engine_stop;
    _Atomic bool polling;         /* written under the lock */
    _Atomic bool has_helper;      /* of the threads that wait one polls, see poll_together */
    uint32_t polled;              /* a bit for each queue that the poller waits for */
    bool (*poll_done)(void *arg); /* what it wants, NULL: the engine, to whom kick speaks */
    void *poll_arg;
    unsigned waiters; /* threads in ferry__wait_until, which do the engine's work meanwhile */
    struct ferry__list open_works; /* external work that was not ended */
    struct ferry__list works;      /* was ended, and not done: their events are waited for */
    struct ferry__link *look_at;   /* the next of those to look at; NULL: the first alone */
    struct ferry__work_event *events, *events_free; /* all, and those that are to be used again */
    struct ferry__list dead_ops;                    /* done, to be let go without the lock */
    struct ferry__list closing; /* ops that are done, with dependents that have not heard of it */
    struct ferry__op *joins;    /* whose dependents are to hear how far they are */
    unsigned closed;            /* edges and joins, ever: see breathe_at_times */
    struct ferry__follows follows; /* what an op that registers depends on */
    struct ferry__claim *claims;   /* buffers of those that register in pieces */
    pthread_cond_t turn;           /* one has, or a thread was started */
    unsigned in_one_breath;        /* over 0: ferry__breathe does not give up the lock */
    struct ferry__reason *reason;  /* why an op failed last */
    struct ferry__op *to_resume;   /* halves of bridges on other devices, likewise */
    unsigned bridges;              /* copies between this device and another */
    struct ferry__memory tokens[FERRY__TOKENS_MAX]; /* of such copies by peers, for the next ones */
    unsigned token_count;
    void (*staging_came)(struct ferry_device *device); /* under the lock; NULL: nobody asks */
    struct ferry__list bridge_waits; /* bridges that wait for staging, by ticket */
    unsigned reaping;                /* threads that are letting ops go */
    struct ferry__list free_subs;
    uint64_t staging_returns; /* counts the times that staging came back */
    struct ferry__callback_thread callbacks;
    _Atomic(struct ferry__file_io *) files;      /* NULL: none were moved yet */
    _Atomic(struct ferry__stream_slots *) slots; /* likewise of any stream */
    struct ferry__list streams;                  /* the user's, that have begun */
    bool streams_over;                           /* none begins any more */
    bool cancels_due;                            /* of some of them */
    /* Tells streams of their end; false: there was none to tell. Under the lock, which it gives up.
     * NULL: there are no streams. */
    bool (*streams_step)(struct ferry_device *device);

    struct ferry_device *all_next; /* of the process */
    void (*close_now)(struct ferry_device *device);
    struct ferry_device *close_next; /* to be closed after a callback */
};

static inline void ferry__device_lock(struct ferry_device *device)
{
    ferry__lock_as(&device->lock, FERRY__LOCK_DEVICES + device->id);
}

static inline void ferry__device_unlock(struct ferry_device *device)
{
    ferry__unlock(&device->lock);
}

/* Starts a thread of the device's, if that was not done, and not under the lock: it takes long. 0,
 * or why there is none. */
int ferry__device_thread(struct ferry_device *device, struct ferry__start *start, pthread_t *thread,
                         const char *name, void *(*run)(void *device));

/* device->dead: later ones replace earlier ones. */
enum { FERRY__ALIVE, FERRY__LOST, FERRY__CLOSED, FERRY__FORKED };

/* DEVICE_LOST, in words, unless the device is alive. */
enum ferry_status ferry__device_dead(const struct ferry_device *device, const char *what);
void ferry__device_ref(struct ferry_device *device);
void ferry__device_unref(struct ferry_device *device);

/* Latches the loss of the device, under device->lock or not. */
void ferry__device_lose(struct ferry_device *device);

/* Gives the device an id that no other open one has: ids come round again. False: all are taken. */
bool ferry__devices_add(struct ferry_device *device);
void ferry__devices_remove(struct ferry_device *device);

#endif
