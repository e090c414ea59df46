/* ferry load --bench: loading a model beside reading the same bytes into host memory. */
#ifndef FERRY_CLI_LOAD_BENCH_H
#define FERRY_CLI_LOAD_BENCH_H

#include "cli.h"

#include <ferry/model.h>

enum { LOAD_BENCH_ROUNDS = 3 };

struct load_bench {
    const ferry_model *model;
    const struct ferry_tensor_place *places;
};

struct load_bench_times { /* medians */
    bool measured;
    uint64_t load_ns, read_ns;
};

/* out: with the system's cache empty of the files, and full of them. False: why says the reason. */
bool load_bench_run(const struct load_bench *bench, struct load_bench_times out[2], char *why);
void load_bench_print(const struct load_bench_times times[2], uint64_t bytes);
void load_bench_json(const struct load_bench_times times[2]);

/* Empties the system's cache of a file (load_bench_linux.c, load_bench_macos.c). False: it
 * cannot. */
bool load_bench_forget(int fd);

#endif
