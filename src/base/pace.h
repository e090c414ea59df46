/*
 * When the work that a device was given should end, and how a wait sleeps by that.
 *
 * A wait that blocks in a GPU's driver wakes 40 to 90 us late; one that polls takes a CPU. So a
 * wait polls at first, sleeps until shortly before the end that is to be expected, polls round it,
 * and blocks only when that was wrong: a wrong expectation costs no more than blocking does. The
 * times are measured rates of the queue, by kind of work and by size.
 */
#ifndef FERRY_BASE_PACE_H
#define FERRY_BASE_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    FERRY__PACE_KINDS = 5,
    FERRY__PACE_SIZES = 12, /* from 1 MiB on, each twice the one before; the last is of all above */
};

/* Of one queue; its owner guards it. */
struct ferry__pace {
    /* The fastest of late; 0: not known. By size too: what fits a cache, or a bus's buffers, seems
     * faster than a link is. */
    double ns_per_byte[FERRY__PACE_KINDS][FERRY__PACE_SIZES];
    uint64_t expected_ns; /* when the last work in flight should end */
    uint64_t sampled;
};

/* Is this work to be timed? What takes long is, always; of the rest one in 16. */
bool ferry__pace_samples(struct ferry__pace *pace, unsigned kind, uint64_t bytes);

/* When work that is handed over now should end; 0: not known. idle: nothing is before it. */
uint64_t ferry__pace_expect(struct ferry__pace *pace, unsigned kind, uint64_t bytes,
                            uint64_t now_ns, bool idle);

/* The device took ns for it; 0: that is not known. */
void ferry__pace_learn(struct ferry__pace *pace, unsigned kind, uint64_t bytes, uint64_t ns);

/* What a wait does next. */
enum ferry__rest { FERRY__REST_POLL, FERRY__REST_SLEEP, FERRY__REST_BLOCK };

struct ferry__patience {
    uint64_t start_ns, deadline_ns;
    uint64_t expected_ns; /* the earliest of what is waited for; 0: not known */
};

/* out_until: where it sleeps, until when; where it blocks, by when it should look again at a device
 * that only tells when asked: late by a 64th of the wait at most. Never beyond the deadline. */
enum ferry__rest ferry__rest(const struct ferry__patience *patience, uint64_t now_ns,
                             uint64_t *out_until);

#endif
