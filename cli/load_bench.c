/* ferry load --bench: loading a model beside what else reads its files. */
#include "load_bench.h"

#include "load_synthetic.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define LONG_NS 2000000000u /* of one round */

/* Empties the system's cache of the files. False: it cannot be had. */
static bool make_cold(const ferry_model *model, size_t files)
{
    bool cold = true;
    for (size_t i = 0; i < files && cold; i++) {
        const int fd = open(ferry_model_file_name(model, i), O_RDONLY | O_CLOEXEC);
        cold = fd >= 0 && load_bench_forget(fd);
        if (fd >= 0)
            close(fd);
    }
    return cold;
}

/* Asked of no file that is in the cache, since it would not be any more. */
static bool can_be_cold(const ferry_model *model)
{
    const int fd = open(ferry_model_file_name(model, 0), O_RDONLY | O_CLOEXEC);
    const bool can = fd >= 0 && load_bench_can_forget(fd);
    if (fd >= 0)
        close(fd);
    return can;
}

static bool run_ferry(const struct load_bench *bench, uint64_t *out_ns)
{
    const uint64_t began_ns = cli_now_ns();
    if (ferry_model_load_as(bench->model, &(struct ferry_model_load_params){
                                              .places = bench->places, .memory = bench->memory}))
        return false;
    *out_ns = cli_now_ns() - began_ns;
    return true;
}

/* Only loading itself must not fail: the others are measured where they can be. */
static bool run_way(struct load_yard *yard, enum load_way way, bool cold, uint64_t *out_ns)
{
    *out_ns = 0;
    switch (way) {
    case LOAD_FERRY: return run_ferry(yard->bench, out_ns);
    case LOAD_POOL: (void)load_yard_pool(yard, out_ns); break;
    case LOAD_READ: (void)load_yard_read(yard, yard->threads, false, out_ns); break;
    case LOAD_DIRECT:
        if (cold)
            (void)load_yard_read(yard, LOAD_THREADS_MAX, true, out_ns);
        break;
    case LOAD_ONE: (void)load_yard_read(yard, 1, false, out_ns); break;
    case LOAD_FILE:
    case LOAD_TORCH: (void)load_peer_round(&yard->peer, way, out_ns); break;
    case LOAD_WAYS: break;
    }
    return true;
}

/* A way that takes long goes once. */
static bool run_rounds(struct load_yard *yard, bool cold, uint64_t *out_ns)
{
    uint64_t ns[LOAD_WAYS][LOAD_BENCH_ROUNDS];
    size_t rounds[LOAD_WAYS] = {0};
    struct ferry_model_info info;
    ferry_model_get_info(yard->bench->model, &info);
    if (!cold) /* what is in the cache from here on stays there */
        (void)load_yard_read(yard, yard->threads, false, &ns[0][0]);
    for (size_t round = 0; round < LOAD_BENCH_ROUNDS; round++) {
        for (int way = 0; way < LOAD_WAYS; way++) {
            if (round > 0 && ns[way][0] > LONG_NS)
                continue;
            if (cold)
                (void)make_cold(yard->bench->model, info.files);
            if (!run_way(yard, (enum load_way)way, cold, &ns[way][round]))
                return false;
            rounds[way]++;
        }
    }
    for (int way = 0; way < LOAD_WAYS; way++)
        out_ns[way] = cli_median(ns[way], rounds[way]);
    return true;
}

bool load_bench_run(const struct load_bench *bench, struct load_bench_result *out, char *why)
{
    struct ferry_model_info info;
    struct load_yard yard;
    ferry_model_get_info(bench->model, &info);
    *out = (struct load_bench_result){.threads = 0};
    if (!load_yard_make(bench, &yard)) {
        snprintf(why, CLI_WHY_MAX, "no host memory to read the model into");
        return false;
    }
    out->threads = yard.threads;
    out->synthetic = load_synthetic_is(bench->model);
    load_peer_start(&yard.peer, bench);
    out->caches[0].measured = can_be_cold(bench->model);
    out->caches[1].measured = true;
    bool good = true;
    for (int i = 1; i >= 0 && good; i--) /* the warm ones first: they are sooner done */
        if (out->caches[i].measured)
            good = run_rounds(&yard, i == 0, out->caches[i].ns);
    if (!good)
        cli_why(why, "measuring");
    snprintf(out->peer, sizeof out->peer, "%s", yard.peer.what);
    memcpy(out->peer_why, yard.peer.why, sizeof out->peer_why);
    load_peer_stop(&yard.peer);
    load_yard_free(&yard);
    return good;
}

/* --- telling ---------------------------------------------------------------------------------- */
