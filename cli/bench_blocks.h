/* ferry bench --blocks: scattered blocks of one arena. */
#ifndef FERRY_CLI_BENCH_BLOCKS_H
#define FERRY_CLI_BENCH_BLOCKS_H

#include "bench.h"

enum blocks_who {
    BLOCKS_FERRY,
    BLOCKS_ROWS,   /* Ferry's, the same bytes as rows, each in its place of the arena */
    BLOCKS_MEMCPY, /* a loop, in host memory */
    BLOCKS_LOOP,   /* the peer's, a copy each */
    BLOCKS_BATCH,  /* the peer's call for many */
    BLOCKS_KERNEL, /* a plain kernel that the peer runs */
    BLOCKS_WHO
};

/* One field of the map: count blocks of one size, in random places of an arena of twice their
 * bytes, from or to host memory where they lie one behind the other, or within the arena. */
struct blocks_cell {
    enum ferry_operation operation; /* upload, download, copy */
    enum bench_memory memory;       /* pageable or allocated */
    size_t block, count;
    bool both; /* an upload and a download at once */
};

/* A list, and where its blocks lie in the arena: even places, or odd ones. Of rows in order. */
struct blocks_list {
    struct ferry_block *blocks;
    uint32_t *block_at; /* which block lies in each place */
    size_t block, count;
    unsigned odd;
};

enum { BLOCKS_LISTS = 2 };

/* What one contestant works on. */
struct blocks_job {
    enum blocks_who who;
    struct blocks_cell cell;
    const struct blocks_list *lists; /* the second: of both ways at once */
    ferry_device *device;
    ferry_buffer *arenas[BLOCKS_LISTS]; /* of both ways at once: the same, or two */
    unsigned char *yard;                /* memcpy's arena */
    const struct peer *peer;
    void *peer_device, *peer_arena;
    unsigned char *host[BLOCKS_LISTS];
    struct bench_team *team;
    bool two; /* two arenas */
    bool measured;
    struct bench_way way;
    _Atomic int status;
    char why[CLI_WHY_MAX]; /* why it is not measured, or failed */
};

/* False: there is no memory. Give it back in either case. */
bool blocks_list_make(struct blocks_list *list, const struct blocks_cell *cell,
                      enum ferry_operation operation, unsigned odd, bool in_order);
void blocks_list_free(struct blocks_list *list);

/* Gets its memory and does it once. False: why says why not. Close it in either case. */
bool blocks_job_open(struct blocks_job *job);
void blocks_job_close(struct blocks_job *job);

/* A bench_way's run; state is a struct blocks_job. */
uint64_t blocks_job_run(void *state, uint64_t calls);

/* Compares every byte that should have arrived. */
bool blocks_job_check(struct blocks_job *job);

/* What is told of a cell: jobs, of which some were measured (bench_blocks_rows.c). */
void blocks_rows_begin(const struct bench_session *session, const struct bench_plan *plan);
void blocks_rows_print(const struct bench_plan *plan, const struct blocks_job *jobs, size_t count,
                       size_t rounds, bool first);
void blocks_rows_end(const struct bench_plan *plan);

/* All fields, or those that the filter names (bench_blocks.c). */
enum cli_exit bench_blocks(struct bench_session *session, const struct bench_plan *plan,
                           const struct bench_filter *filter);

#endif
