/* A stream of the tests' own, whose threads fill and take chunks late, in any order and any size, that
 * fails, or that never comes. */
#ifndef FERRY_TESTS_SUITE_TAP_H
#define FERRY_TESTS_SUITE_TAP_H

#include "suite.h"

#include <ferry/stream.h>
#include <pthread.h>

enum { ROOM = 70000, HELD_MAX = 32 };

struct tap {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool source, quiet, alone; /* quiet: wants nothing; alone: answers inside chunk() */
    bool random_order, scribbles;
    unsigned seed, failing; /* failing: this many chunks are good, the next fails; 0: none */
    size_t size, chunk_max;
    unsigned char *bytes; /* what a source gives, and a sink got */
    uint32_t block;

    ferry_stream *stream;
    const struct ferry_stream_chunk *chunks[HELD_MAX];
    unsigned held_count, answered;
    uint64_t next_at; /* of a source's next chunk */
    bool out_of_order, misplaced;
    bool stop;
    unsigned begun, cancelled, ended;
    enum ferry_status end_status;
    char why[256];
    pthread_t thread;
    bool running;
};

struct ferry_stream_methods tap_methods(const struct tap *tap);
struct tap *make_tap(bool source, size_t size, unsigned seed);
void run_tap(struct tap *tap);
void tap_wait_ended(struct tap *tap);
void tap_wait_begun(struct tap *tap);
void tap_wait_held(struct tap *tap);

/* Waits until it has ended, and checks that it ended so, having begun so often. */
void drop_tap(struct tap *tap, enum ferry_status status, unsigned begun);

ferry_ticket tap_start(struct tap *tap, ferry_buffer *buffer, size_t offset);

/* Parts of its methods, for streams that do the rest differently. */
void tap_want(struct tap *tap);
void tap_end(void *user, enum ferry_status status);

#endif
