/*
 * The measuring core of Ferry's benchmarks. It knows nothing of Ferry: contestants are functions.
 *
 * Contestants of one group run in one process, in rounds: each runs once a round, in an order that
 * rotates by one from round to round, so that what the machine does meanwhile hits all alike. A
 * ratio is taken within a round, and the median over the rounds is what is told. Times in
 * nanoseconds. One thread uses a way, and a team, at a time.
 */
#ifndef FERRY_BENCH_MEASURE_H
#define FERRY_BENCH_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCH_ROUNDS_MAX = 512, BENCH_ROUNDS_MIN = 3, BENCH_THREADS_MAX = 8 };

#define BENCH_FAILED UINT64_MAX

/* A contestant. run makes that many calls and returns the time they took, or BENCH_FAILED. */
struct bench_way {
    uint64_t (*run)(void *state, uint64_t calls);
    void *state;
    uint64_t items;     /* operations that one call does; a sample is the time of one of them */
    uint64_t sample_ns; /* a sample takes this at least; 0: 100 us */
    uint64_t calls;     /* in one sample; bench_measure finds it */
    bool settle;        /* a call that is not timed goes before each sample */
    double samples[BENCH_ROUNDS_MAX];
};

struct bench_figure {
    double median, low, high; /* low and high: a tenth of the rounds lies outside, on each side */
};

uint64_t bench_now_ns(void);

/*
 * Warms every way, finds how many calls make a sample worth timing, and goes on round after round
 * until budget_ns is over, but for BENCH_ROUNDS_MIN rounds at least. Returns the rounds; 0: a way
 * failed.
 */
size_t bench_measure(struct bench_way *const *ways, size_t count, uint64_t budget_ns);

/* The same for so many rounds, BENCH_ROUNDS_MAX at most. */
size_t bench_measure_rounds(struct bench_way *const *ways, size_t count, size_t rounds);

/* The time of one operation. */
struct bench_figure bench_time(const struct bench_way *way, size_t rounds);

/* How many times as fast way is as yardstick, each round's ratio for itself. */
struct bench_figure bench_ratio(const struct bench_way *way, const struct bench_way *yardstick,
                                size_t rounds);

/* --- threads that start together (team.c) ----------------------------------------------------- */

struct bench_team;

/* threads: the caller among them, up to BENCH_THREADS_MAX. NULL: the system has no more. */
struct bench_team *bench_team_create(unsigned threads);
void bench_team_destroy(struct bench_team *team); /* NULL allowed */

/*
 * Runs work(state, i) on each thread i and returns the time from when all of them stand ready, each
 * on a CPU of its own as far as there are so many, until the last has ended. Waking is not in it.
 */
uint64_t bench_team_run(struct bench_team *team, void (*work)(void *state, unsigned index),
                        void *state);

/* --- memcpy, to compare with (yardstick.c) ---------------------------------------------------- */

/* team NULL: one thread copies all; else a team of two, and each copies one half. */
struct bench_memcpy {
    unsigned char *to;
    const unsigned char *from;
    size_t size;
    struct bench_team *team;
};

/* A bench_way's run; state is a struct bench_memcpy. */
uint64_t bench_run_memcpy(void *state, uint64_t calls);

/* --- where threads run (pin_linux.c, pin_macos.c) --------------------------------------------- */

/*
 * Keeps this thread, and those made by it from now on, on one CPU, the same each time. False:
 * the system knows no such thing. bench_unpin undoes it for this thread.
 */
bool bench_pin(void);
void bench_unpin(void);

/* Moves this thread to the index-th CPU that it may run on, and leaves it free to be moved again: a
 * thread that is woken often begins on the CPU of the one that woke it. */
void bench_place(unsigned index);

#endif
