/* ferry bench --quick: the targets, each with both figures. */
#include "bench.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

enum { BATCH = 1000 };

enum group {
    GROUP_256_MIB,
    GROUP_16_MIB,
    GROUP_THREADS_DIRECT,
    GROUP_THREADS_STAGED,
    GROUP_1_MIB,
    GROUP_64_KIB,
    GROUP_256_B,
    GROUP_BATCH,
    GROUP_COUNT
};

#define FERRY_WAY(p, m, count)                                                                     \
    {.kind = BENCH_FERRY, .path = FERRY_PATH_##p, .mode = BENCH_##m, .n = (count)}

/* The free ones first. weight: its share of the time. The staged path of what is larger than a
 * chunk is the pipelined one. */
static const struct {
    size_t size;
    bool pinned;
    unsigned weight;
    size_t count;
    struct bench_spec specs[BENCH_ENTRIES_MAX];
} plans[GROUP_COUNT] = {
    [GROUP_256_MIB] = {256 * MIB, false, 10, 5,
                       {{.kind = BENCH_MEMCPY},
                        {.kind = BENCH_MEMCPY_TWO},
                        FERRY_WAY(DIRECT, WAITING, 1),
                        FERRY_WAY(IMPORTED, WAITING, 1),
                        FERRY_WAY(PIPELINED, WAITING, 1)}},
    [GROUP_16_MIB] = {16 * MIB, false, 6, 6,
                      {{.kind = BENCH_MEMCPY},
                       {.kind = BENCH_MEMCPY_TWO},
                       FERRY_WAY(DIRECT, WAITING, 1),
                       FERRY_WAY(IMPORTED, WAITING, 1),
                       FERRY_WAY(PIPELINED, WAITING, 1),
                       {.kind = BENCH_SEED}}},
    [GROUP_THREADS_DIRECT] = {64 * KIB, false, 3, 3,
                              {FERRY_WAY(DIRECT, THREADS, 1), FERRY_WAY(DIRECT, THREADS, 2),
                               FERRY_WAY(DIRECT, THREADS, 8)}},
    [GROUP_THREADS_STAGED] = {64 * KIB, false, 3, 3,
                              {FERRY_WAY(STAGED, THREADS, 1), FERRY_WAY(STAGED, THREADS, 2),
                               FERRY_WAY(STAGED, THREADS, 8)}},
    [GROUP_1_MIB] = {MIB, true, 2, 2, {{.kind = BENCH_MEMCPY}, FERRY_WAY(DIRECT, WAITING, 1)}},
    [GROUP_64_KIB] = {64 * KIB, true, 2, 2,
                      {{.kind = BENCH_MEMCPY}, FERRY_WAY(DIRECT, WAITING, 1)}},
    [GROUP_256_B] = {256, true, 2, 3,
                     {{.kind = BENCH_MEMCPY}, FERRY_WAY(DIRECT, WAITING, 1), {.kind = BENCH_SEED}}},
    [GROUP_BATCH] = {256, true, 2, 2,
                     {FERRY_WAY(STAGED, WAITING, BATCH), FERRY_WAY(STAGED, BATCH, BATCH)}},
};

enum { TIME = -1 }; /* in place of a yardstick: the figure is the time of one operation, in ns */

static const struct target {
    const char *name, *unit;
    double bound; /* a ratio is to be at least this, a time at most */
    enum group group;
    int way, yardstick; /* in the group's specs */
} targets[] = {
    {"direct, 256 bytes", "ns", 30, GROUP_256_B, 1, TIME},
    {"direct, 64 KiB", "of memcpy", 0.95, GROUP_64_KIB, 1, 0},
    {"direct, 1 MiB", "of memcpy", 0.95, GROUP_1_MIB, 1, 0},
    {"direct, 16 MiB", "of two-thread memcpy", 0.65, GROUP_16_MIB, 2, 1},
    {"direct, 16 MiB", "of memcpy", 1.25, GROUP_16_MIB, 2, 0},
    {"direct, 256 MiB", "of two-thread memcpy", 0.65, GROUP_256_MIB, 2, 1},
    {"direct, 256 MiB", "of memcpy", 1.25, GROUP_256_MIB, 2, 0},
    {"forced import, 16 MiB", "of memcpy", 0.8, GROUP_16_MIB, 3, 0},
    {"forced import, 256 MiB", "of memcpy", 0.8, GROUP_256_MIB, 3, 0},
    {"forced staging, 16 MiB", "of memcpy", 0.45, GROUP_16_MIB, 4, 0},
    {"forced staging, 256 MiB", "of memcpy", 0.5, GROUP_256_MIB, 4, 0},
    {"batch of 1000 x 256 bytes, staged", "ns an item", 700, GROUP_BATCH, 1, TIME},
    {"batch of 1000 x 256 bytes, staged", "times one by one", 25, GROUP_BATCH, 1, 0},
    {"direct, 256 bytes", "times the seed's design", 1000, GROUP_256_B, 1, 2},
    {"staged, 16 MiB", "times the seed's design", 3, GROUP_16_MIB, 4, 5},
    {"direct, 16 MiB", "times the seed's design", 7, GROUP_16_MIB, 2, 5},
    {"direct, 64 KiB, 2 threads", "times 1 thread", 1.6, GROUP_THREADS_DIRECT, 1, 0},
    {"staged, 64 KiB, 8 threads", "times 1 thread", 1, GROUP_THREADS_STAGED, 2, 0},
};

struct outcome {
    const char *why; /* why there is no figure; NULL: there is */
    bool met;
    struct bench_figure figure;
};

static struct outcome judge(const struct target *target, const struct bench_group *groups)
{
    const struct bench_group *group = &groups[target->group];
    const struct bench_entry *entry = &group->entries[target->way];
    const struct bench_entry *yardstick =
        &group->entries[target->yardstick == TIME ? target->way : target->yardstick];
    struct outcome outcome = {NULL, false, {0, 0, 0}};
    if (!entry->measured || !yardstick->measured) {
        outcome.why = entry->measured ? yardstick->why : entry->why;
        return outcome;
    }
    if (target->yardstick == TIME) {
        outcome.figure = bench_time(&entry->way, group->rounds);
        outcome.met = outcome.figure.median <= target->bound;
    } else {
        outcome.figure = bench_ratio(&entry->way, &yardstick->way, group->rounds);
        outcome.met = outcome.figure.median >= target->bound;
    }
    return outcome;
}

static void print_number(double value)
{
    printf("%.*f", value < 20 ? 2 : 0, value);
}

static void print_text(const struct target *target, const struct outcome *outcome)
{
    if (outcome->why != NULL) {
        printf("-       %-34s not measured: %s\n", target->name, outcome->why);
        return;
    }
    printf("%-7s %-34s ", outcome->met ? "met" : "missed", target->name);
    print_number(outcome->figure.median);
    printf(" %s (", target->unit);
    print_number(outcome->figure.low);
    printf(" to ");
    print_number(outcome->figure.high);
    printf("), %s ", target->yardstick == TIME ? "at most" : "at least");
    print_number(target->bound);
    puts("");
}

static void print_json(const struct target *target, const struct outcome *outcome, bool last)
{
    printf("  {\"name\": \"%s\", \"unit\": \"%s\", \"%s\": %g, ", target->name, target->unit,
           target->yardstick == TIME ? "at_most" : "at_least", target->bound);
    if (outcome->why != NULL) {
        fputs("\"met\": null, \"why\": ", stdout);
        cli_json_string(stdout, outcome->why);
    } else {
        printf("\"met\": %s, \"measured\": %.6g, \"low\": %.6g, \"high\": %.6g",
               outcome->met ? "true" : "false", outcome->figure.median, outcome->figure.low,
               outcome->figure.high);
    }
    printf("}%s\n", last ? "" : ",");
}

static void print(const struct bench_session *session, const struct bench_group *groups,
                  enum bench_format format)
{
    if (format == BENCH_JSON) {
        fputs("{", stdout);
        bench_json_device(session);
        fputs(" \"targets\": [\n", stdout);
    } else {
        bench_print_device(session);
    }
    for (size_t i = 0; i < CLI_COUNT(targets); i++) {
        const struct outcome outcome = judge(&targets[i], groups);
        if (format == BENCH_JSON)
            print_json(&targets[i], &outcome, i + 1 == CLI_COUNT(targets));
        else
            print_text(&targets[i], &outcome);
    }
    if (format == BENCH_JSON)
        fputs("]}\n", stdout);
}

enum cli_exit bench_quick(struct bench_session *session, uint64_t budget_ns,
                          enum bench_format format)
{
    struct bench_group groups[GROUP_COUNT] = {{0}};
    enum cli_exit end = CLI_DONE;
    unsigned weights = 0;
    for (size_t i = 0; i < GROUP_COUNT; i++)
        weights += plans[i].weight;
    for (size_t i = 0; i < GROUP_COUNT && end == CLI_DONE; i++) {
        groups[i] = (struct bench_group){.size = plans[i].size,
                                         .count = plans[i].count,
                                         .pinned = plans[i].pinned,
                                         .budget_ns = budget_ns * plans[i].weight / weights};
        for (size_t k = 0; k < plans[i].count; k++)
            groups[i].specs[k] = plans[i].specs[k];
        end = bench_group_run(session, &groups[i]);
    }
    if (end == CLI_DONE)
        print(session, groups, format);
    for (size_t i = 0; i < GROUP_COUNT; i++)
        bench_group_free(&groups[i]);
    return end;
}
