/* Do commands without a barrier between them touch nothing of each other's, and blocks of a list
 * neither? Quickly where that is so; where it is not, which of them do. */
#include "base/spans.h"
#include "host_internal.h"

#include <stdio.h>
#include <stdlib.h>

/* A part of a command: a block, or all of it. */
struct piece {
    uintptr_t to, from; /* from 0: it reads nothing */
    uint64_t size;
};

static size_t piece_count(const struct host_command *command)
{
    return command->list ? command->block_count : 1;
}

static struct piece piece_at(const struct host_command *command, size_t i)
{
    const uintptr_t to = (uintptr_t)command->to, from = (uintptr_t)command->from;
    if (!command->list)
        return (struct piece){to, from, command->size};
    const struct ferry__block_entry block = command->blocks[i];
    return (struct piece){to + block.dst, from + block.src, block.size};
}

/* --- quickly ---------------------------------------------------------------------------------- */

/* What some commands touch. */
struct hull {
    uintptr_t write_begin, write_end, read_begin, read_end;
    uintptr_t written, read; /* all begins and sizes, or'ed */
    size_t count;
    bool ascending; /* each write begins where the one before it ends, or behind that */
};

static void widen(struct hull *hull, struct piece piece)
{
    hull->ascending &= piece.to >= hull->write_end;
    hull->written |= piece.to | piece.size;
    hull->write_begin = piece.to < hull->write_begin ? piece.to : hull->write_begin;
    hull->write_end =
        piece.to + piece.size > hull->write_end ? piece.to + piece.size : hull->write_end;
    hull->count++;
    if (!piece.from)
        return;
    hull->read |= piece.from | piece.size;
    hull->read_begin = piece.from < hull->read_begin ? piece.from : hull->read_begin;
    hull->read_end =
        piece.from + piece.size > hull->read_end ? piece.from + piece.size : hull->read_end;
}

static struct hull hull_of(const struct host_command *commands, size_t count)
{
    struct hull hull = {.write_begin = UINTPTR_MAX, .read_begin = UINTPTR_MAX, .ascending = true};
    for (size_t i = 0; i < count; i++)
        for (size_t p = 0; p < piece_count(&commands[i]); p++)
            widen(&hull, piece_at(&commands[i], p));
    return hull;
}

/* Everything written is put into one bitmap, and what is read is looked for there. */
static bool bitmap_apart(const struct host_command *commands, size_t count,
                         struct ferry__spans *written, bool meet)
{
    for (size_t i = 0; i < count; i++)
        for (size_t p = 0; p < piece_count(&commands[i]); p++) {
            const struct piece piece = piece_at(&commands[i], p);
            if (!ferry__spans_put(written, piece.to, piece.to + piece.size))
                return false;
        }
    for (size_t i = 0; i < count && meet; i++)
        for (size_t p = 0; p < piece_count(&commands[i]); p++) {
            const struct piece piece = piece_at(&commands[i], p);
            if (piece.from && ferry__spans_meet_range(written, piece.from, piece.from + piece.size))
                return false;
        }
    return true;
}

/* False: they are not, or that is not quickly found out. */
static bool plainly_apart(const struct host_command *commands, size_t count)
{
    enum { BITS_EACH = 1024, BITS_LEAST = 1 << 16 }; /* a larger bitmap is slower than sorting */
    const struct hull hull = hull_of(commands, count);
    const bool meet = hull.write_begin < hull.read_end && hull.read_begin < hull.write_end;
    if (!meet && hull.ascending)
        return true;
    const uint64_t bits = BITS_LEAST + BITS_EACH * (uint64_t)hull.count;
    struct ferry__spans *written =
        ferry__spans_bitmap(hull.write_begin, hull.write_end,
                            hull.written | hull.write_end | (meet ? hull.read : 0), bits);
    const bool apart = written && bitmap_apart(commands, count, written, meet);
    ferry__free(written);
    return apart;
}

/* --- which of them do ------------------------------------------------------------------------- */

struct touch {
    uintptr_t begin, end;
    size_t command;
    bool writes;
};

static int by_begin(const void *a, const void *b)
{
    uintptr_t x = ((const struct touch *)a)->begin;
    uintptr_t y = ((const struct touch *)b)->begin;
    return (x > y) - (x < y);
}

/* Sorted by where they begin, a touch meets an earlier one if that ends behind its begin: it is
 * enough to keep the one that ends last, of all and of the writing ones. */
static bool check_apart(struct touch *touches, size_t count, char *why)
{
    qsort(touches, count, sizeof *touches, by_begin);
    const struct touch *last = NULL;
    const struct touch *last_write = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct touch *touch = &touches[i];
        const struct touch *met = touch->writes ? last : last_write;
        if (met && met->end > touch->begin) {
            if (met->command == touch->command)
                snprintf(why, FERRY__WHY_MAX, "command %zu: two blocks touch the same bytes",
                         met->command);
            else
                snprintf(why, FERRY__WHY_MAX,
                         "commands %zu and %zu touch the same bytes without a barrier between",
                         met->command < touch->command ? met->command : touch->command,
                         met->command < touch->command ? touch->command : met->command);
            return false;
        }
        if (!last || touch->end > last->end)
            last = touch;
        if (touch->writes && (!last_write || touch->end > last_write->end))
            last_write = touch;
    }
    return true;
}

/* What a command touches, block by block: how many places. */
static size_t touches_of(const struct host_command *command, size_t index, struct touch *touches)
{
    size_t used = 0;
    for (size_t i = 0; i < piece_count(command); i++) {
        const struct piece piece = piece_at(command, i);
        touches[used++] = (struct touch){piece.to, piece.to + piece.size, index, true};
        if (piece.from)
            touches[used++] = (struct touch){piece.from, piece.from + piece.size, index, false};
    }
    return used;
}

/* Of commands from first to before end. */
static enum ferry_status check_exactly(const struct host_command *commands, size_t first,
                                       size_t end, char *why)
{
    size_t places = 0, used = 0;
    for (size_t i = first; i < end; i++)
        places += piece_count(&commands[i]);
    struct touch *touches = ferry__alloc(2 * places * sizeof *touches);
    if (!touches) {
        snprintf(why, FERRY__WHY_MAX, "no host memory to check %zu commands", end - first);
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    for (size_t i = first; i < end; i++)
        used += touches_of(&commands[i], i, &touches[used]);
    const bool apart = check_apart(touches, used, why);
    ferry__free(touches);
    return apart ? FERRY_OK : FERRY_ERROR_INTERNAL;
}

enum ferry_status ferry__host_check_barriers(const struct host_command *commands, size_t count,
                                             char *why)
{
    enum ferry_status status = FERRY_OK;
    for (size_t first = 0, end; first < count && !status; first = end) {
        for (end = first + 1; end < count && !commands[end].barrier;)
            end++;
        if (!plainly_apart(commands + first, end - first))
            status = check_exactly(commands, first, end, why);
    }
    return status;
}
