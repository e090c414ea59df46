#include "progress.h"

#include "cli.h"
#include "common/env.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FIRST_NS 1000000000u
#define BETWEEN_NS 100000000u

enum { BAR_MAX = 24, BAR_MIN = 4, NAME_MAX_COLUMNS = 32, NAME_MIN_COLUMNS = 8, PART_MAX = 64 };

/* A terminal that knows no cursor would show every line one after the other. */
static bool can_wipe(void)
{
    const char *term = ferry__env("TERM");
    return term && term[0] != 0 && strcmp(term, "dumb") != 0 && isatty(STDERR_FILENO) == 1;
}

void progress_start(struct progress *progress, const char *name, bool quiet)
{
    *progress =
        (struct progress){.on = !quiet && can_wipe(), .name = name, .began_ns = cli_now_ns()};
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

/* Asked each time: windows change their size. The last column stays empty, where some terminals
 * begin a new line. */
static size_t columns(void)
{
    struct winsize size = {.ws_col = 0};
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return PROGRESS_COLUMNS - 1;
    return size.ws_col - 1;
}

static void draw(struct progress *progress, const char *line)
{
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
    progress->shown = true;
}

/* --- a line ----------------------------------------------------------------------------------- */

/* The parts of a line, in the order of drawing. */
enum part { NAME, BAR, SHARE, BYTES, RATE, LEFT, PARTS };

struct line {
    char parts[PARTS][PART_MAX]; /* "" where there is none */
    double share;                /* of the bar; below 0: there is none */
};

/* What is drawn of a name: the end of a path, and nothing that could move the cursor. */
static void put_name(char *out, const char *name, size_t most)
{
    const size_t length = strlen(name);
    const char *from = name;
    size_t at = 0;
    if (length > most) {
        from += length - (most - 3);
        at = (size_t)sprintf(out, "...");
    }
    for (; *from != 0; from++)
        out[at++] = *from >= 0x20 && *from < 0x7f ? *from : '?';
    out[at] = 0;
}

static void put_bar(char *out, double share, size_t width)
{
    const size_t inside = width - 2;
    const size_t full = (size_t)(share * (double)inside);
    out[0] = '[';
    memset(out + 1, '.', inside);
    memset(out + 1, '#', full < inside ? full : inside);
    out[inside + 1] = ']';
    out[width] = 0;
}

static size_t width_of(const struct line *line)
{
    size_t width = 0;
    for (int i = 0; i < PARTS; i++) {
        const size_t own = strlen(line->parts[i]);
        width += own > 0 ? own + (width > 0 ? 2 : 0) : 0;
    }
    return width;
}

/* Makes room: what is told last goes first. */
static void fit(struct line *line, const char *name, size_t most)
{
    static const enum part order[] = {NAME, BYTES, LEFT, RATE, SHARE};
    size_t width = width_of(line);
    for (size_t i = 0; i < CLI_COUNT(order) && width > most; i++) {
        const size_t own = strlen(line->parts[order[i]]);
        if (order[i] == NAME && own >= NAME_MIN_COLUMNS && width - own + NAME_MIN_COLUMNS <= most)
            put_name(line->parts[NAME], name, most - (width - own));
        else
            line->parts[order[i]][0] = 0;
        width = width_of(line);
    }
    if (line->share < 0 || most < width + 2 + BAR_MIN)
        return;
    const size_t room = most - width - 2;
    put_bar(line->parts[BAR], line->share, room < BAR_MAX + 2 ? room : BAR_MAX + 2);
}

static void print_line(char *out, struct line *line, const char *name, size_t most)
{
    if (name)
        put_name(line->parts[NAME], name, NAME_MAX_COLUMNS);
    fit(line, name, most);
    size_t at = 0;
    out[0] = 0;
    for (int i = 0; i < PARTS; i++) {
        if (line->parts[i][0] != 0)
            at += (size_t)snprintf(out + at, PROGRESS_LINE_MAX - at, "%s%s", at > 0 ? "  " : "",
                                   line->parts[i]);
    }
}

static void put_left(char *out, double seconds)
{
    const unsigned long long whole =
        seconds < 1e9 ? (unsigned long long)(seconds + 0.5) : 1000000000;
    if (whole < 100)
        snprintf(out, PART_MAX, "%llu s left", whole);
    else if (whole < 6000)
        snprintf(out, PART_MAX, "%llu min left", (whole + 30) / 60);
    else
        snprintf(out, PART_MAX, "%llu h left", (whole + 1800) / 3600);
}

/* The share and the time left, where the end is known. A file that grows is longer than it was said
 * to be. */
static void put_share(struct line *line, uint64_t done, uint64_t total, uint64_t elapsed_ns)
{
    line->share = total < done || total == 0 ? -1 : (double)done / (double)total;
    if (line->share < 0)
        return;
    snprintf(line->parts[SHARE], PART_MAX, "%.0f %%", line->share * 100);
    if (done > 0)
        put_left(line->parts[LEFT], (double)elapsed_ns * (1 / line->share - 1) / 1e9);
}

void progress_line(char *line, size_t width, const char *name, uint64_t done, uint64_t total,
                   uint64_t elapsed_ns)
{
    char size[CLI_TEXT_MAX], whole[CLI_TEXT_MAX];
    struct line parts = {.share = -1};
    put_share(&parts, done, total, elapsed_ns);
    cli_size(size, done);
    if (parts.share < 0)
        snprintf(parts.parts[BYTES], PART_MAX, "%s", size);
    else
        snprintf(parts.parts[BYTES], PART_MAX, "%s of %s", size, cli_size(whole, total));
    snprintf(parts.parts[RATE], PART_MAX, "%.2f GB/s", cli_rate(done, elapsed_ns));
    print_line(line, &parts, name, width);
}

/* --- drawing ---------------------------------------------------------------------------------- */

void progress_bytes(struct progress *progress, uint64_t done, uint64_t total)
{
    uint64_t elapsed = 0;
    char line[PROGRESS_LINE_MAX];
    if (!is_due(progress, &elapsed))
        return;
    progress_line(line, columns(), progress->name, done, total, elapsed);
    draw(progress, line);
}

void progress_steps(struct progress *progress, uint64_t done, uint64_t total, const char *unit)
{
    uint64_t elapsed = 0;
    char line[PROGRESS_LINE_MAX];
    struct line parts = {.share = -1};
    if (!is_due(progress, &elapsed))
        return;
    put_share(&parts, done, total, elapsed);
    snprintf(parts.parts[BYTES], PART_MAX, "%llu of %llu %s", (unsigned long long)done,
             (unsigned long long)total, unit);
    print_line(line, &parts, progress->name, columns());
    draw(progress, line);
}

void progress_operations(struct progress *progress, uint64_t operations, uint64_t limit_ns)
{
    uint64_t elapsed = 0;
    char line[PROGRESS_LINE_MAX];
    struct line parts = {.share = -1};
    if (!is_due(progress, &elapsed))
        return;
    put_share(&parts, elapsed < limit_ns ? elapsed : limit_ns, limit_ns, elapsed);
    snprintf(parts.parts[RATE], PART_MAX, "%.0f operations/s",
             (double)operations * 1e9 / (double)elapsed);
    print_line(line, &parts, progress->name, columns());
    draw(progress, line);
}

void progress_stop(struct progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
    progress->shown = false;
}
