/* The log, and the locks under which it waits. */
#ifndef FERRY_BASE_LOG_H
#define FERRY_BASE_LOG_H

#include "base/compiler.h"

#include <ferry/ferry.h>
#include <pthread.h>

void ferry__log(enum ferry_log_level level, const char *format, ...)
    FERRY__PRINTF(2, 3) FERRY__COLD;

/* The order in which locks may be taken: the ranks rise. A debug build keeps a record of what each
 * thread holds, and aborts on any other order. */
enum {
    FERRY__LOCK_DEVICES,        /* and a device's id: lower ones first */
    FERRY__LOCK_POOL = 1 << 16, /* native memory */
    FERRY__LOCK_STAGING,        /* and files' slots */
    FERRY__LOCK_LEAF,
};

/* A message that is logged while this thread holds locks taken by these is kept until it has
 * released the last of them: the user's function runs under no lock of ours. */
void ferry__lock(pthread_mutex_t *mutex); /* a leaf */
void ferry__lock_as(pthread_mutex_t *mutex, unsigned rank);
void ferry__unlock(pthread_mutex_t *mutex);

/* May return though nobody has signalled, as any wait on a condition. */
void ferry__cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);

/* Before a wait: gives what was kept to the log. True: the lock was given up for that. */
bool ferry__log_kept(pthread_mutex_t *mutex);

/* The level until the program sets one (FERRY_LOG). */
void ferry__log_default(enum ferry_log_level level);

#endif
