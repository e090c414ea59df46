#include "progress.h"

#include "cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FIRST_NS 1000000000u
#define BETWEEN_NS 100000000u
enum { BAR = 24 };

void progress_start(struct progress *progress, bool quiet)
{
    *progress =
        (struct progress){.on = !quiet && isatty(STDERR_FILENO) == 1, .began_ns = cli_now_ns()};
}

static bool is_due(struct progress *progress, uint64_t *out_elapsed)
{
    if (!progress->on)
        return false;
    uint64_t now = cli_now_ns();
    *out_elapsed = now - progress->began_ns;
    if (*out_elapsed < FIRST_NS || now - progress->last_ns < BETWEEN_NS)
        return false;
    progress->last_ns = now;
    return true;
}

static void draw(struct progress *progress, const char *line)
{
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
    progress->shown = true;
}

static void bar(char *out, double part)
{
    size_t full = (size_t)(part * BAR);
    memset(out, '.', BAR);
    memset(out, '#', full < BAR ? full : BAR);
    out[BAR] = 0;
}

void progress_line(char *line, uint64_t done, uint64_t total, uint64_t elapsed_ns)
{
    char size[CLI_TEXT_MAX], drawn[BAR + 1];
    double rate = cli_rate(done, elapsed_ns);
    cli_size(size, done);
    /* A file that grows is longer than it was said to be. */
    if (total < done || total == 0 || done == 0) {
        snprintf(line, PROGRESS_LINE_MAX, "%s  %.2f GB/s", size, rate);
        return;
    }
    double part = (double)done / (double)total;
    bar(drawn, part);
    snprintf(line, PROGRESS_LINE_MAX, "[%s] %3.0f %%  %.2f GB/s  %.0f s left", drawn, part * 100,
             rate, (double)elapsed_ns * (1 / part - 1) / 1e9);
}

void progress_bytes(struct progress *progress, uint64_t done, uint64_t total)
{
    uint64_t elapsed = 0;
    char line[PROGRESS_LINE_MAX];
    if (!is_due(progress, &elapsed))
        return;
    progress_line(line, done, total, elapsed);
    draw(progress, line);
}

void progress_operations(struct progress *progress, uint64_t operations, uint64_t limit_ns)
{
    uint64_t elapsed = 0;
    char line[PROGRESS_LINE_MAX], drawn[BAR + 1];
    if (!is_due(progress, &elapsed))
        return;
    double part = elapsed < limit_ns ? (double)elapsed / (double)limit_ns : 1;
    bar(drawn, part);
    snprintf(line, sizeof line, "[%s] %3.0f %%  %.0f operations/s  %.0f s left", drawn, part * 100,
             (double)operations * 1e9 / (double)elapsed,
             (double)(elapsed < limit_ns ? limit_ns - elapsed : 0) / 1e9);
    draw(progress, line);
}

void progress_stop(struct progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
    progress->shown = false;
}
