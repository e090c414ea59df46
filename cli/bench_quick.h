/* ferry bench --quick: what became of each target, and how it is printed. */
#ifndef FERRY_CLI_BENCH_QUICK_H
#define FERRY_CLI_BENCH_QUICK_H

#include "bench.h"

struct bench_verdict {
    const char *name, *unit;
    double bound;
    bool at_most;    /* a time; else a ratio, which is to be at least that */
    const char *why; /* why there is no figure; NULL: there is */
    bool met, noisy; /* noisy: too much so to tell */
    struct bench_figure figure;
};

void bench_quick_print(const struct bench_session *session, const struct bench_verdict *verdicts,
                       size_t count, enum bench_format format);

#endif
