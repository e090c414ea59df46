#include "base/pace.h"

enum {
    RATE_FROM = 1 << 20,     /* bytes: the time of less says little about the rate */
    TIMED_FROM_NS = 1000000, /* what should take that long is always timed */
    SAMPLE = 16,             /* of the rest one in so many */
    OVERHEAD_NS = 5000,      /* of any submission */
    FORGOTTEN = 256,         /* this part of the difference to a slower rate, each time */
    SPIN_NS = 200000,        /* polled: at the beginning, and after the time that is expected */
    EARLY_NS = 100000,  /* before that time a wait is awake again: timers are late by half of it */
    NAP_MIN_NS = 50000, /* shorter naps are not worth their call */
    NAP_MAX_NS = 1000000,
};

static unsigned size_of(uint64_t bytes)
{
    unsigned size = 0;
    while (size < FERRY__PACE_SIZES - 1 && bytes / RATE_FROM >> (size + 1))
        size++;
    return size;
}

/* Of the nearest size of which it is known; of two equally near ones, of the larger. */
static double rate_of(const struct ferry__pace *pace, unsigned kind, uint64_t bytes)
{
    const double *rates = pace->ns_per_byte[kind];
    const unsigned size = size_of(bytes);
    for (unsigned off = 0; off < FERRY__PACE_SIZES; off++) {
        if (size + off < FERRY__PACE_SIZES && rates[size + off] > 0)
            return rates[size + off];
        if (size >= off && rates[size - off] > 0)
            return rates[size - off];
    }
    return 0;
}

bool ferry__pace_samples(struct ferry__pace *pace, unsigned kind, uint64_t bytes)
{
    const double rate = rate_of(pace, kind, bytes);
    const bool large = bytes >= RATE_FROM && (rate <= 0 || (double)bytes * rate >= TIMED_FROM_NS);
    return large || pace->sampled++ % SAMPLE == 0;
}

uint64_t ferry__pace_expect(struct ferry__pace *pace, unsigned kind, uint64_t bytes,
                            uint64_t now_ns, bool idle)
{
    const double rate = rate_of(pace, kind, bytes);
    const uint64_t start = !idle && pace->expected_ns > now_ns ? pace->expected_ns : now_ns;
    /* Behind work of which the end is not known nothing is. */
    const bool known = rate > 0 && (idle || pace->expected_ns);
    pace->expected_ns = known ? start + OVERHEAD_NS + (uint64_t)((double)bytes * rate) : 0;
    return pace->expected_ns;
}

/* The fastest that was seen, forgotten slowly: chunks that the CPU works beside are slow, and who
 * sleeps by their rate sleeps too long when a transfer has the link for itself. */
void ferry__pace_learn(struct ferry__pace *pace, unsigned kind, uint64_t bytes, uint64_t ns)
{
    if (!ns || bytes < RATE_FROM)
        return;
    double *known = &pace->ns_per_byte[kind][size_of(bytes)];
    const double rate = (double)ns / (double)bytes;
    if (*known <= 0 || rate < *known)
        *known = rate;
    else
        *known += (rate - *known) / FORGOTTEN;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

enum ferry__rest ferry__rest(const struct ferry__patience *patience, uint64_t now_ns,
                             uint64_t *out_until)
{
    const uint64_t waited = now_ns - patience->start_ns;
    enum ferry__rest rest = FERRY__REST_BLOCK;
    *out_until = now_ns + sooner(NAP_MIN_NS + waited / 64, NAP_MAX_NS);
    if (patience->expected_ns > now_ns + EARLY_NS) {
        rest = FERRY__REST_SLEEP;
        *out_until = patience->expected_ns - EARLY_NS;
    } else if (waited < SPIN_NS || now_ns < patience->expected_ns + SPIN_NS + waited / 8) {
        rest = FERRY__REST_POLL;
    }
    *out_until = sooner(*out_until, patience->deadline_ns);
    return *out_until < now_ns + NAP_MIN_NS ? FERRY__REST_POLL : rest;
}
