#include "base/thread.h"

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/system.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

/* --- starting --------------------------------------------------------------------------------- */

struct start {
    void *(*run)(void *);
    void *arg;
    char name[16];
};

static void *begin(void *memory)
{
    struct start start = *(struct start *)memory;
    ferry__free(memory);
    ferry__thread_set_name(start.name);
    return start.run(start.arg);
}

int ferry__thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg)
{
    struct start *start = ferry__alloc(sizeof *start);
    if (!start)
        return ENOMEM;
    start->run = run;
    start->arg = arg;
    snprintf(start->name, sizeof start->name, "%s", name);
    /* The new thread inherits the mask, so that it never runs with signals open. */
    sigset_t all, before;
    sigfillset(&all);
    /* A fault's signal cannot be held back: blocked, it ends the process past its own handler. */
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, begin, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        ferry__free(start);
    return error;
}

int ferry__cancel_off(void)
{
    int before = PTHREAD_CANCEL_ENABLE;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

void ferry__cancel_on(int before)
{
    pthread_setcancelstate(before, &(int){0});
}

/* --- numbers ---------------------------------------------------------------------------------- */

enum { WORDS = FERRY__THREADS_MAX / 64 };

/* Bits of the numbers in use. Taking acquires what giving released: the owner before is done. */
static _Atomic uint64_t numbers[WORDS];
static _Thread_local unsigned own_number; /* plus 1; 0: none yet */
static pthread_key_t number_key;
static pthread_once_t number_once = PTHREAD_ONCE_INIT;
static bool have_key;

/* Runs as the thread ends. Destructors that run after it count in the shared shard. */
static void give_number(void *value)
{
    unsigned number = (unsigned)(uintptr_t)value - 1;
    own_number = FERRY__THREADS_MAX + 1;
    atomic_fetch_and_explicit(&numbers[number / 64], ~(UINT64_C(1) << number % 64),
                              memory_order_release);
}

static void make_key(void)
{
    have_key = pthread_key_create(&number_key, give_number) == 0;
}

static unsigned lowest_free(uint64_t word)
{
    return (unsigned)__builtin_ctzll(~word);
}

static unsigned take_number(void)
{
    for (unsigned i = 0; i < WORDS; i++) {
        uint64_t word = atomic_load_explicit(&numbers[i], memory_order_relaxed);
        while (word != UINT64_MAX) {
            unsigned bit = lowest_free(word);
            if (atomic_compare_exchange_weak_explicit(&numbers[i], &word, word | UINT64_C(1) << bit,
                                                      memory_order_acquire, memory_order_relaxed))
                return i * 64 + bit;
        }
    }
    return FERRY__THREADS_MAX;
}

static FERRY__COLD unsigned first_number(void)
{
    pthread_once(&number_once, make_key);
    unsigned number = have_key ? take_number() : FERRY__THREADS_MAX;
    if (number < FERRY__THREADS_MAX &&
        pthread_setspecific(number_key, (void *)(uintptr_t)(number + 1)) != 0) {
        give_number((void *)(uintptr_t)(number + 1));
        number = FERRY__THREADS_MAX;
    }
    own_number = number + 1;
    return number;
}

unsigned ferry__thread_number(void)
{
    unsigned number = own_number;
    return FERRY__LIKELY(number != 0) ? number - 1 : first_number();
}
