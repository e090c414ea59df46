/* The planner: pure functions from (operation, limits, alignment, sizes) to what the device can do.
 * No I/O, no state, no memory: every answer depends on the arguments alone. */
#ifndef FERRY_PATHS_PLAN_H
#define FERRY_PATHS_PLAN_H

#include "driver.h"
#include "engine/op.h"

#include <ferry/ferry.h>

/* A part of a copy or a fill that one engine can carry: [at, at + size) from the start. */
struct ferry__span {
    uint64_t at, size;
    enum ferry__engine engine;
};

enum { FERRY__PIECES_MAX = 64 }; /* more pieces than this go through scratch */

/* same: both ranges are of one native memory, so they may overlap. size is over 0. */
enum ferry__way ferry__plan_copy(const struct ferry__limits *limits, uint64_t dst, uint64_t src,
                                 uint64_t size, bool same);

/* The parts of a copy whose ranges do not overlap: 1 to 3 that lie end to end; 0: only an rmw can
 * do it. Each may still exceed max_copy. */
size_t ferry__plan_copy_spans(const struct ferry__limits *limits, uint64_t dst, uint64_t src,
                              uint64_t size, struct ferry__span out[3]);

/* The next piece of an overlapping copy when done bytes are done, at most max long: its offset from
 * the start of the range. Goes upwards when dst is below src, else downwards. */

struct ferry__piece ferry__plan_piece(const struct ferry__limits *limits, uint64_t dst,
                                      uint64_t src, uint64_t size, uint64_t done, uint64_t max);

/* The length of the shortest pattern that repeats to the same bytes: a divisor of pattern_size. */
unsigned ferry__pattern_period(const uint8_t *pattern, unsigned pattern_size);

/* period as above. */
enum ferry__way ferry__plan_fill(const struct ferry__limits *limits, uint64_t offset, uint64_t size,
                                 unsigned period);

/* For a fill by COMMANDS: the parts, and for each whether it is a fill; else it is a copy from a
 * staged tile (at most fill_alignment - 1 bytes long). */
struct ferry__fill_span {
    struct ferry__span span;
    bool tile;
};

size_t ferry__plan_fill_spans(const struct ferry__limits *limits, uint64_t offset, uint64_t size,
                              unsigned period, struct ferry__fill_span out[3]);

/* What decides the path of a transfer between host and device that the CPU does not do itself. */
struct ferry__path_question {
    enum ferry_path forced; /* AUTO: none */
    uint64_t size;
    bool registered;   /* the host range is in registered memory that the device imported */
    bool import_ok;    /* imports work on this device and this range */
    bool import_cheap; /* and pay for one transfer of this size */
    uint64_t chunk;    /* bytes of a pipelined transfer's chunk */
    uint64_t budget;   /* staging budget */
};

/* Sets *out_fallback if forced could not be had. */
enum ferry_path ferry__plan_path(const struct ferry__path_question *question, bool *out_fallback);

#endif
