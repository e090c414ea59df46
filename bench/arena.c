/*
 * arena [device] [path] [MiB] [rounds]: an upload and a download at once, into one half of a buffer and
 * out of the other, beside the same of two buffers. Order is by bytes, so that one should be as fast
 * as the other. Rounds of both take turns. Told are the median, the round that a tenth is faster than,
 * and how these compare: that is steadier on a machine that does other work. A third line is of one
 * after the other, which is what both at once would be if they had to wait.
 */
#include "program.h"

#include <ferry/ferry.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OFFSET = 4096, ROUNDS_MAX = 1000, BUFFERS = 5, FILLED = 7, SENT = 1 };

struct bench {
    ferry_device *device;
    ferry_buffer *arena, *pair[2], *turns[2]; /* each row has its own: all are as warm */
    unsigned char *up, *down;
    size_t size;
};

/* What was uploaded is in the other half, or the other buffer. */
static void expect_filled(const struct bench *bench)
{
    for (size_t i = 0; i < bench->size; i++)
        if (bench->down[i] != FILLED) {
            fprintf(stderr, "arena: byte %zu that came down is %u, not %u\n", i, bench->down[i],
                    FILLED);
            exit(1);
        }
}

static void both_at_once(const struct bench *bench, ferry_buffer *to, ferry_buffer *from,
                         size_t from_offset)
{
    ferry_ticket tickets[2];
    CHECK(ferry_copy_from_host_async(to, bench->up, bench->size, 0, NULL, NULL, &tickets[0]));
    CHECK(ferry_copy_to_host_async(from, bench->down, bench->size, from_offset, NULL, NULL,
                                   &tickets[1]));
    CHECK(ferry_wait_all(bench->device, tickets, 2, FERRY_FOREVER));
}

static void in_one_arena(const struct bench *bench)
{
    both_at_once(bench, bench->arena, bench->arena, bench->size + OFFSET);
}

static void beside_each_other(const struct bench *bench)
{
    both_at_once(bench, bench->pair[0], bench->pair[1], 0);
}

static void one_after_the_other(const struct bench *bench)
{
    CHECK(ferry_copy_from_host(bench->turns[0], bench->up, bench->size, 0));
    CHECK(ferry_copy_to_host(bench->turns[1], bench->down, bench->size, 0));
}

static const struct row {
    const char *name;
    void (*run)(const struct bench *bench);
} rows[] = {
    {"two buffers", beside_each_other},
    {"one arena", in_one_arena},
    {"one after the other", one_after_the_other},
};
enum { ROWS = sizeof rows / sizeof *rows };

static void find_buffers(struct bench *bench, ferry_buffer **out[BUFFERS])
{
    ferry_buffer **const all[BUFFERS] = {&bench->arena, &bench->pair[0], &bench->pair[1],
                                         &bench->turns[0], &bench->turns[1]};
    memcpy(out, all, sizeof all);
}

static void open_all(struct bench *bench, const struct ferry_device_params *params, size_t size)
{
    CHECK(ferry_device_open(params, &bench->device));
    bench->size = size;
    bench->up = need(malloc(size));
    bench->down = need(malloc(size));
    memset(bench->up, SENT, size);
    ferry_buffer **buffers[BUFFERS];
    find_buffers(bench, buffers);
    for (unsigned i = 0; i < BUFFERS; i++) {
        const struct ferry_buffer_params of = {.size = i ? size : 2 * size + OFFSET};
        CHECK(ferry_buffer_create(bench->device, &of, buffers[i]));
        CHECK(ferry_fill_buffer(*buffers[i], of.size, 0, &(unsigned char){FILLED}, 1));
    }
}

static void close_all(struct bench *bench)
{
    ferry_buffer **buffers[BUFFERS];
    find_buffers(bench, buffers);
    for (unsigned i = 0; i < BUFFERS; i++)
        ferry_buffer_destroy(*buffers[i]);
    ferry_device_close(bench->device);
    free(bench->up);
    free(bench->down);
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void measure(const struct bench *bench, size_t rounds)
{
    static uint64_t times[ROWS][ROUNDS_MAX];
    for (size_t round = 0; round <= rounds; round++) /* the first warms up */
        for (unsigned i = 0; i < ROWS; i++) {
            const uint64_t start = now_ns();
            rows[i].run(bench);
            if (round)
                times[i][round - 1] = now_ns() - start;
            else
                expect_filled(bench);
        }
    double first = 0;
    printf("%-22s%10s%10s%8s\n", "GB/s, both together", "median", "fast", "ratio");
    for (unsigned i = 0; i < ROWS; i++) {
        qsort(times[i], rounds, sizeof times[i][0], by_value);
        const double median = 2.0 * (double)bench->size / (double)times[i][rounds / 2];
        const double rate = 2.0 * (double)bench->size / (double)times[i][rounds / 10];
        first = first > 0 ? first : rate;
        printf("%-22s%10.2f%10.2f%8.2f\n", rows[i].name, median, rate, rate / first);
    }
}

int main(int argc, char **argv)
{
    struct ferry_device_params params = {.name = argc > 1 ? argv[1] : "host",
                                         .map_private = FERRY_MAP_NEVER};
    const char *path = argc > 2 ? argv[2] : "auto";
    const size_t mib = argc > 3 ? strtoul(argv[3], NULL, 10) : 64;
    const size_t rounds = argc > 4 ? strtoul(argv[4], NULL, 10) : 21;
    while (params.path < FERRY_PATH_COUNT && strcmp(ferry_path_name(params.path), path))
        params.path++;
    if (params.path == FERRY_PATH_COUNT || !mib || !rounds || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: arena [device] [path] [MiB] [rounds, at most %d]\n", ROUNDS_MAX);
        return 2;
    }
    struct bench bench;
    open_all(&bench, &params, mib << 20);
    printf("%s, %s, %zu MiB each way, %zu rounds\n", params.name, path, mib, rounds);
    measure(&bench, rounds);
    close_all(&bench);
    return 0;
}
