/* ferry bench: groups of contestants, measured in rounds (bench/core), and what is told of them. */
#ifndef FERRY_CLI_BENCH_H
#define FERRY_CLI_BENCH_H

#include "cli.h"
#include "measure.h"

enum bench_kind {
    BENCH_MEMCPY,     /* one thread */
    BENCH_MEMCPY_TWO, /* two threads, a half each */
    BENCH_FERRY,
    BENCH_SEED, /* the seed's upload, all made anew (reference.h) */
};

enum bench_mode {
    BENCH_WAITING, /* one operation after the other, over n places in turn */
    BENCH_ASYNC,   /* n in flight, each on buffers of its own */
    BENCH_BATCH,   /* n in a batch, places of one buffer, with a gap after each */
    BENCH_THREADS, /* n threads, each waiting for its own, on buffers of its own */
};

/* A contestant. What follows kind is Ferry's only. */
struct bench_spec {
    enum bench_kind kind;
    enum ferry_path path;
    enum ferry_operation operation;
    enum bench_mode mode;
    unsigned n; /* 0: 1 */
};

/* --- devices (bench_session.c) ---------------------------------------------------------------- */

/* One device, opened once for each path and anew for what is pinned: its threads stay where they
 * were made. */
struct bench_session {
    const char *device_name;
    bool pins; /* the system can pin */
    ferry_device *devices[2][FERRY_PATH_IMPORTED + 1]; /* pinned, path */
    ferry_device *plain[2];                            /* pinned */
    struct ferry_device_info info;
};

/* False: complained. Close it in either case. */
bool bench_session_open(struct bench_session *session, const char *device_name);
void bench_session_close(struct bench_session *session);

/* The device that spec runs on, opened if need be, with fallbacks forbidden where a path is forced.
 * NULL: it cannot be; ferry_last_error() says why. */
ferry_device *bench_session_device(struct bench_session *session, const struct bench_spec *spec,
                                   bool pinned);

/* --- one contestant that is Ferry's, or the seed's (bench_case.c) ----------------------------- */

/* Where a group's bytes are: places places, stride apart. */
struct bench_ground {
    unsigned char *source, *yard; /* the pattern; where memcpy, downloads and checks go */
    size_t size, stride, places;
    bool odd; /* host memory begins 1 byte, device memory 3 bytes past a multiple of 256 */
};

struct bench_case {
    struct bench_spec spec;
    const struct bench_ground *ground;
    ferry_device *device;
    ferry_buffer *to[BENCH_THREADS_MAX], *from[BENCH_THREADS_MAX];
    size_t buffers, places; /* a place is a buffer, or a part of the only one */
    uint64_t next;          /* place of the next waiting operation */
    ferry_batch *batch;
    struct bench_team *team;
    uint64_t calls;              /* of each thread in the run that goes on */
    _Atomic int status;          /* the first failure, an enum ferry_status; FERRY_OK */
    char why[CLI_WHY_MAX];       /* and its words */
};

/* Makes buffers and does the operation once on each place. On failure, too, close it. */
enum ferry_status bench_case_open(struct bench_case *bench, ferry_device *device,
                                  const struct bench_spec *spec,
                                  const struct bench_ground *ground);
void bench_case_close(struct bench_case *bench);

/* A bench_way's run; state is a struct bench_case. */
uint64_t bench_run_case(void *state, uint64_t calls);

/* Compares every byte that the operation should have written. */
enum cli_exit bench_case_check(struct bench_case *bench);

/* --- a group: contestants of one size, in the same rounds (bench_group.c) --------------------- */

enum { BENCH_ENTRIES_MAX = 8 };

struct bench_entry {
    struct bench_spec spec;
    bool measured;
    char why[CLI_WHY_MAX]; /* why it was not */
    struct bench_case job;
    struct bench_memcpy memcpy;
    struct bench_way way;
};

struct bench_group {
    size_t size, count;
    bool odd, pinned;
    uint64_t budget_ns;
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

enum bench_format { BENCH_TEXT, BENCH_JSON, BENCH_CSV };

/* Two lines; or the members "ferry", "device" and "pinned" of a JSON object, a comma after each. */
void bench_print_device(const struct bench_session *session);
void bench_json_device(const struct bench_session *session);

/* The targets, in about budget_ns (bench_quick.c). */
enum cli_exit bench_quick(struct bench_session *session, uint64_t budget_ns,
                          enum bench_format format);

/* Everything, in about budget_ns; large: also 1 GiB (bench_table.c). */
enum cli_exit bench_table(struct bench_session *session, uint64_t budget_ns, bool large,
                          enum bench_format format);

#endif
