#include "bench_blocks.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 16 << 20, PAGE = 4096, WORD = sizeof(uint64_t) };

/* What lies at a word of whatever is read. */
static uint64_t word_at(uint64_t word)
{
    return (word + 1) * 0x9e3779b97f4a7c15u;
}

static void fill_words(unsigned char *bytes, size_t size, uint64_t offset)
{
    for (size_t i = 0; i < size; i += WORD) {
        const uint64_t word = word_at((offset + i) / WORD);
        memcpy(bytes + i, &word, WORD);
    }
}

static bool are_words(const unsigned char *bytes, size_t size, uint64_t offset)
{
    uint64_t wrong = 0;
    for (size_t i = 0; i < size; i += WORD) {
        uint64_t word;
        memcpy(&word, bytes + i, WORD);
        wrong |= word ^ word_at((offset + i) / WORD);
    }
    return wrong == 0;
}

/* --- lists ------------------------------------------------------------------------------------ */

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static void order(uint32_t *places, size_t count, bool in_order)
{
    uint64_t state = 0x2545f4914f6cdd1du;
    for (size_t i = 0; i < count; i++)
        places[i] = (uint32_t)i;
    for (size_t i = in_order ? 0 : count; i-- > 1;) {
        const size_t other = next_random(&state) % (i + 1);
        const uint32_t kept = places[i];
        places[i] = places[other];
        places[other] = kept;
    }
}

bool blocks_list_make(struct blocks_list *list, const struct blocks_cell *cell,
                      enum ferry_operation operation, unsigned odd, bool in_order)
{
    const size_t count = cell->count, block = cell->block;
    *list = (struct blocks_list){.blocks = calloc(count, sizeof *list->blocks),
                                 .block_at = calloc(count, sizeof *list->block_at),
                                 .block = block,
                                 .count = count,
                                 .odd = odd};
    if (!list->blocks || !list->block_at)
        return false;
    order(list->block_at, count, in_order);
    for (size_t place = 0; place < count; place++) {
        const size_t i = list->block_at[place];
        const size_t arena = (2 * place + odd) * block, line = i * block;
        list->blocks[i] =
            (struct ferry_block){.dst_offset = operation == FERRY_OPERATION_DOWNLOAD ? line : arena,
                                 .src_offset = operation == FERRY_OPERATION_UPLOAD     ? line
                                               : operation == FERRY_OPERATION_DOWNLOAD ? arena
                                                                                       : 2 * line,
                                 .size = block};
    }
    return true;
}

void blocks_list_free(struct blocks_list *list)
{
    free(list->blocks);
    free(list->block_at);
    *list = (struct blocks_list){.blocks = NULL};
}

/* --- arenas ----------------------------------------------------------------------------------- */

static bool is_ferry(const struct blocks_job *job)
{
    return job->who == BLOCKS_FERRY || job->who == BLOCKS_ROWS;
}

static size_t line_bytes(const struct blocks_job *job)
{
    return job->cell.block * job->cell.count;
}

static size_t arena_bytes(const struct blocks_job *job)
{
    return 2 * line_bytes(job);
}

/* A piece of an arena, from or to host memory. */
static bool move_piece(struct blocks_job *job, unsigned arena, bool in, unsigned char *bytes,
                       size_t size, size_t offset)
{
    const char *why = NULL;
    if (job->who == BLOCKS_MEMCPY) {
        memcpy(in ? job->yard + offset : bytes, in ? bytes : job->yard + offset, size);
    } else if (!is_ferry(job)) {
        why = in ? job->peer->upload(job->peer_device, job->peer_arena, offset, bytes, size)
                 : job->peer->download(job->peer_device, bytes, job->peer_arena, offset, size);
        if (!why)
            why = job->peer->finish(job->peer_device);
    } else {
        const enum ferry_status status =
            in ? ferry_copy_from_host(job->arenas[arena], bytes, size, offset)
               : ferry_copy_to_host(job->arenas[arena], bytes, size, offset);
        why = status ? ferry_last_error() : NULL;
    }
    if (why)
        snprintf(job->why, sizeof job->why, "%s", why);
    return !why;
}

static bool fill_arena(struct blocks_job *job, unsigned arena)
{
    unsigned char *chunk = malloc(CHUNK);
    bool good = chunk;
    for (size_t at = 0; at < arena_bytes(job) && good; at += CHUNK) {
        const size_t left = arena_bytes(job) - at, size = left < CHUNK ? left : CHUNK;
        fill_words(chunk, size, at);
        good = move_piece(job, arena, true, chunk, size, at);
    }
    free(chunk);
    return good;
}

/* The blocks of a list that were written to the arena. */
static bool check_arena(struct blocks_job *job, const struct blocks_list *list, unsigned arena)
{
    const size_t block = list->block, per_chunk = CHUNK / (2 * block), step = per_chunk * 2 * block;
    unsigned char *chunk = malloc(step);
    bool good = chunk;
    for (size_t first = 0; first < list->count && good; first += per_chunk) {
        const size_t left = list->count - first, places = left < per_chunk ? left : per_chunk;
        const size_t from = first * 2 * block;
        good = move_piece(job, arena, false, chunk, places * 2 * block, from);
        for (size_t p = 0; p < places && good; p++)
            good = are_words(chunk + (2 * p + list->odd) * block, block,
                             list->blocks[list->block_at[first + p]].src_offset);
    }
    free(chunk);
    return good;
}

static bool check_line(const struct blocks_job *job, const struct blocks_list *list,
                       const unsigned char *line)
{
    (void)job;
    for (size_t i = 0; i < list->count; i++)
        if (!are_words(line + list->blocks[i].dst_offset, list->block, list->blocks[i].src_offset))
            return false;
    return true;
}

static enum ferry_operation operation_of(const struct blocks_job *job, unsigned index)
{
    return job->cell.both && index == 1 ? FERRY_OPERATION_DOWNLOAD : job->cell.operation;
}

bool blocks_job_check(struct blocks_job *job)
{
    const unsigned count = job->cell.both ? 2 : 1;
    for (unsigned i = 0; i < count; i++) {
        const bool good = operation_of(job, i) == FERRY_OPERATION_DOWNLOAD
                              ? check_line(job, &job->lists[i], job->host[i])
                              : check_arena(job, &job->lists[i], i);
        if (!good && job->why[0] == 0)
            snprintf(job->why, sizeof job->why, "blocks of %zu bytes arrived changed",
                     job->cell.block);
        if (!good)
            return false;
    }
    return true;
}

/* --- opening ---------------------------------------------------------------------------------- */

static bool fail(struct blocks_job *job, const char *why)
{
    if (job->why[0] == 0)
        snprintf(job->why, sizeof job->why, "%s", why);
    return false;
}

static bool take_line(struct blocks_job *job, unsigned index)
{
    const size_t size = line_bytes(job);
    void *bytes = NULL;
    if (job->cell.memory == BENCH_PAGEABLE || job->who == BLOCKS_MEMCPY) {
        if (posix_memalign(&bytes, PAGE, size) != 0)
            return fail(job, "out of host memory");
    } else if (is_ferry(job)) {
        if (ferry_host_alloc(job->device, size, &bytes))
            return fail(job, ferry_last_error());
    } else {
        if (!job->peer->host_alloc)
            return fail(job, "it has no memory of its own for the host");
        const char *why = job->peer->host_alloc(job->peer_device, size, &bytes);
        if (why)
            return fail(job, why);
    }
    job->host[index] = bytes;
    if (operation_of(job, index) == FERRY_OPERATION_UPLOAD)
        fill_words(bytes, size, 0);
    else
        memset(bytes, 0, size);
    return true;
}

static bool take_arena(struct blocks_job *job)
{
    const size_t size = arena_bytes(job);
    if (job->who == BLOCKS_MEMCPY) {
        void *yard = NULL;
        if (posix_memalign(&yard, PAGE, size) != 0)
            return fail(job, "out of host memory");
        job->yard = yard;
    } else if (is_ferry(job)) {
        const struct ferry_buffer_params params = {.size = size};
        for (unsigned i = 0; i < (job->two ? 2 : 1); i++)
            if (ferry_buffer_create(job->device, &params, &job->arenas[i]))
                return fail(job, ferry_last_error());
        if (!job->two)
            job->arenas[1] = job->arenas[0];
    } else {
        const char *why = job->peer->make(job->peer_device, size, &job->peer_arena);
        if (why)
            return fail(job, why);
    }
    if (job->cell.operation == FERRY_OPERATION_UPLOAD && !job->cell.both)
        return true; /* nothing is read there */
    return fill_arena(job, 0) && (!job->two || fill_arena(job, 1));
}

bool blocks_job_open(struct blocks_job *job)
{
    job->way = (struct bench_way){.run = blocks_job_run, .state = job, .items = 1};
    if (!take_arena(job))
        return fail(job, "out of memory");
    for (unsigned i = 0; i < (job->cell.both ? 2 : 1); i++)
        if (operation_of(job, i) != FERRY_OPERATION_COPY && !take_line(job, i))
            return false;
    job->measured = blocks_job_run(job, 1) != BENCH_FAILED;
    return job->measured;
}

static void give_line(struct blocks_job *job, unsigned char *line)
{
    if (job->cell.memory == BENCH_PAGEABLE || job->who == BLOCKS_MEMCPY)
        free(line);
    else if (is_ferry(job))
        ferry_host_free(job->device, line);
    else
        job->peer->host_free(job->peer_device, line);
}

void blocks_job_close(struct blocks_job *job)
{
    for (unsigned i = 0; i < BLOCKS_LISTS; i++)
        if (job->host[i])
            give_line(job, job->host[i]);
    ferry_buffer_destroy(job->arenas[0]);
    if (job->two)
        ferry_buffer_destroy(job->arenas[1]);
    free(job->yard);
    if (job->peer_arena)
        job->peer->destroy(job->peer_device, job->peer_arena);
}

/* --- running ---------------------------------------------------------------------------------- */

/* The blocks of a list that are in order. */
static enum ferry_status move_rows(struct blocks_job *job, const struct blocks_list *list)
{
    const struct ferry_block first = list->blocks[0], second = list->blocks[1];
    const struct ferry_rows rows = {.rows = list->count,
                                    .row_size = list->block,
                                    .dst_offset = first.dst_offset,
                                    .dst_stride = second.dst_offset - first.dst_offset,
                                    .src_offset = first.src_offset,
                                    .src_stride = second.src_offset - first.src_offset};
    ferry_buffer *arena = job->arenas[0];
    if (job->cell.operation == FERRY_OPERATION_UPLOAD)
        return ferry_copy_rows_from_host(arena, job->host[0], &rows);
    if (job->cell.operation == FERRY_OPERATION_DOWNLOAD)
        return ferry_copy_rows_to_host(arena, job->host[0], &rows);
    return ferry_copy_rows(arena, arena, &rows);
}

static enum ferry_status move_list(struct blocks_job *job, unsigned index)
{
    const struct blocks_list *list = &job->lists[index];
    ferry_buffer *arena = job->arenas[index];
    if (job->who == BLOCKS_ROWS)
        return move_rows(job, list);
    switch (operation_of(job, index)) {
    case FERRY_OPERATION_UPLOAD:
        return ferry_copy_blocks_from_host(arena, job->host[index], list->blocks, list->count);
    case FERRY_OPERATION_DOWNLOAD:
        return ferry_copy_blocks_to_host(arena, job->host[index], list->blocks, list->count);
    case FERRY_OPERATION_COPY:
    case FERRY_OPERATION_FILL:
    case FERRY_OPERATION_COUNT: break;
    }
    return ferry_copy_blocks(arena, arena, list->blocks, list->count);
}

static void move_memory(struct blocks_job *job)
{
    const struct blocks_list *list = &job->lists[0];
    unsigned char *to = job->cell.operation == FERRY_OPERATION_DOWNLOAD ? job->host[0] : job->yard;
    unsigned char *from = job->cell.operation == FERRY_OPERATION_UPLOAD ? job->host[0] : job->yard;
    for (size_t i = 0; i < list->count; i++)
        memcpy(to + list->blocks[i].dst_offset, from + list->blocks[i].src_offset, list->block);
    __asm__ volatile("" : : "r"(to) : "memory");
}

static const char *move_peer(struct blocks_job *job)
{
    static const enum peer_way ways[BLOCKS_WHO] = {[BLOCKS_LOOP] = PEER_BLOCKS_LOOP,
                                                   [BLOCKS_BATCH] = PEER_BLOCKS_BATCH,
                                                   [BLOCKS_KERNEL] = PEER_BLOCKS_KERNEL};
    static const enum peer_direction directions[] = {[FERRY_OPERATION_UPLOAD] = PEER_UP,
                                                     [FERRY_OPERATION_DOWNLOAD] = PEER_DOWN,
                                                     [FERRY_OPERATION_COPY] = PEER_WITHIN};
    const struct blocks_list *list = &job->lists[0];
    _Static_assert(sizeof *list->blocks == sizeof(struct peer_block), "the same three words");
    if (job->cell.memory == BENCH_PAGEABLE && job->who != BLOCKS_LOOP)
        return "host memory is pageable";
    return job->peer->blocks(job->peer_device, ways[job->who], directions[job->cell.operation],
                             job->peer_arena, job->host[0],
                             (const struct peer_block *)(const void *)list->blocks, list->count);
}

static void note(struct blocks_job *job, const char *why)
{
    int none = FERRY_OK;
    if (atomic_compare_exchange_strong(&job->status, &none, FERRY_ERROR_INTERNAL))
        snprintf(job->why, sizeof job->why, "%s", why);
}

static void move_one_way(void *state, unsigned index)
{
    struct blocks_job *job = state;
    if (move_list(job, index))
        note(job, ferry_last_error());
}

/* The time of one call; of both ways, from when both threads stand ready. */
static uint64_t move_once(struct blocks_job *job)
{
    if (job->cell.both)
        return bench_team_run(job->team, move_one_way, job);
    const uint64_t began = bench_now_ns();
    const char *why = NULL;
    if (is_ferry(job))
        move_one_way(job, 0);
    else if (job->who == BLOCKS_MEMCPY)
        move_memory(job);
    else if ((why = move_peer(job)))
        note(job, why);
    return bench_now_ns() - began;
}

uint64_t blocks_job_run(void *state, uint64_t calls)
{
    struct blocks_job *job = state;
    uint64_t time = 0;
    for (uint64_t i = 0; i < calls; i++)
        time += move_once(job);
    return !atomic_load(&job->status) ? time : BENCH_FAILED;
}
