/* A line on a terminal, for work that takes over a second. */
#ifndef FERRY_CLI_PROGRESS_H
#define FERRY_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
    bool on;          /* stderr is a terminal that can wipe a line, and nobody asked for quiet */
    bool shown;       /* there is a line to wipe */
    const char *name; /* what is being worked on; NULL: nothing to name */
    uint64_t began_ns, last_ns;
};

/* The longest line; PROGRESS_COLUMNS: where a terminal does not tell its width. */
enum { PROGRESS_LINE_MAX = 512, PROGRESS_COLUMNS = 80 };

/* name is borrowed until progress_stop. */
void progress_start(struct progress *progress, const char *name, bool quiet);

/* done of total bytes; total 0: not known. Draws at most ten times a second. */
void progress_bytes(struct progress *progress, uint64_t done, uint64_t total);

/* done of total steps, of what unit says: "operations", "groups". */
void progress_steps(struct progress *progress, uint64_t done, uint64_t total, const char *unit);

/* operations done in elapsed_ns, of limit_ns that there are. */
void progress_operations(struct progress *progress, uint64_t operations, uint64_t limit_ns);

/* Wipes the line; before anything else is printed. */
void progress_stop(struct progress *progress);

/* What progress_bytes draws, into line (PROGRESS_LINE_MAX bytes): at most columns wide. Where that
 * is little, the bar goes first, then the name, the bytes, the time left and the rate. */
void progress_line(char *line, size_t columns, const char *name, uint64_t done, uint64_t total,
                   uint64_t elapsed_ns);

#endif
