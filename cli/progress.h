/* A bar on a terminal, for work that takes over a second. */
#ifndef FERRY_CLI_PROGRESS_H
#define FERRY_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
    bool on;    /* stderr is a terminal and nobody asked for quiet */
    bool shown; /* there is a line to wipe */
    uint64_t began_ns, last_ns;
};

enum { PROGRESS_LINE_MAX = 80 };

void progress_start(struct progress *progress, bool quiet);

/* done of total bytes; total 0: not known. Draws at most ten times a second. */
void progress_bytes(struct progress *progress, uint64_t done, uint64_t total);

/* operations done in elapsed_ns, of limit_ns that there are. */
void progress_operations(struct progress *progress, uint64_t operations, uint64_t limit_ns);

/* Wipes the line; before anything else is printed. */
void progress_stop(struct progress *progress);

/* What progress_bytes draws, into line (PROGRESS_LINE_MAX bytes). */
void progress_line(char *line, uint64_t done, uint64_t total, uint64_t elapsed_ns);

#endif
