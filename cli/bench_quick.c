/* ferry bench --quick: the targets, each with both figures. */
#include "bench_quick.h"
#include "progress.h"

#include <string.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

enum { BATCH = 1000 };

enum group {
    GROUP_256_MIB,
    GROUP_16_MIB,
    GROUP_THREADS_DIRECT,
    GROUP_THREADS_STAGED,
    GROUP_CUDA_UPLOAD,
    GROUP_CUDA_DOWNLOAD,
    GROUP_CUDA_COPY,
    GROUP_CUDA_BATCH,
    GROUP_ON_CUDA_UP_16,
    GROUP_ON_CUDA_UP_1,
    GROUP_ON_CUDA_DOWN_16,
    GROUP_ON_CUDA_DOWN_1,
    GROUP_ON_CUDA_DOWN_256_B,
    GROUP_ON_CUDA_DOWN_4_KIB,
    GROUP_ON_CUDA_COPY_16,
    GROUP_ON_CUDA_FILL,
    GROUP_ON_CUDA_MANY,
    GROUP_ON_CUDA_BOTH,
    GROUP_1_MIB,
    GROUP_64_KIB,
    GROUP_256_B,
    GROUP_BATCH,
    GROUP_COUNT
};

#define MEMCPY               \
    {                        \
        .kind = BENCH_MEMCPY \
    }
#define MEMCPY_TWO               \
    {                            \
        .kind = BENCH_MEMCPY_TWO \
    }
#define SEED               \
    {                      \
        .kind = BENCH_SEED \
    }

/* The free ones first. weight: its share of the time. The staged path of what is larger than a
 * chunk is the pipelined one. cuda: run only where CUDA is; driver: and Ferry's device is of a
 * driver that a target of the group names. */
static const struct {
    enum ferry_operation operation;
    size_t size;
    bool pinned, cuda, driver;
    unsigned weight;
    size_t count;
    struct bench_spec specs[BENCH_ENTRIES_MAX];
} plans[GROUP_COUNT] = {
    [GROUP_256_MIB] = {FERRY_OPERATION_UPLOAD, 256 * MIB, .weight = 10, .count = 8,
                       .specs = {MEMCPY, MEMCPY_TWO, FERRY_WAY(DIRECT, WAITING, 1),
                                 FERRY_WAY(IMPORTED, WAITING, 1), FERRY_WAY(PIPELINED, WAITING, 1),
                                 PEER_WAY(LIBPLACEBO), PEER_WAY(LIBPLACEBO_STAGED),
                                 PEER_WAY(OPENCL)}},
    [GROUP_16_MIB] = {FERRY_OPERATION_UPLOAD, 16 * MIB, .weight = 6, .count = 9,
                      .specs = {MEMCPY, MEMCPY_TWO, FERRY_WAY(DIRECT, WAITING, 1),
                                FERRY_WAY(IMPORTED, WAITING, 1), FERRY_WAY(PIPELINED, WAITING, 1),
                                PEER_WAY(LIBPLACEBO), PEER_WAY(LIBPLACEBO_STAGED), PEER_WAY(OPENCL),
                                SEED}},
    [GROUP_THREADS_DIRECT] = {FERRY_OPERATION_UPLOAD, 64 * KIB, .weight = 3, .count = 3,
                              .specs = {FERRY_WAY(DIRECT, THREADS, 1),
                                        FERRY_WAY(DIRECT, THREADS, 2),
                                        FERRY_WAY(DIRECT, THREADS, 8)}},
    [GROUP_THREADS_STAGED] = {FERRY_OPERATION_UPLOAD, 64 * KIB, .weight = 3, .count = 3,
                              .specs = {FERRY_WAY(STAGED, THREADS, 1),
                                        FERRY_WAY(STAGED, THREADS, 2),
                                        FERRY_WAY(STAGED, THREADS, 8)}},
    [GROUP_CUDA_UPLOAD] = {FERRY_OPERATION_UPLOAD, 256 * MIB, .cuda = true, .weight = 4, .count = 4,
                           .specs = {FERRY_FROM(PAGEABLE), FERRY_FROM(REGISTERED),
                                     PEER_FROM(CUDA, PAGEABLE), PEER_FROM(CUDA, ALLOCATED)}},
    [GROUP_CUDA_DOWNLOAD] = {FERRY_OPERATION_DOWNLOAD, 256 * MIB, .cuda = true, .weight = 4,
                             .count = 4,
                             .specs = {FERRY_FROM(PAGEABLE), FERRY_FROM(REGISTERED),
                                       PEER_FROM(CUDA, PAGEABLE), PEER_FROM(CUDA, ALLOCATED)}},
    [GROUP_CUDA_COPY] = {FERRY_OPERATION_COPY, 256 * MIB, .cuda = true, .weight = 2, .count = 2,
                         .specs = {FERRY_WAY(AUTO, WAITING, 1), PEER_WAY(CUDA)}},
    [GROUP_CUDA_BATCH] = {FERRY_OPERATION_UPLOAD, 256, .cuda = true, .weight = 2, .count = 3,
                          .specs = {FERRY_WAY(AUTO, BATCH, BATCH), FERRY_WAY(STAGED, BATCH, BATCH),
                                    PEER_BATCH(CUDA, BATCH)}},
#define ON_CUDA(operation_, size_)                                                               \
    {                                                                                            \
        (operation_), (size_), .cuda = true, .driver = true, .weight = 1, .count = 2, .specs = { \
            FERRY_FROM(REGISTERED),                                                              \
            PEER_FROM(CUDA, ALLOCATED)                                                           \
        }                                                                                        \
    }
#define ON_CUDA_DEVICE(operation_, size_)                                                        \
    {                                                                                            \
        (operation_), (size_), .cuda = true, .driver = true, .weight = 1, .count = 2, .specs = { \
            FERRY_WAY(AUTO, WAITING, 1),                                                         \
            PEER_WAY(CUDA)                                                                       \
        }                                                                                        \
    }
    [GROUP_ON_CUDA_UP_16] = ON_CUDA(FERRY_OPERATION_UPLOAD, 16 * MIB),
    [GROUP_ON_CUDA_UP_1] = ON_CUDA(FERRY_OPERATION_UPLOAD, MIB),
    [GROUP_ON_CUDA_DOWN_16] = ON_CUDA(FERRY_OPERATION_DOWNLOAD, 16 * MIB),
    [GROUP_ON_CUDA_DOWN_1] = ON_CUDA(FERRY_OPERATION_DOWNLOAD, MIB),
    [GROUP_ON_CUDA_DOWN_256_B] = ON_CUDA(FERRY_OPERATION_DOWNLOAD, 256),
    [GROUP_ON_CUDA_DOWN_4_KIB] = ON_CUDA(FERRY_OPERATION_DOWNLOAD, 4 * KIB),
    [GROUP_ON_CUDA_COPY_16] = ON_CUDA_DEVICE(FERRY_OPERATION_COPY, 16 * MIB),
    [GROUP_ON_CUDA_FILL] = ON_CUDA_DEVICE(FERRY_OPERATION_FILL, 256 * MIB),
    [GROUP_ON_CUDA_MANY] = {FERRY_OPERATION_UPLOAD, 4 * KIB, .cuda = true, .driver = true,
                            .weight = 1, .count = 3,
                            .specs = {FERRY_LOCKED(MANY, BATCH), FERRY_LOCKED(BATCH, BATCH),
                                      PEER_LOCKED(CUDA, BATCH, BATCH)}},
    [GROUP_ON_CUDA_BOTH] = {FERRY_OPERATION_UPLOAD, 64 * MIB, .cuda = true, .driver = true,
                            .weight = 1, .count = 2,
                            .specs = {FERRY_LOCKED(BOTH, 2), PEER_LOCKED(CUDA, BOTH, 2)}},
    [GROUP_1_MIB] = {FERRY_OPERATION_UPLOAD, MIB, .pinned = true, .weight = 2, .count = 2,
                     .specs = {MEMCPY, FERRY_WAY(DIRECT, WAITING, 1)}},
    [GROUP_64_KIB] = {FERRY_OPERATION_UPLOAD, 64 * KIB, .pinned = true, .weight = 2, .count = 2,
                      .specs = {MEMCPY, FERRY_WAY(DIRECT, WAITING, 1)}},
    [GROUP_256_B] = {FERRY_OPERATION_UPLOAD, 256, .pinned = true, .weight = 2, .count = 3,
                     .specs = {MEMCPY, FERRY_WAY(DIRECT, WAITING, 1), SEED}},
    [GROUP_BATCH] = {FERRY_OPERATION_UPLOAD, 256, .pinned = true, .weight = 2, .count = 2,
                     .specs = {FERRY_WAY(STAGED, WAITING, BATCH), FERRY_WAY(STAGED, BATCH, BATCH)}},
};

enum { TIME = -1 }; /* in place of a yardstick: the figure is the time of one operation, in ns */

static const struct target {
    const char *name, *unit;
    double bound; /* a ratio is to be at least this, a time at most */
    enum group group;
    int way, yardstick; /* in the group's specs */
    const char *driver; /* for Ferry's devices of this one; NULL: of any */
} targets[] = {
    {"direct, 256 bytes", "ns", 30, GROUP_256_B, 1, TIME, NULL},
    {"direct, 64 KiB", "of memcpy", 0.95, GROUP_64_KIB, 1, 0, NULL},
    {"direct, 1 MiB", "of memcpy", 0.95, GROUP_1_MIB, 1, 0, NULL},
    {"direct, 16 MiB", "of two-thread memcpy", 0.65, GROUP_16_MIB, 2, 1, NULL},
    {"direct, 16 MiB", "of memcpy", 1.25, GROUP_16_MIB, 2, 0, NULL},
    {"direct, 256 MiB", "of two-thread memcpy", 0.65, GROUP_256_MIB, 2, 1, NULL},
    {"direct, 256 MiB", "of memcpy", 1.25, GROUP_256_MIB, 2, 0, NULL},
    {"forced import, 16 MiB", "of memcpy", 0.8, GROUP_16_MIB, 3, 0, NULL},
    {"forced import, 256 MiB", "of memcpy", 0.8, GROUP_256_MIB, 3, 0, NULL},
    {"forced staging, 16 MiB", "of memcpy", 0.45, GROUP_16_MIB, 4, 0, NULL},
    {"forced staging, 256 MiB", "of memcpy", 0.5, GROUP_256_MIB, 4, 0, NULL},
    {"batch of 1000 x 256 bytes, staged", "ns an item", 700, GROUP_BATCH, 1, TIME, NULL},
    {"batch of 1000 x 256 bytes, staged", "times one by one", 25, GROUP_BATCH, 1, 0, NULL},
    {"direct, 256 bytes", "times a naive upload", 1000, GROUP_256_B, 1, 2, NULL},
    {"staged, 16 MiB", "times a naive upload", 3, GROUP_16_MIB, 4, 8, NULL},
    {"direct, 16 MiB", "times a naive upload", 7, GROUP_16_MIB, 2, 8, NULL},
    {"direct, 64 KiB, 2 threads", "times 1 thread", 1.6, GROUP_THREADS_DIRECT, 1, 0, NULL},
    {"staged, 64 KiB, 8 threads", "times 1 thread", 1, GROUP_THREADS_STAGED, 2, 0, NULL},
    {"direct, 16 MiB", "times libplacebo", 1.2, GROUP_16_MIB, 2, 5, NULL},
    {"direct, 16 MiB", "times OpenCL", 1.2, GROUP_16_MIB, 2, 7, NULL},
    {"direct, 256 MiB", "times libplacebo", 1.2, GROUP_256_MIB, 2, 5, NULL},
    {"direct, 256 MiB", "times OpenCL", 1.2, GROUP_256_MIB, 2, 7, NULL},
    {"forced staging, 16 MiB", "times libplacebo staged", 1.4, GROUP_16_MIB, 4, 6, NULL},
    {"forced staging, 256 MiB", "times libplacebo staged", 1.4, GROUP_256_MIB, 4, 6, NULL},
    {"upload, 256 MiB, registered", "times CUDA, page-locked", 0.95, GROUP_CUDA_UPLOAD, 1, 3, NULL},
    {"upload, 256 MiB, pageable", "times CUDA, pageable", 2, GROUP_CUDA_UPLOAD, 0, 2, NULL},
    {"download, 256 MiB, registered", "times CUDA, page-locked", 0.95, GROUP_CUDA_DOWNLOAD, 1, 3,
     NULL},
    {"download, 256 MiB, pageable", "times CUDA, pageable", 2, GROUP_CUDA_DOWNLOAD, 0, 2, NULL},
    {"copy, 256 MiB", "times CUDA", 0.95, GROUP_CUDA_COPY, 0, 1, NULL},
    {"batch of 1000 x 256 bytes", "ns an item", 3000, GROUP_CUDA_BATCH, 0, TIME, NULL},
    {"batch of 1000 x 256 bytes, staged", "ns an item", 1000, GROUP_CUDA_BATCH, 1, TIME, NULL},
    {"upload, 16 MiB, registered", "times CUDA, page-locked", 0.98, GROUP_ON_CUDA_UP_16, 0, 1,
     "cuda"},
    {"upload, 1 MiB, registered", "times CUDA, page-locked", 0.9, GROUP_ON_CUDA_UP_1, 0, 1, "cuda"},
    {"download, 16 MiB, registered", "times CUDA, page-locked", 0.98, GROUP_ON_CUDA_DOWN_16, 0, 1,
     "cuda"},
    {"download, 1 MiB, registered", "times CUDA, page-locked", 0.9, GROUP_ON_CUDA_DOWN_1, 0, 1,
     "cuda"},
    {"download, 256 bytes", "times CUDA, page-locked", 0.8, GROUP_ON_CUDA_DOWN_256_B, 0, 1, "cuda"},
    {"copy, 16 MiB", "times CUDA", 0.9, GROUP_ON_CUDA_COPY_16, 0, 1, "cuda"},
    {"fill, 256 MiB", "times CUDA", 0.95, GROUP_ON_CUDA_FILL, 0, 1, "cuda"},
    {"1000 x 4 KiB, asynchronous", "times CUDA's loop", 1.6, GROUP_ON_CUDA_MANY, 0, 2, "cuda"},
    {"batch of 1000 x 4 KiB", "times CUDA's loop", 4, GROUP_ON_CUDA_MANY, 1, 2, "cuda"},
    {"both ways, 64 MiB", "times CUDA, page-locked", 0.95, GROUP_ON_CUDA_BOTH, 0, 1, "cuda"},
    {"upload, 1 MiB, registered", "times CUDA, page-locked", 0.8, GROUP_ON_CUDA_UP_1, 0, 1,
     "vulkan"},
    {"download, 1 MiB, registered", "times CUDA, page-locked", 0.7, GROUP_ON_CUDA_DOWN_1, 0, 1,
     "vulkan"},
    {"download, 256 bytes", "ns", 2500, GROUP_ON_CUDA_DOWN_256_B, 0, TIME, "vulkan"},
    {"download, 4 KiB", "ns", 7000, GROUP_ON_CUDA_DOWN_4_KIB, 0, TIME, "vulkan"},
    {"copy, 16 MiB", "times CUDA", 0.75, GROUP_ON_CUDA_COPY_16, 0, 1, "vulkan"},
    {"fill, 256 MiB", "times CUDA", 0.95, GROUP_ON_CUDA_FILL, 0, 1, "vulkan"},
};

static bool lacks(const struct bench_session *session, const struct bench_spec *spec)
{
    return spec->kind == BENCH_PEER && session->peer_why[spec->peer][0] != 0;
}

static bool is_meant(const struct bench_session *session, const struct target *target)
{
    return !target->driver || strcmp(session->info.driver, target->driver) == 0;
}

static bool runs(const struct bench_session *session, enum group group)
{
    bool meant = !plans[group].driver;
    for (size_t i = 0; !meant && i < CLI_COUNT(targets); i++)
        meant = targets[i].group == group && is_meant(session, &targets[i]);
    return meant && (!plans[group].cuda || session->peer_why[PEER_CUDA][0] == 0);
}

/* What is a multiple of a peer that is not there, or meant for where CUDA is, is no target here. */
static bool applies(const struct bench_session *session, const struct target *target)
{
    const struct bench_spec *specs = plans[target->group].specs;
    return is_meant(session, target) && runs(session, target->group) &&
           (target->yardstick == TIME || !lacks(session, &specs[target->yardstick]));
}

/* Where the spread reaches over the bound by more than a fifth on either side, a verdict is worth
 * nothing: the same run again may give the other one. */
static bool is_noisy(const struct bench_figure *figure, double bound)
{
    return figure->low < bound * 0.8 && figure->high > bound * 1.2;
}

static struct bench_verdict judge(const struct target *target, const struct bench_group *groups)
{
    const struct bench_group *group = &groups[target->group];
    const struct bench_entry *entry = &group->entries[target->way];
    const struct bench_entry *yardstick =
        &group->entries[target->yardstick == TIME ? target->way : target->yardstick];
    struct bench_verdict verdict = {.name = target->name,
                                    .unit = target->unit,
                                    .bound = target->bound,
                                    .at_most = target->yardstick == TIME};
    if (!entry->measured || !yardstick->measured) {
        verdict.why = entry->measured ? yardstick->why : entry->why;
        return verdict;
    }
    if (target->yardstick == TIME) {
        verdict.figure = bench_time(&entry->way, group->rounds);
        verdict.met = verdict.figure.median <= target->bound;
    } else {
        verdict.figure = bench_ratio(&entry->way, &yardstick->way, group->rounds);
        verdict.met = verdict.figure.median >= target->bound;
    }
    verdict.noisy = is_noisy(&verdict.figure, target->bound);
    return verdict;
}

/* The targets that apply here, each with what became of it. Returns how many. */
static size_t judge_all(const struct bench_session *session, const struct bench_group *groups,
                        struct bench_verdict *out)
{
    size_t count = 0;
    for (size_t i = 0; i < CLI_COUNT(targets); i++)
        if (applies(session, &targets[i]))
            out[count++] = judge(&targets[i], groups);
    return count;
}

static enum cli_exit run_groups(struct bench_session *session, const struct bench_plan *plan,
                                struct bench_group *groups)
{
    struct progress progress;
    unsigned weights = 0, done = 0;
    enum cli_exit end = CLI_DONE;
    for (size_t i = 0; i < GROUP_COUNT; i++)
        weights += runs(session, i) ? plans[i].weight : 0;
    progress_start(&progress, "bench", plan->quiet);
    for (size_t i = 0; i < GROUP_COUNT && end == CLI_DONE; i++) {
        if (!runs(session, i))
            continue;
        groups[i] = (struct bench_group){.size = plans[i].size,
                                         .count = plans[i].count,
                                         .pinned = plans[i].pinned,
                                         .iterations = plan->iterations,
                                         .budget_ns = plan->budget_ns * plans[i].weight / weights};
        for (size_t k = 0; k < plans[i].count; k++) {
            groups[i].specs[k] = plans[i].specs[k];
            groups[i].specs[k].operation = plans[i].operation;
        }
        progress_steps(&progress, done, weights, "parts");
        end = bench_group_run(session, &groups[i]);
        done += plans[i].weight;
    }
    progress_stop(&progress);
    return end;
}

enum cli_exit bench_quick(struct bench_session *session, const struct bench_plan *plan)
{
    struct bench_group groups[GROUP_COUNT] = {{0}};
    if (plan->format == BENCH_TEXT) {
        bench_print_device(session);
        fflush(stdout);
    }
    const enum cli_exit end = run_groups(session, plan, groups);
    if (end == CLI_DONE) {
        struct bench_verdict verdicts[CLI_COUNT(targets)];
        bench_quick_print(session, verdicts, judge_all(session, groups, verdicts), plan->format);
    }
    for (size_t i = 0; i < GROUP_COUNT; i++)
        bench_group_free(&groups[i]);
    return end;
}
