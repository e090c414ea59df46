/* What differs between systems. */
#ifndef FERRY_WIRE_SYSTEM_H
#define FERRY_WIRE_SYSTEM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* A condition on CLOCK_MONOTONIC; waiting returns false when the time is over. */
int ferry__wire_cond_init(pthread_cond_t *cond);
bool ferry__wire_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns);

void ferry__wire_thread_set_name(const char *name); /* the calling one's */

#endif
