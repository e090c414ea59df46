/*
 * Threads on the same buffers. Each writes values of its own; a byte is then what one of them wrote
 * last, and what a thread reads is never an older value of its own than its last before the read.
 */
#include "hang.h"
#include "schedule.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* To ThreadSanitizer two copies to the same bytes are wrong, though the promise allows them: there
 * all goes through the device, where one is after the other. */
#if defined(__SANITIZE_THREAD__)
#define WATCHES_RACES true
#elif defined(__has_feature)
#define WATCHES_RACES __has_feature(thread_sanitizer)
#else
#define WATCHES_RACES false
#endif

enum {
    BUFFERS = 2,
    SIZE = 2500,
    ROUND_STEPS = 30,
    VALUES = 60, /* of each thread */
};

struct reading {
    struct reading *next;
    unsigned buffer;
    size_t size, offset;
    unsigned char own[SIZE]; /* this thread's last values when it was made */
    unsigned char got[SIZE];
};

struct writer {
    struct run *run;
    unsigned number;
    uint64_t random;
    ferry_buffer **buffers;
    ferry_buffer *scratch;
    unsigned char last[BUFFERS][SIZE]; /* 0: never written */
    unsigned next_value;
    struct reading *readings;
    void *memory[ROUND_STEPS * 4];
    unsigned memory_count;
    pthread_t thread;
};

static unsigned owner(const struct run *run, unsigned char value)
{
    return (value - 1u) % run->config->threads;
}

static void expect_ok(const struct writer *writer, enum ferry_status status)
{
    if (status != FERRY_OK)
        wrong(writer->run, "thread %u: %s: %s", writer->number, ferry_status_name(status),
              ferry_last_error());
}

static void some_range(struct writer *writer, size_t *size, size_t *offset)
{
    *size = below(&writer->random, one_in(&writer->random, 3) ? SIZE + 1 : 200);
    *offset = below(&writer->random, SIZE - *size + 1);
}

static void finish(struct writer *writer, ferry_ticket ticket)
{
    if (one_in(&writer->random, 4))
        expect_ok(writer, ferry_wait(writer->run->devices[0], ticket, FERRY_FOREVER));
}

static void write_some(struct writer *writer, ferry_batch *batch)
{
    unsigned which = (unsigned)below(&writer->random, BUFFERS);
    size_t size, offset;
    ferry_ticket ticket = 0;
    some_range(writer, &size, &offset);
    unsigned char value =
        (unsigned char)(1 + writer->number +
                        writer->run->config->threads * (writer->next_value++ % VALUES));
    memset(writer->last[which] + offset, value, size);
    ferry_buffer *buffer = writer->buffers[which];
    if (one_in(&writer->random, 2)) {
        unsigned char *bytes = malloc(size + 1);
        memset(bytes, value, size);
        writer->memory[writer->memory_count++] = bytes;
        expect_ok(writer, batch != NULL
                              ? ferry_batch_copy_from_host(batch, buffer, bytes, size, offset)
                              : ferry_copy_from_host_async(buffer, bytes, size, offset, NULL, NULL,
                                                           &ticket));
    } else {
        expect_ok(writer, batch != NULL
                              ? ferry_batch_fill_buffer(batch, buffer, size, offset, &value, 1)
                              : ferry_fill_buffer_async(buffer, size, offset, &value, 1, NULL, NULL,
                                                        &ticket));
    }
    finish(writer, ticket);
}

/* Straight to the host, or through a buffer of this thread's own. */
static void read_some(struct writer *writer)
{
    struct reading *reading = calloc(1, sizeof *reading);
    reading->next = writer->readings;
    writer->readings = reading;
    reading->buffer = (unsigned)below(&writer->random, BUFFERS);
    some_range(writer, &reading->size, &reading->offset);
    memcpy(reading->own, writer->last[reading->buffer], SIZE);
    ferry_buffer *buffer = writer->buffers[reading->buffer];
    ferry_ticket ticket = 0;
    if (one_in(&writer->random, 3)) {
        expect_ok(writer,
                  ferry_copy_buffer_async(writer->scratch, buffer, reading->size, reading->offset,
                                          reading->offset, NULL, NULL, NULL));
        buffer = writer->scratch;
    }
    expect_ok(writer, one_in(&writer->random, 3)
                          ? ferry_copy_to_host(buffer, reading->got, reading->size, reading->offset)
                          : ferry_copy_to_host_async(buffer, reading->got, reading->size,
                                                     reading->offset, NULL, NULL, &ticket));
    finish(writer, ticket);
}

static void batch_some(struct writer *writer)
{
    ferry_batch *batch = NULL;
    ferry_ticket ticket = 0;
    expect_ok(writer, ferry_batch_create(writer->run->devices[0], &batch));
    for (unsigned i = 0; i < 3; i++)
        write_some(writer, batch);
    expect_ok(writer, ferry_batch_submit(batch, NULL, NULL, &ticket));
    ferry_batch_destroy(batch);
    finish(writer, ticket);
}

static void *write_and_read(void *arg)
{
    struct writer *writer = arg;
    for (unsigned i = 0; i < ROUND_STEPS; i++)
        if (one_in(&writer->random, 4))
            read_some(writer);
        else if (one_in(&writer->random, 4))
            batch_some(writer);
        else
            write_some(writer, NULL);
    return NULL;
}

static void check_reading(struct writer *writer, const struct reading *reading)
{
    for (size_t i = 0; i < reading->size; i++) {
        unsigned char got = reading->got[i], own = reading->own[reading->offset + i];
        bool mine = got != 0 && owner(writer->run, got) == writer->number;
        if ((mine && got != own) || (got == 0 && own != 0))
            wrong(writer->run,
                  "thread %u read 0x%02x at %zu of buffer %u, after it had written 0x%02x there",
                  writer->number, got, reading->offset + i, reading->buffer, own);
    }
}

static void check_finally(struct run *run, struct writer *writers, unsigned which)
{
    unsigned char got[SIZE];
    enum ferry_status status = ferry_copy_to_host(writers[0].buffers[which], got, SIZE, 0);
    if (status != FERRY_OK)
        wrong(run, "ferry_copy_to_host: %s: %s", ferry_status_name(status), ferry_last_error());
    for (size_t i = 0; i < SIZE; i++) {
        bool allowed = false, written = false;
        for (unsigned t = 0; t < run->config->threads; t++) {
            written |= writers[t].last[which][i] != 0;
            allowed |= got[i] != 0 && got[i] == writers[t].last[which][i];
        }
        if (!allowed && (written || got[i] != 0))
            wrong(run, "byte %zu of buffer %u is 0x%02x, which no thread wrote last", i, which,
                  got[i]);
    }
}

static void free_round(struct writer *writer)
{
    while (writer->readings != NULL) {
        struct reading *next = writer->readings->next;
        free(writer->readings);
        writer->readings = next;
    }
    for (unsigned i = 0; i < writer->memory_count; i++)
        free(writer->memory[i]);
    writer->memory_count = 0;
}

static void one_round(struct run *run, struct writer *writers, ferry_buffer **buffers)
{
    for (unsigned i = 0; i < BUFFERS; i++)
        if (ferry_zero_buffer(buffers[i]) != FERRY_OK)
            wrong(run, "ferry_zero_buffer: %s", ferry_last_error());
    for (unsigned t = 0; t < run->config->threads; t++) {
        memset(writers[t].last, 0, sizeof writers[t].last);
        if (pthread_create(&writers[t].thread, NULL, write_and_read, &writers[t]) != 0)
            wrong(run, "pthread_create failed");
    }
    for (unsigned t = 0; t < run->config->threads; t++)
        pthread_join(writers[t].thread, NULL);
    if (ferry_wait_idle(run->devices[0]) != FERRY_OK)
        wrong(run, "ferry_wait_idle: %s", ferry_last_error());
    for (unsigned i = 0; i < BUFFERS; i++)
        check_finally(run, writers, i);
    for (unsigned t = 0; t < run->config->threads; t++) {
        for (struct reading *reading = writers[t].readings; reading; reading = reading->next)
            check_reading(&writers[t], reading);
        free_round(&writers[t]);
    }
}

static ferry_buffer *make(const struct run *run, enum ferry_storage storage)
{
    ferry_buffer *buffer = NULL;
    if (ferry_buffer_create(run->devices[0],
                            &(struct ferry_buffer_params){.size = SIZE, .storage = storage},
                            &buffer) != FERRY_OK)
        wrong(run, "ferry_buffer_create: %s", ferry_last_error());
    return buffer;
}

void shared_rounds(struct run *run)
{
    if (WATCHES_RACES && run->config->params.map_private != FERRY_MAP_NEVER)
        return;
    ferry_buffer *buffers[BUFFERS] = {
        make(run, FERRY_STORAGE_PRIVATE),
        make(run, WATCHES_RACES ? FERRY_STORAGE_PRIVATE : FERRY_STORAGE_SHARED)};
    struct writer *writers = calloc(run->config->threads, sizeof *writers);
    for (unsigned t = 0; t < run->config->threads; t++) {
        writers[t].run = run;
        writers[t].number = t;
        writers[t].random = run->seed * 1000003 + t;
        writers[t].buffers = buffers;
        writers[t].scratch = make(run, FERRY_STORAGE_PRIVATE);
    }
    for (; run->round * (size_t)ROUND_STEPS < run->steps; run->round++) {
        alarm(HANG_SECONDS);
        one_round(run, writers, buffers);
    }
    for (unsigned t = 0; t < run->config->threads; t++)
        ferry_buffer_destroy(writers[t].scratch);
    for (unsigned i = 0; i < BUFFERS; i++)
        ferry_buffer_destroy(buffers[i]);
    free(writers);
}
