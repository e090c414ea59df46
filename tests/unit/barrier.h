/* Threads that meet once. macOS has no pthread_barrier_t. */
#ifndef FERRY_TESTS_BARRIER_H
#define FERRY_TESTS_BARRIER_H

#include <pthread.h>

struct barrier {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned missing;
};

static inline void barrier_init(struct barrier *barrier, unsigned count)
{
    *barrier = (struct barrier){
        .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .missing = count};
}

static inline void barrier_wait(struct barrier *barrier)
{
    pthread_mutex_lock(&barrier->lock);
    if (--barrier->missing == 0)
        pthread_cond_broadcast(&barrier->cond);
    while (barrier->missing > 0)
        pthread_cond_wait(&barrier->cond, &barrier->lock);
    pthread_mutex_unlock(&barrier->lock);
}

#endif
