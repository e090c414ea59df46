#include "bench.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { ROOM = 256 };

const struct peer *const bench_peers[PEER_COUNT] = {
    [PEER_LIBPLACEBO] = &peer_libplacebo,
    [PEER_LIBPLACEBO_STAGED] = &peer_libplacebo_staged,
    [PEER_OPENCL] = &peer_opencl,
    [PEER_CUDA] = &peer_cuda,
};

/* --- a crash says whose it is ----------------------------------------------------------------- */

static const int crashes[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};
static struct sigaction before[CLI_COUNT(crashes)];
static const char *volatile current;

static void tell(const char *words)
{
    ssize_t written = write(STDERR_FILENO, words, strlen(words));
    (void)written;
}

static void restore(void)
{
    for (size_t i = 0; i < CLI_COUNT(crashes); i++)
        sigaction(crashes[i], &before[i], NULL);
}

/* Then what would have happened without it: the instruction, or abort, does it once more. */
static void on_crash(int number)
{
    (void)number;
    tell("ferry: bench: ");
    tell(current);
    tell(" crashed; --no-peers leaves all peers out\n");
    restore();
}

/* Each time anew: libraries that are loaded later set handlers of their own. */
void bench_peer_current(const struct peer *peer)
{
    if (current)
        restore();
    current = peer ? peer->name : NULL;
    const struct sigaction action = {.sa_handler = on_crash};
    for (size_t i = 0; i < CLI_COUNT(crashes) && peer; i++)
        sigaction(crashes[i], &action, &before[i]);
}

/* --- the operation ---------------------------------------------------------------------------- */

static const char *begin(struct bench_peer_case *bench, uint64_t i)
{
    const struct bench_ground *ground = bench->ground;
    const struct peer *peer = bench->peer;
    const size_t offset = (size_t)i * ground->stride;
    switch (bench->spec.operation) {
    case FERRY_OPERATION_UPLOAD:
        return peer->upload(bench->device, bench->to, offset, ground->source + offset,
                            ground->size);
    case FERRY_OPERATION_DOWNLOAD:
        return peer->download(bench->device, ground->yard + offset, bench->to, offset,
                              ground->size);
    case FERRY_OPERATION_COPY:
        return peer->copy(bench->device, bench->to, bench->from, offset, ground->size);
    case FERRY_OPERATION_FILL:
    case FERRY_OPERATION_COUNT: break;
    }
    return peer->fill(bench->device, bench->to, offset, ground->size, bench_pattern);
}

static const char *run_waiting(struct bench_peer_case *bench, uint64_t calls)
{
    const char *why = NULL;
    for (uint64_t i = 0; i < calls && !why; i++) {
        why = begin(bench, bench->next);
        if (!why)
            why = bench->peer->finish(bench->device);
        bench->next = bench->next + 1 < bench->places ? bench->next + 1 : 0;
    }
    return why;
}

static const char *run_batch(struct bench_peer_case *bench, uint64_t calls)
{
    const char *why = NULL;
    for (uint64_t call = 0; call < calls && !why; call++) {
        for (size_t i = 0; i < bench->places && !why; i++)
            why = begin(bench, i);
        if (!why)
            why = bench->peer->finish(bench->device);
    }
    return why;
}

/* As Ferry's two threads do: the first place goes up, the second comes down. */
static const char *run_both(struct bench_peer_case *bench, uint64_t calls)
{
    const struct bench_ground *ground = bench->ground;
    const char *why = bench->peer->both ? NULL : "it has no call for both ways at once";
    for (uint64_t call = 0; call < calls && !why; call++)
        why = bench->peer->both(bench->device, bench->to, ground->source, ground->stride,
                                ground->yard + ground->stride, ground->size);
    return why;
}

/* False: failed, for that reason. */
static bool good(struct bench_peer_case *bench, const char *why)
{
    if (why)
        snprintf(bench->why, sizeof bench->why, "%s: %s", bench->peer->name, why);
    return !why;
}

uint64_t bench_run_peer(void *state, uint64_t calls)
{
    struct bench_peer_case *bench = state;
    bench_peer_current(bench->peer);
    uint64_t began = bench_now_ns();
    const char *why = bench->spec.mode == BENCH_BATCH  ? run_batch(bench, calls)
                      : bench->spec.mode == BENCH_BOTH ? run_both(bench, calls)
                                                       : run_waiting(bench, calls);
    uint64_t ns = bench_now_ns() - began;
    bench_peer_current(NULL);
    return good(bench, why) ? ns : BENCH_FAILED;
}

/* --- making and checking ---------------------------------------------------------------------- */

static bool pass(struct bench_peer_case *bench)
{
    bench->next = 0;
    return bench_run_peer(bench, bench->spec.mode == BENCH_WAITING ? bench->places : 1) !=
           BENCH_FAILED;
}

/* Of both ways at once the second place is the one that comes down. */
static enum ferry_operation operation_at(const struct bench_peer_case *bench, size_t i)
{
    return bench->spec.mode == BENCH_BOTH && i == 1 ? FERRY_OPERATION_DOWNLOAD
                                                    : bench->spec.operation;
}

static bool brings_down(const struct bench_peer_case *bench)
{
    return bench->spec.operation == FERRY_OPERATION_DOWNLOAD || bench->spec.mode == BENCH_BOTH;
}

static const char *finish_after(struct bench_peer_case *bench, const char *why)
{
    return why ? why : bench->peer->finish(bench->device);
}

static const char *make(struct bench_peer_case *bench)
{
    const struct peer *peer = bench->peer;
    const struct bench_ground *ground = bench->ground;
    const size_t size = bench->places * ground->stride + ROOM;
    const char *why = peer->make(bench->device, size, &bench->to);
    if (!why && bench->spec.operation == FERRY_OPERATION_COPY)
        why = peer->make(bench->device, size, &bench->from);
    /* Downloads and copies need something to bring. */
    void *full = brings_down(bench) ? bench->to : bench->from;
    for (size_t i = 0; i < bench->places && full && !why; i++) {
        const size_t offset = i * ground->stride;
        why = finish_after(bench, peer->upload(bench->device, full, offset, ground->source + offset,
                                               ground->size));
    }
    return why;
}

bool bench_peer_case_open(struct bench_peer_case *bench, void *device,
                          const struct bench_spec *spec, const struct bench_ground *ground)
{
    bench->spec = *spec;
    bench->ground = ground;
    bench->peer = bench_peers[spec->peer];
    bench->device = device;
    bench->places = spec->n > 0 ? spec->n : 1;
    bench_peer_current(bench->peer);
    const char *why = make(bench);
    bench_peer_current(NULL);
    return good(bench, why) && pass(bench);
}

void bench_peer_case_close(struct bench_peer_case *bench)
{
    bench_peer_current(bench->peer);
    if (bench->to)
        bench->peer->destroy(bench->device, bench->to);
    if (bench->from)
        bench->peer->destroy(bench->device, bench->from);
    bench_peer_current(NULL);
}

static enum cli_exit check_place(struct bench_peer_case *bench, size_t i)
{
    const struct bench_ground *ground = bench->ground;
    const size_t offset = i * ground->stride;
    if (operation_at(bench, i) != FERRY_OPERATION_DOWNLOAD) {
        memset(ground->yard + offset, 0, ground->size);
        const char *why =
            finish_after(bench, bench->peer->download(bench->device, ground->yard + offset,
                                                      bench->to, offset, ground->size));
        if (!good(bench, why))
            return CLI_DEVICE;
    }
    return bench_compare(ground, operation_at(bench, i), offset, bench->why);
}

enum cli_exit bench_peer_case_check(struct bench_peer_case *bench)
{
    if (brings_down(bench)) {
        memset(bench->ground->yard, 0, bench->places * bench->ground->stride);
        if (!pass(bench))
            return CLI_DEVICE;
    }
    bench_peer_current(bench->peer);
    enum cli_exit end = CLI_DONE;
    for (size_t i = 0; i < bench->places && end == CLI_DONE; i++)
        end = check_place(bench, i);
    bench_peer_current(NULL);
    return end;
}
