/*
 * scaling [device] [path] [most] [row]: what an operation costs beside many others of its kind. Wall
 * time from the first call until all is idle, divided by how many there were: 1000, 10,000 and so on
 * up to `most` (100,000); the median of three runs, each on a device of its own. Flat is right: an
 * operation's cost does not grow with what is in flight. Pin it to one CPU (taskset -c 0) for figures
 * that can be compared.
 */
#include "base/lock_record.h"
#include "program.h"

#include <ferry/ferry.h>
#include <ferry/model.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

enum { PIECE = 64, BLOCK = 4096, PAGE = 4096, FILE_BLOCKS = 256, RUNS = 3 };

struct bench {
    ferry_device *device;
    ferry_buffer *buffer; /* of n pieces, and at least FILE_BLOCKS blocks */
    unsigned char *host;  /* as many */
    size_t n;
    uint64_t start_ns;
};

/* A number that visits all of [0, n) in no order: n is no multiple of the prime. */
static size_t shuffled(size_t i, size_t n)
{
    return (size_t)((uint64_t)i * 7368787 % n);
}

static struct ferry_external hold(const struct bench *bench)
{
    const struct ferry_use use = {.buffer = bench->buffer,
                                  .access = FERRY_ACCESS_READ | FERRY_ACCESS_WRITE};
    struct ferry_external work;
    CHECK(ferry_external_begin(bench->device, &use, 1, &work));
    return work;
}

/* It is never on a GPU: ended as work that failed, its event is Ferry's to raise. What reads the
 * buffer afterwards would fail, but for the write of all of it. */
static void let_go(const struct bench *bench, const struct ferry_external *work)
{
    const enum ferry_status end = work->signal.event ? FERRY_ERROR_EXECUTION_FAILED : FERRY_OK;
    CHECK(ferry_external_end(bench->device, work->ticket, end));
}

static void upload(const struct bench *bench, size_t at)
{
    CHECK(ferry_copy_from_host_async(bench->buffer, bench->host + at * PIECE, PIECE, at * PIECE,
                                     NULL, NULL, NULL));
}

/* --- what is measured -------------------------------------------------------------------------- */

static void uploads_in_order(struct bench *bench)
{
    for (size_t i = 0; i < bench->n; i++)
        upload(bench, i);
}

static void uploads_at_random(struct bench *bench)
{
    for (size_t i = 0; i < bench->n; i++)
        upload(bench, shuffled(i, bench->n));
}

static void uploads_to_one_range(struct bench *bench)
{
    for (size_t i = 0; i < bench->n; i++)
        upload(bench, 0);
}

static void uploads_behind_work(struct bench *bench)
{
    const struct ferry_external work = hold(bench);
    uploads_in_order(bench);
    let_go(bench, &work);
}

static void reads_behind_a_write(struct bench *bench)
{
    const struct ferry_external work = hold(bench);
    CHECK(ferry_zero_buffer_async(bench->buffer, NULL, NULL, NULL));
    for (size_t i = 0; i < bench->n; i++)
        CHECK(ferry_copy_to_host_async(bench->buffer, bench->host + i * PIECE, PIECE, i * PIECE,
                                       NULL, NULL, NULL));
    let_go(bench, &work);
}

/* One write of all bytes, and one ticket for all of it. */
static void write_of_all(const struct bench *bench)
{
    ferry_ticket ticket;
    CHECK(ferry_zero_buffer_async(bench->buffer, NULL, NULL, NULL));
    CHECK(ferry_buffer_ticket(bench->buffer, 0, 0, &ticket));
}

static void write_behind_writes(struct bench *bench)
{
    const struct ferry_external work = hold(bench);
    uploads_at_random(bench);
    write_of_all(bench);
    let_go(bench, &work);
}

static void write_behind_reads(struct bench *bench)
{
    const struct ferry_external work = hold(bench);
    CHECK(ferry_zero_buffer_async(bench->buffer, NULL, NULL, NULL));
    for (size_t i = 0; i < bench->n; i++)
        CHECK(ferry_copy_to_host_async(bench->buffer, bench->host, PIECE, 0, NULL, NULL, NULL));
    write_of_all(bench);
    let_go(bench, &work);
}

static void polls_at_a_chains_end(struct bench *bench)
{
    const struct ferry_external work = hold(bench);
    for (size_t i = 0; i < bench->n; i++) {
        ferry_ticket ticket;
        CHECK(
            ferry_copy_from_host_async(bench->buffer, bench->host, PIECE, 0, NULL, NULL, &ticket));
        if (ferry_wait(bench->device, ticket, 0) != FERRY_ERROR_TIMEOUT)
            check(FERRY_ERROR_INTERNAL, "an operation behind work that is held is done");
    }
    let_go(bench, &work);
}

static void one_batch(struct bench *bench)
{
    ferry_batch *batch;
    CHECK(ferry_batch_create(bench->device, &batch));
    for (size_t i = 0; i < bench->n; i++)
        CHECK(ferry_batch_copy_from_host(batch, bench->buffer, bench->host + i * PIECE, PIECE,
                                         i * PIECE));
    CHECK(ferry_batch_submit(batch, NULL, NULL, NULL));
    ferry_batch_destroy(batch);
}

static void uses_of_work(struct bench *bench)
{
    struct ferry_use *uses = need(calloc(bench->n, sizeof *uses));
    struct ferry_external work;
    for (size_t i = 0; i < bench->n; i++) {
        ferry_buffer *buffer;
        CHECK(ferry_buffer_create(bench->device, &(struct ferry_buffer_params){.size = PIECE},
                                  &buffer));
        uses[shuffled(i, bench->n)] =
            (struct ferry_use){.buffer = buffer, .access = FERRY_ACCESS_WRITE};
    }
    bench->start_ns = now_ns(); /* making them is no part of it */
    CHECK(ferry_external_begin(bench->device, uses, bench->n, &work));
    let_go(bench, &work);
    CHECK(ferry_wait_idle(bench->device));
    for (size_t i = 0; i < bench->n; i++)
        ferry_buffer_destroy(uses[i].buffer);
    free(uses);
}

static void file_reads(struct bench *bench)
{
    FILE *file = need(tmpfile());
    static const unsigned char block[BLOCK];
    for (size_t i = 0; i < FILE_BLOCKS; i++)
        if (fwrite(block, sizeof block, 1, file) != 1)
            check(FERRY_ERROR_IO, "writing a file");
    fflush(file);
    bench->start_ns = now_ns();
    for (size_t i = 0; i < bench->n; i++)
        CHECK(ferry_copy_from_file_async(bench->buffer, fileno(file), i % FILE_BLOCKS * BLOCK,
                                         BLOCK, i % FILE_BLOCKS * BLOCK, NULL, NULL, NULL));
    CHECK(ferry_wait_idle(bench->device));
    fclose(file);
}

static void regions(struct bench *bench)
{
    unsigned char *memory = need(aligned_alloc(PAGE, bench->n * PAGE));
    bench->start_ns = now_ns();
    for (size_t i = 0; i < bench->n; i++)
        CHECK(ferry_host_register(bench->device, memory + shuffled(i, bench->n) * PAGE, PAGE, 0));
    for (size_t i = 0; i < bench->n; i++)
        CHECK(ferry_host_unregister(bench->device, memory + i * PAGE));
    free(memory);
}

static void tensors(struct bench *bench)
{
    enum { LOADED = 1000 }; /* of n; the rest only lies beside them */
    char path[] = "/tmp/ferry-scaling-XXXXXX";
    const int fd = mkstemp(path);
    FILE *file = need(fd < 0 ? NULL : fdopen(fd, "wb"));
    char *header = need(malloc(bench->n * 96 + 64));
    size_t size = 0;
    header[size++] = '{';
    for (size_t i = 0; i < bench->n; i++)
        size += (size_t)sprintf(header + size,
                                "%s\"t%zu\":{\"dtype\":\"U8\",\"shape\":[%d],"
                                "\"data_offsets\":[%zu,%zu]}",
                                i ? "," : "", i, PIECE, i * PIECE, (i + 1) * PIECE);
    header[size++] = '}';
    const uint64_t length = size;
    if (fwrite(&length, sizeof length, 1, file) != 1 || fwrite(header, size, 1, file) != 1 ||
        fwrite(bench->host, bench->n * PIECE, 1, file) != 1)
        check(FERRY_ERROR_IO, "writing a model");
    fclose(file);
    free(header);
    ferry_model *model;
    CHECK(ferry_model_open(path, &model));
    unlink(path);
    bench->start_ns = now_ns();
    for (size_t i = 0; i < LOADED; i++)
        CHECK(ferry_model_load_tensor(model, shuffled(i, bench->n), bench->buffer, 0));
    const uint64_t taken = now_ns() - bench->start_ns;
    ferry_model_close(model);
    bench->start_ns = now_ns() - taken / LOADED * bench->n; /* for each of n */
}

static const struct row {
    const char *name;
    void (*run)(struct bench *bench);
} rows[] = {
    {"uploads into one buffer, in order", uploads_in_order},
    {"the same, at random", uploads_at_random},
    {"uploads to one range", uploads_to_one_range},
    {"uploads behind external work", uploads_behind_work},
    {"reads behind a write", reads_behind_a_write},
    {"a write of all behind so many", write_behind_writes},
    {"the same behind reads of a range", write_behind_reads},
    {"tickets polled at a chain's end", polls_at_a_chains_end},
    {"operations of one batch", one_batch},
    {"uses of external work", uses_of_work},
    {"reads of a file, 4 KiB", file_reads},
    {"regions registered, at random", regions},
    {"one tensor loaded of so many", tensors},
};

/* How long the device's lock was held: at most, and how often for long. A debug build's. */
static void print_holds(const struct ferry__holds *holds)
{
    printf("%12.1f%8llu", (double)holds->longest_ns / 1e3, (unsigned long long)holds->over_100us);
}

static uint64_t measure(const struct row *row, const struct ferry_device_params *params, size_t n)
{
    struct bench bench = {.n = n};
    const size_t least = (size_t)FILE_BLOCKS * BLOCK, size = n * PIECE > least ? n * PIECE : least;
    CHECK(ferry_device_open(params, &bench.device));
    CHECK(ferry_buffer_create(
        bench.device, &(struct ferry_buffer_params){.size = size, .zeroed = true}, &bench.buffer));
    bench.host = need(calloc(1, size));
    CHECK(ferry_wait_idle(bench.device));
    bench.start_ns = now_ns();
    row->run(&bench);
    CHECK(ferry_wait_idle(bench.device));
    const uint64_t taken = now_ns() - bench.start_ns;
    ferry_buffer_destroy(bench.buffer);
    ferry_device_close(bench.device);
    free(bench.host);
    return taken;
}

/* glibc gives the end of its heap back to the system when it is free: then each run would measure
 * how long the system takes to map it again. */
static void keep_heap(void)
{
#ifdef __GLIBC__
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    mallopt(M_TOP_PAD, 4 << 20);
#endif
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* ns for each of n. */
static double median(const struct row *row, const struct ferry_device_params *params, size_t n)
{
    uint64_t taken[RUNS];
    for (size_t i = 0; i < RUNS; i++)
        taken[i] = measure(row, params, n);
    qsort(taken, RUNS, sizeof *taken, by_value);
    return (double)taken[RUNS / 2] / (double)n;
}

int main(int argc, char **argv)
{
    struct ferry_device_params params = {.name = argc > 1 ? argv[1] : "host"};
    const char *path = argc > 2 ? argv[2] : "auto";
    const char *only = argc > 4 ? argv[4] : "";
    const size_t most = argc > 3 ? strtoul(argv[3], NULL, 10) : 100000;
    while (params.path < FERRY_PATH_COUNT && strcmp(ferry_path_name(params.path), path))
        params.path++;
    if (params.path == FERRY_PATH_COUNT || most < 1000) {
        fprintf(stderr,
                "usage: scaling [device] [path] [most, from 1000 on] [part of a row's name]\n");
        return 2;
    }
    keep_heap();
    ferry_set_log(NULL, NULL, FERRY_LOG_NONE); /* work that is ended as failed says so */
    printf("%s, %s: ns for each of n\n%-34s", params.name, path, "");
    for (size_t n = 1000; n <= most; n *= 10)
        printf("%10zu", n);
    struct ferry__holds holds;
    printf("   last : first%s\n",
           ferry__lock_holds(&holds) ? "  lock held at most, us; over 100 us" : "");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double first = 0, last = 0;
        if (!strstr(rows[i].name, only))
            continue;
        printf("%-34s", rows[i].name);
        for (size_t n = 1000; n <= most; n *= 10) {
            (void)ferry__lock_holds(&holds);
            last = median(&rows[i], &params, n);
            first = first > 0 ? first : last;
            printf("%10.0f", last);
            fflush(stdout);
        }
        printf("%10.2f", last / first);
        if (ferry__lock_holds(&holds))
            print_holds(&holds);
        printf("\n");
    }
    return 0;
}
