/*
 * The way of one file: host memory -> private buffer -> private buffer -> host memory, and every
 * byte compared; once for each window of it, and again for as long as it pays.
 */
#ifndef FERRY_CLI_JOURNEY_H
#define FERRY_CLI_JOURNEY_H

#include "cli.h"
#include "input.h"
#include "progress.h"

enum step {
    STEP_READ,     /* file to host memory; in the first pass alone if one window holds the file */
    STEP_UPLOAD,   /* host memory to private buffer */
    STEP_COPY,     /* private buffer to private buffer */
    STEP_DOWNLOAD, /* private buffer to host memory */
    STEP_COMPARE,  /* what came back with what went */
    STEP_MEMCPY,   /* the yardstick: one thread's memcpy of the same bytes */
    STEP_COUNT
};

enum { JOURNEY_PATHS_MAX = 64 };

struct journey {
    /* in */
    ferry_device *device;
    uint64_t repeat; /* passes over the file; 0: until half a second has passed */
    bool quiet;
    /* out */
    uint64_t bytes, window, windows, passes;
    uint64_t ns[STEP_COUNT];                   /* a pass's time, the median */
    char paths[STEP_COUNT][JOURNEY_PATHS_MAX]; /* "staged", "direct+pipelined"; of the moves */
    char why[CLI_WHY_MAX];                     /* why it ended badly, with the file's name */
};

enum cli_exit journey_run(struct journey *journey, struct input *input);

#endif
