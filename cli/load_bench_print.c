#include "load_bench.h"

static const char *const caches[2] = {"cold", "warm"};

static const struct {
    const char *name, *member;
} ways[LOAD_WAYS] = {
    [LOAD_FERRY] = {"ferry load", "load_seconds"},
    [LOAD_POOL] = {"a pool over Ferry's interface", "pool_seconds"},
    [LOAD_READ] = {"read into memory, as many threads", "read_threads_seconds"},
    [LOAD_DIRECT] = {"read directly, 16 threads", "read_direct_seconds"},
    [LOAD_ONE] = {"read into memory, one thread", "read_seconds"},
    [LOAD_FILE] = {"safetensors' load_file", "load_file_seconds"},
    [LOAD_TORCH] = {"torch alone, tensor by tensor", "torch_seconds"},
};

/* What a peer is, or why it is not measured. */
static const char *peer_text(const struct load_bench_result *result, int peer)
{
    return result->peer_why[peer][0] ? result->peer_why[peer] : result->peer;
}

void load_bench_print(const struct load_bench_result *result, uint64_t bytes)
{
    printf("  medians of %d, %u threads; in brackets: loading beside it\n", LOAD_BENCH_ROUNDS,
           result->threads);
    if (result->synthetic)
        puts("  the model is synthetic: made to be measured, of no use for anything else");
    for (int i = 0; i < LOAD_PEERS; i++)
        printf("  %s: %s%s\n", ways[LOAD_FILE + i].name,
               result->peer_why[i][0] ? "not measured: " : "", peer_text(result, i));
    for (int i = 0; i < 2; i++) {
        const uint64_t *ns = result->caches[i].ns;
        if (!result->caches[i].measured)
            printf("    cache %s: not measured: the system does not empty it\n", caches[i]);
        for (int way = 0; result->caches[i].measured && way < LOAD_WAYS; way++)
            if (ns[way] > 0)
                printf("    cache %-5s %-34s %8.2f GB/s  (%.2f)\n", caches[i], ways[way].name,
                       cli_rate(bytes, ns[way]), (double)ns[way] / (double)ns[LOAD_FERRY]);
    }
}

void load_bench_json(const struct load_bench_result *result)
{
    printf(", \"bench\": {\"threads\": %u, \"synthetic\": %s, \"load_file\": ", result->threads,
           result->synthetic ? "true" : "false");
    cli_json_string(stdout, peer_text(result, 0));
    fputs(", \"torch\": ", stdout);
    cli_json_string(stdout, peer_text(result, LOAD_TORCH - LOAD_FILE));
    for (int i = 0; i < 2; i++) {
        const char *separator = "{";
        printf(", \"%s\": %s", caches[i], result->caches[i].measured ? "" : "null");
        for (int way = 0; result->caches[i].measured && way < LOAD_WAYS; way++) {
            if (result->caches[i].ns[way] == 0)
                continue;
            printf("%s\"%s\": %.9f", separator, ways[way].member,
                   (double)result->caches[i].ns[way] / 1e9);
            separator = ", ";
        }
        fputs(result->caches[i].measured ? "}" : "", stdout);
    }
    printf("}");
}
