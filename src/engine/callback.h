/* The thread that runs the user's functions. */
#ifndef FERRY_ENGINE_CALLBACK_H
#define FERRY_ENGINE_CALLBACK_H

#include "base/list.h"

#include <ferry/ferry.h>
#include <pthread.h>

struct ferry__reason;
struct ferry_device;

/* Whether a thread was started. Under the lock. */
struct ferry__start {
    bool busy, done;
};

struct ferry__call {
    struct ferry__link link; /* of calls */
    ferry_callback callback;
    void *user;
    ferry_ticket ticket;
    enum ferry_status status;
    struct ferry__reason *why; /* of a failure */
};

struct ferry__callback_thread { /* the thread that runs the user's functions, and its list */
    pthread_t thread;
    pthread_cond_t work, idle;
    struct ferry__start start;
    bool stop;
    bool closing; /* a callback closed the device: the thread has left its list, and does so */
    struct ferry__list calls; /* to be made, in order */
    uint64_t pushed, returned;
};

enum ferry_status ferry__in_callback(const char *what);                /* OK outside one */
enum ferry_status ferry__callbacks_start(struct ferry_device *device); /* the callback thread */
void ferry__callbacks_finish(struct ferry_device *device);

/* Waits until all callbacks have returned, or runs them, on their own thread. False: there were
 * none. Under device->lock, which it gives up on the way. */
bool ferry__callbacks_drain(struct ferry_device *device);
void ferry__callbacks_push(struct ferry_device *device,
                           struct ferry__call *call); /* under the lock */

/* What can fail before an operation that is done inside its call; NULL callback: *out_call
 * stays. */
enum ferry_status ferry__call_prepare(struct ferry_device *device, ferry_callback callback,
                                      void *user, struct ferry__call **out_call);

/* Gives the callback, if there is one, its turn. */
void ferry__call_done(struct ferry_device *device, struct ferry__call *call, ferry_ticket ticket);
bool ferry__inside_callback(void);

/* Closes the device after the callback that runs on this thread. */
void ferry__close_later(struct ferry_device *device);

#endif
