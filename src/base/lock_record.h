/* A debug build's record of the locks that each thread holds: in which order, and for how long. In
 * any other nothing is recorded. */
#ifndef FERRY_BASE_LOCK_RECORD_H
#define FERRY_BASE_LOCK_RECORD_H

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* How long devices' locks were held since the last call: counts[i] times for less than 2^i ns, and
 * no less than half of that, or at last for as long as may be; and the longest, in ns. CPU time:
 * what a thread was not running for is no fault of what it does there. False: nothing is
 * recorded. */
enum { FERRY__HOLDS = 40 };

struct ferry__holds {
    uint64_t counts[FERRY__HOLDS], longest_ns, over_100us;
};

bool ferry__lock_holds(struct ferry__holds *out);

#ifdef NDEBUG
#define FERRY__LOCK_RECORD(name)                                        \
    static inline void ferry__lock_##name(const pthread_mutex_t *mutex) \
    {                                                                   \
        (void)mutex;                                                    \
    }
FERRY__LOCK_RECORD(taken)
FERRY__LOCK_RECORD(releasing)
FERRY__LOCK_RECORD(waiting)
FERRY__LOCK_RECORD(waited)

static inline void ferry__lock_taking(const pthread_mutex_t *mutex, unsigned rank)
{
    (void)mutex;
    (void)rank;
}

static inline unsigned ferry__lock_rank(const pthread_mutex_t *mutex)
{
    (void)mutex;
    return UINT_MAX;
}
#else
void ferry__lock_taking(const pthread_mutex_t *mutex, unsigned rank); /* aborts on a wrong order */
void ferry__lock_taken(const pthread_mutex_t *mutex);
void ferry__lock_releasing(const pthread_mutex_t *mutex);
unsigned ferry__lock_rank(const pthread_mutex_t *mutex); /* of one that this thread holds */

/* A condition gives it up in between. */
void ferry__lock_waiting(const pthread_mutex_t *mutex);
void ferry__lock_waited(const pthread_mutex_t *mutex);
#endif

#endif
