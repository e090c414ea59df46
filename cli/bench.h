/* ferry bench: groups of contestants, measured in rounds (bench/core), and what is told of them. */
#ifndef FERRY_CLI_BENCH_H
#define FERRY_CLI_BENCH_H

#include "cli.h"
#include "measure.h"
#include "peer.h"

enum bench_kind {
    BENCH_MEMCPY,     /* one thread */
    BENCH_MEMCPY_TWO, /* two threads, a half each */
    BENCH_FERRY,
    BENCH_SEED, /* a naive upload, all made anew (reference.h) */
    BENCH_PEER, /* waiting, both ways, and batches: n operations, then one wait */
};

enum bench_mode {
    BENCH_WAITING, /* one operation after the other, over n places in turn */
    BENCH_ASYNC,   /* n in flight, each on buffers of its own */
    BENCH_BATCH,   /* n in a batch, places of one buffer, with a gap after each */
    BENCH_MANY,    /* the same as n asynchronous operations, then one wait */
    BENCH_THREADS, /* n threads, each waiting for its own, on buffers of its own */
    BENCH_BOTH,    /* two threads: one uploads, one downloads, on buffers of their own */
};

/* Where transfers begin or end. */
enum bench_memory {
    BENCH_PAGEABLE,   /* the group's */
    BENCH_REGISTERED, /* ferry_host_register */
    BENCH_ALLOCATED,  /* ferry_host_alloc, or the peer's own, page-locked */
};

/* Its places are gone through by one call, and a time is that of all. */
static inline bool bench_is_together(enum bench_mode mode)
{
    return mode == BENCH_BATCH || mode == BENCH_MANY;
}

/* A contestant. A memcpy has no more than its kind, and only Ferry has paths. */
struct bench_spec {
    enum bench_kind kind;
    enum peer_id peer;
    enum ferry_path path;
    enum bench_memory memory;
    enum ferry_operation operation;
    enum bench_mode mode;
    unsigned n; /* 0: 1 */
};

/* clang-format off */
#define FERRY_WAY(p, m, count) \
    {.kind = BENCH_FERRY, .path = FERRY_PATH_##p, .mode = BENCH_##m, .n = (count)}
#define FERRY_FROM(m) {.kind = BENCH_FERRY, .memory = BENCH_##m}
#define PEER_WAY(p) {.kind = BENCH_PEER, .peer = PEER_##p}
#define PEER_FROM(p, m) {.kind = BENCH_PEER, .peer = PEER_##p, .memory = BENCH_##m}
#define PEER_BATCH(p, count) \
    {.kind = BENCH_PEER, .peer = PEER_##p, .mode = BENCH_BATCH, .n = (count)}
#define FERRY_LOCKED(m, count) \
    {.kind = BENCH_FERRY, .memory = BENCH_ALLOCATED, .mode = BENCH_##m, .n = (count)}
#define PEER_LOCKED(p, m, count) \
    {.kind = BENCH_PEER, .peer = PEER_##p, .memory = BENCH_ALLOCATED, .mode = BENCH_##m, .n = (count)}
/* clang-format on */

/* --- devices (bench_session.c) ---------------------------------------------------------------- */

/* One device, opened once for each path and anew for what is pinned: its threads stay where they
 * were made. */
struct bench_session {
    const char *device_name;
    bool pins;                                         /* the system can pin */
    ferry_device *devices[2][FERRY_PATH_IMPORTED + 1]; /* pinned, path */
    ferry_device *plain[2];                            /* pinned */
    void *peers[2][PEER_COUNT];                        /* pinned */
    char peer_why[PEER_COUNT][PEER_WHY_MAX];           /* why it is not there; "": it is */
    struct ferry_device_info info;
};

/* False: complained. Close it in either case. peers: with those there are. */
bool bench_session_open(struct bench_session *session, const char *device_name, bool peers);
void bench_session_close(struct bench_session *session);

/* The device that spec runs on, opened if need be, with fallbacks forbidden where a path is forced.
 * NULL: it cannot be; ferry_last_error() says why. */
ferry_device *bench_session_device(struct bench_session *session, const struct bench_spec *spec,
                                   bool pinned);

/* As bench_session_device, for a peer that is there. */
void *bench_session_peer(struct bench_session *session, enum peer_id peer, bool pinned,
                         const char **out_why);

extern const struct peer *const bench_peers[PEER_COUNT];

/* --- host memory (bench_host.c) --------------------------------------------------------------- */

/* Where a contestant's bytes are: places places, stride apart. */
struct bench_ground {
    unsigned char *source, *yard; /* the pattern; where memcpy, downloads and checks go */
    size_t size, stride, places;
    bool odd; /* host memory begins 1 byte, device memory 3 bytes past a multiple of 256 */
};

/* A group's. */
struct bench_host {
    struct bench_ground ground;
    void *source, *yard;
    size_t bytes; /* of each */
};

/* False: there is not so much. Give it back in either case. */
bool bench_host_take(struct bench_host *host, size_t size, size_t places, bool odd);
void bench_host_give(struct bench_host *host);

/* A contestant's own, in place of the group's source of uploads or yard of downloads; both of them
 * where it does both. */
struct bench_own {
    enum bench_memory memory;
    void *source, *yard;  /* NULL: the group's */
    ferry_device *device; /* NULL: the peer's */
    const struct peer *peer;
    void *peer_device;
};

/* Takes what spec asks for, and makes ground, which is host's, point at it. device or peer is set,
 * the rest zero. NULL, or why not. Give it back in either case. */
const char *bench_own_take(struct bench_own *own, const struct bench_spec *spec,
                           const struct bench_host *host, struct bench_ground *ground);
void bench_own_give(struct bench_own *own);

/* What fills repeat. */
extern const unsigned char bench_pattern[PEER_PATTERN];

/* Compares the bytes at a place of the yard with what the operation should have brought. */
enum cli_exit bench_compare(const struct bench_ground *ground, enum ferry_operation operation,
                            size_t place, char *why);

/* --- one contestant that is Ferry's, or the seed's (bench_case.c) ----------------------------- */

struct bench_case {
    struct bench_spec spec;
    const struct bench_ground *ground;
    ferry_device *device;
    ferry_buffer *to[BENCH_THREADS_MAX], *from[BENCH_THREADS_MAX];
    size_t buffers, places; /* a place is a buffer, or a part of the only one */
    uint64_t next;          /* place of the next waiting operation */
    ferry_batch *batch;
    struct bench_team *team;
    uint64_t calls;        /* of each thread in the run that goes on */
    _Atomic int status;    /* the first failure, an enum ferry_status; FERRY_OK */
    char why[CLI_WHY_MAX]; /* and its words */
};

/* Makes buffers and does the operation once on each place. On failure, too, close it. */
enum ferry_status bench_case_open(struct bench_case *bench, ferry_device *device,
                                  const struct bench_spec *spec, const struct bench_ground *ground);
void bench_case_close(struct bench_case *bench);

/* A bench_way's run; state is a struct bench_case. */
uint64_t bench_run_case(void *state, uint64_t calls);

/* Compares every byte that the operation should have written. */
enum cli_exit bench_case_check(struct bench_case *bench);

/* --- one that is a peer's (bench_peer.c) ------------------------------------------------------ */

struct bench_peer_case {
    struct bench_spec spec;
    const struct bench_ground *ground;
    const struct peer *peer;
    void *device, *to, *from;
    size_t places;
    uint64_t next; /* place of the next waiting operation */
    char why[CLI_WHY_MAX];
};

/* Makes buffers and does the operation once on each place; false: why says why not. Close it in
 * either case. */
bool bench_peer_case_open(struct bench_peer_case *bench, void *device,
                          const struct bench_spec *spec, const struct bench_ground *ground);
void bench_peer_case_close(struct bench_peer_case *bench);

/* A bench_way's run; state is a struct bench_peer_case. */
uint64_t bench_run_peer(void *state, uint64_t calls);
enum cli_exit bench_peer_case_check(struct bench_peer_case *bench);

/* Says on stderr which peer it was, should one crash the process while it is the current one.
 * NULL: none is. */
void bench_peer_current(const struct peer *peer);

/* --- a group: contestants of one size, in the same rounds (bench_group.c) --------------------- */

enum { BENCH_ENTRIES_MAX = 12 };

struct bench_entry {
    struct bench_spec spec;
    bool measured;
    char why[CLI_WHY_MAX]; /* why it was not */
    struct bench_ground ground;
    struct bench_own own;
    struct bench_case job;
    struct bench_peer_case rival;
    struct bench_memcpy memcpy;
    struct bench_way way;
};

struct bench_group {
    size_t size, count;
    bool odd, pinned;
    uint64_t budget_ns,
        iterations; /* iterations: so many rounds, whatever the time; 0: not given */
    struct bench_spec specs[BENCH_ENTRIES_MAX];
    struct bench_entry *entries; /* count; the results, until bench_group_free */
    size_t rounds;
};

/* What the device cannot do, or has no memory for, is left out with a reason. Any other failure is
 * complained of. */
enum cli_exit bench_group_run(struct bench_session *session, struct bench_group *group);
void bench_group_free(struct bench_group *group);

/* "upload", "download", ... */
const char *bench_operation_name(enum ferry_operation operation);

/* --- what is told ----------------------------------------------------------------------------- */

enum bench_format { BENCH_TEXT, BENCH_JSON, BENCH_CSV, BENCH_MARKDOWN };

/* Some lines; or the members "ferry", "device", "pinned" and "peers" of a JSON object, a comma
 * after each. */
void bench_print_device(const struct bench_session *session);
void bench_json_device(const struct bench_session *session);

/* Which rows of the table are measured. */
struct bench_filter {
    uint64_t size;  /* 0: all */
    int operation;  /* an enum ferry_operation; -1: all */
    int path;       /* an enum ferry_path; -1: all. Beside memcpy only */
    bool both_ways; /* only uploads and downloads at once */
    bool large;     /* also 1 GiB */
};

/* How long, and how it is told. */
struct bench_plan {
    uint64_t budget_ns;  /* of all */
    uint64_t iterations; /* rounds of each group; 0: until the time is over */
    enum bench_format format;
    bool quiet;                        /* no line of progress */
    const struct bench_record *record; /* to compare with; NULL: none */
};

/* The targets (bench_quick.c). */
enum cli_exit bench_quick(struct bench_session *session, const struct bench_plan *plan);

/* The table (bench_table.c). */
enum cli_exit bench_table(struct bench_session *session, const struct bench_plan *plan,
                          const struct bench_filter *filter);

/* --- rows of the table (bench_rows.c) --------------------------------------------------------- */

/* What stands before the rows, before a section of them (text only), and after the last. */
void bench_rows_begin(const struct bench_session *session, const struct bench_plan *plan);
void bench_rows_section(const struct bench_plan *plan, const char *heading);
void bench_rows_end(const struct bench_plan *plan);

/* A row for each contestant; first: no row was printed yet. */
void bench_rows_print(const struct bench_plan *plan, const struct bench_group *group, bool first);

/* --- an earlier table, to compare with (bench_record.c) --------------------------------------- */

struct bench_record;

/* Reads what --csv printed. NULL: why says why not (CLI_WHY_MAX bytes). */
struct bench_record *bench_record_read(const char *name, char *why);
void bench_record_free(struct bench_record *record); /* NULL allowed */

/* The time of the row that begins so ("ferry,upload,waiting,1,auto,pageable,256,0,1,"), with a
 * tenth of the rounds below and above. False: there is none, or it was not measured. */
bool bench_record_find(const struct bench_record *record, const char *row,
                       struct bench_figure *out_time);

#endif
