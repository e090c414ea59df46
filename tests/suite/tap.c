#include "tap.h"

#include <sched.h>

static size_t next_size(struct tap *tap)
{
    tap->seed = tap->seed * 1103515245u + 12345u;
    return 1 + (tap->seed >> 8) % tap->chunk_max;
}

void tap_want(struct tap *tap)
{
    if (!tap->quiet && ferry_stream_want(tap->stream, next_size(tap)) != FERRY_OK)
        tap->misplaced = true;
}

static void move_bytes(struct tap *tap, const struct ferry_stream_chunk *chunk)
{
    if (!tap->source) {
        memcpy(tap->bytes + chunk->at, chunk->memory, chunk->size);
        return;
    }
    if (tap->scribbles && chunk->allocation != NULL) { /* what lies round it is the stream's, too */
        const size_t lead = chunk->at % tap->block;
        const size_t end = (lead + chunk->size + tap->block - 1) / tap->block * tap->block;
        memset((unsigned char *)chunk->memory - lead, 0xEE, end);
    }
    memcpy(chunk->memory, tap->bytes + chunk->at, chunk->size);
}

static void answer(struct tap *tap, const struct ferry_stream_chunk *chunk, bool fails)
{
    struct ferry_stream_chunk copy = *chunk;
    move_bytes(tap, &copy);
    if (fails)
        ferry_stream_done(tap->stream, chunk, copy.size, FERRY_ERROR_IO, "the tap is broken");
    else
        ferry_stream_done(tap->stream, chunk, copy.size, FERRY_OK, NULL);
}

/* Takes one of those that are held; the last or any. */
static void *work(void *arg)
{
    struct tap *tap = arg;
    pthread_mutex_lock(&tap->lock);
    while (!tap->stop || tap->held_count > 0) {
        if (tap->held_count == 0) {
            pthread_cond_wait(&tap->changed, &tap->lock);
            continue;
        }
        unsigned at = tap->random_order ? (unsigned)(next_size(tap) % tap->held_count) : 0;
        const struct ferry_stream_chunk *chunk = tap->chunks[at];
        tap->held_count--;
        for (unsigned i = at; i < tap->held_count; i++)
            tap->chunks[i] = tap->chunks[i + 1];
        const bool fails = tap->failing != 0 && ++tap->answered == tap->failing;
        pthread_mutex_unlock(&tap->lock);
        for (unsigned i = 0; i < 3; i++)
            sched_yield();
        tap_want(tap);
        answer(tap, chunk, fails);
        pthread_mutex_lock(&tap->lock);
    }
    pthread_mutex_unlock(&tap->lock);
    return NULL;
}

static void tap_begin(void *user, ferry_stream *stream)
{
    struct tap *tap = user;
    pthread_mutex_lock(&tap->lock);
    tap->stream = stream;
    pthread_mutex_unlock(&tap->lock);
    tap_want(tap);
    tap_want(tap);
    pthread_mutex_lock(&tap->lock);
    tap->begun++;
    pthread_cond_broadcast(&tap->changed);
    pthread_mutex_unlock(&tap->lock);
}

static void tap_chunk(void *user, ferry_stream *stream, const struct ferry_stream_chunk *chunk)
{
    struct tap *tap = user;
    pthread_mutex_lock(&tap->lock);
    if (stream != tap->stream || chunk->size == 0 || chunk->size > tap->size ||
        chunk->at > tap->size - chunk->size ||
        ((uintptr_t)chunk->memory - chunk->at) % tap->block != 0)
        tap->misplaced = true;
    if (tap->source && chunk->at != tap->next_at)
        tap->out_of_order = true;
    tap->next_at = chunk->at + chunk->size;
    if (!tap->alone) {
        tap->chunks[tap->held_count++] = chunk;
        pthread_cond_broadcast(&tap->changed);
    }
    pthread_mutex_unlock(&tap->lock);
    if (!tap->alone)
        return;
    tap_want(tap);
    answer(tap, chunk, tap->failing != 0 && ++tap->answered == tap->failing);
}

static void tap_cancel(void *user, ferry_stream *stream, enum ferry_status status, const char *why)
{
    struct tap *tap = user;
    (void)status;
    pthread_mutex_lock(&tap->lock);
    tap->cancelled++;
    if (stream != tap->stream || !ferry_stream_over(stream))
        tap->misplaced = true;
    snprintf(tap->why, sizeof tap->why, "%s", why);
    pthread_cond_broadcast(&tap->changed);
    pthread_mutex_unlock(&tap->lock);
}

void tap_end(void *user, enum ferry_status status)
{
    struct tap *tap = user;
    pthread_mutex_lock(&tap->lock);
    tap->ended++;
    tap->end_status = status;
    if (tap->held_count > 0)
        tap->misplaced = true;
    pthread_cond_broadcast(&tap->changed);
    pthread_mutex_unlock(&tap->lock);
}

struct ferry_stream_methods tap_methods(const struct tap *tap)
{
    return (struct ferry_stream_methods){.version = FERRY_STREAM_VERSION,
                                         .depth = 4,
                                         .block = tap->block,
                                         .begin = tap_begin,
                                         .chunk = tap_chunk,
                                         .cancel = tap_cancel,
                                         .end = tap_end};
}

struct tap *make_tap(bool source, size_t size, unsigned seed)
{
    struct tap *tap = xmalloc(sizeof *tap);
    *tap = (struct tap){.source = source,
                        .seed = seed,
                        .size = size,
                        .chunk_max = 1 + size / 3,
                        .block = 1,
                        .bytes = scribbled(size + 1, seed)};
    pthread_mutex_init(&tap->lock, NULL);
    pthread_cond_init(&tap->changed, NULL);
    return tap;
}

void run_tap(struct tap *tap)
{
    tap->running = pthread_create(&tap->thread, NULL, work, tap) == 0;
    assert_true(tap->running);
}

void tap_wait_ended(struct tap *tap)
{
    pthread_mutex_lock(&tap->lock);
    while (tap->ended == 0)
        pthread_cond_wait(&tap->changed, &tap->lock);
    pthread_mutex_unlock(&tap->lock);
}

void tap_wait_begun(struct tap *tap)
{
    pthread_mutex_lock(&tap->lock);
    while (tap->begun == 0)
        pthread_cond_wait(&tap->changed, &tap->lock);
    pthread_mutex_unlock(&tap->lock);
}

void tap_wait_held(struct tap *tap)
{
    pthread_mutex_lock(&tap->lock);
    while (tap->held_count == 0)
        pthread_cond_wait(&tap->changed, &tap->lock);
    pthread_mutex_unlock(&tap->lock);
}

void drop_tap(struct tap *tap, enum ferry_status status, unsigned begun)
{
    tap_wait_ended(tap);
    pthread_mutex_lock(&tap->lock);
    tap->stop = true;
    pthread_cond_broadcast(&tap->changed);
    pthread_mutex_unlock(&tap->lock);
    if (tap->running)
        pthread_join(tap->thread, NULL);
    assert_int_equal(tap->ended, 1);
    assert_int_equal(tap->end_status, status);
    assert_int_equal(tap->begun, begun);
    assert_false(tap->misplaced);
    assert_false(tap->out_of_order);
    pthread_cond_destroy(&tap->changed);
    pthread_mutex_destroy(&tap->lock);
    free(tap->bytes);
    free(tap);
}

ferry_ticket tap_start(struct tap *tap, ferry_buffer *buffer, size_t offset)
{
    const struct ferry_stream_methods methods = tap_methods(tap);
    ferry_ticket ticket = 0;
    if (tap->source)
        OK(ferry_stream_receive(buffer, tap->size, offset, &methods, tap, NULL, NULL, &ticket));
    else
        OK(ferry_stream_send(buffer, tap->size, offset, &methods, tap, NULL, NULL, &ticket));
    return ticket;
}
