/* Threads and conditions. */
#ifndef FERRY_BASE_THREAD_H
#define FERRY_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* A lock that is held for so short a time that who waits for it spins a little before it sleeps,
 * where the system has such. 0, or an errno. */
int ferry__short_lock_init(pthread_mutex_t *lock);

/* A condition variable on CLOCK_MONOTONIC; waiting until deadline_ns (UINT64_MAX: for ever) returns
 * false when the time is over. */
int ferry__cond_init(pthread_cond_t *cond);
bool ferry__cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns);

/* Starts a joinable thread with all signals blocked and the given name (at most 15 characters). */
int ferry__thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg);

/* pthread_cancel waits until the thread has left Ferry, or locks would stay held. Returns what
 * ferry__cancel_on is to be given. */
int ferry__cancel_off(void);
void ferry__cancel_on(int before);

/* This thread's number, from 0 on; given to another thread once this one has ended. */
enum { FERRY__THREADS_MAX = 256 }; /* threads above it get this number and share one shard */

unsigned ferry__thread_number(void);

#endif
