/* ferry load --bench: loading a model beside reading the same bytes into host memory. */
#include "load_bench.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_PIECE = 8 << 20 };

static int compare_times(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

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

/* One thread reads the tensors one after another into memory that was touched before. */
static bool read_tensors(const ferry_model *model, size_t tensors, unsigned char *memory)
{
    for (size_t i = 0; i < tensors; i++) {
        struct ferry_tensor_info tensor;
        if (ferry_model_get_tensor(model, i, &tensor))
            return false;
        for (uint64_t at = 0; at < tensor.size; at += READ_PIECE) {
            const uint64_t left = tensor.size - at;
            const size_t size = left < READ_PIECE ? (size_t)left : READ_PIECE;
            if (ferry_model_read(model, i, memory + at, size, at))
                return false;
        }
        memory += tensor.size;
    }
    return true;
}

static bool run_round(const struct load_bench *bench, unsigned char *memory, bool cold,
                      uint64_t *out_load_ns, uint64_t *out_read_ns)
{
    struct ferry_model_info info;
    ferry_model_get_info(bench->model, &info);
    if (cold)
        (void)make_cold(bench->model, info.files);
    uint64_t began_ns = cli_now_ns();
    if (ferry_model_load_into(bench->model, bench->places, NULL, NULL))
        return false;
    *out_load_ns = cli_now_ns() - began_ns;
    if (cold)
        (void)make_cold(bench->model, info.files);
    began_ns = cli_now_ns();
    const bool good = read_tensors(bench->model, info.tensors, memory);
    *out_read_ns = cli_now_ns() - began_ns;
    return good;
}

static bool run_rounds(const struct load_bench *bench, unsigned char *memory, bool cold,
                       struct load_bench_times *out)
{
    uint64_t load_ns[LOAD_BENCH_ROUNDS], read_ns[LOAD_BENCH_ROUNDS];
    for (int i = 0; i < LOAD_BENCH_ROUNDS; i++)
        if (!run_round(bench, memory, cold, &load_ns[i], &read_ns[i]))
            return false;
    qsort(load_ns, LOAD_BENCH_ROUNDS, sizeof *load_ns, compare_times);
    qsort(read_ns, LOAD_BENCH_ROUNDS, sizeof *read_ns, compare_times);
    *out = (struct load_bench_times){true, load_ns[LOAD_BENCH_ROUNDS / 2],
                                     read_ns[LOAD_BENCH_ROUNDS / 2]};
    return true;
}

bool load_bench_run(const struct load_bench *bench, struct load_bench_times out[2], char *why)
{
    struct ferry_model_info info;
    ferry_model_get_info(bench->model, &info);
    unsigned char *memory = malloc(info.bytes > 0 ? info.bytes : 1);
    if (!memory) {
        snprintf(why, CLI_WHY_MAX, "no host memory to read the model into");
        return false;
    }
    memset(memory, 1, info.bytes);
    out[0] = (struct load_bench_times){false, 0, 0};
    bool good = true;
    if (make_cold(bench->model, info.files))
        good = run_rounds(bench, memory, true, &out[0]);
    good = good && run_rounds(bench, memory, false, &out[1]);
    if (!good)
        cli_why(why, "measuring");
    free(memory);
    return good;
}

static const char *const caches[2] = {"cold", "warm"};

void load_bench_print(const struct load_bench_times times[2], uint64_t bytes)
{
    printf("  medians of %d:     load          read   load / read\n", LOAD_BENCH_ROUNDS);
    for (int i = 0; i < 2; i++) {
        const double load = cli_rate(bytes, times[i].load_ns);
        const double read = cli_rate(bytes, times[i].read_ns);
        if (times[i].measured)
            printf("    cache %-6s %8.2f GB/s %8.2f GB/s %8.2f\n", caches[i], load, read,
                   read > 0 ? load / read : 0);
        else
            printf("    cache %-6s not measured: the system does not empty it\n", caches[i]);
    }
}

void load_bench_json(const struct load_bench_times times[2])
{
    for (int i = 0; i < 2; i++) {
        printf("%s\"%s\": ", i == 0 ? ", \"bench\": {" : ", ", caches[i]);
        if (times[i].measured)
            printf("{\"load_seconds\": %.9f, \"read_seconds\": %.9f}",
                   (double)times[i].load_ns / 1e9, (double)times[i].read_ns / 1e9);
        else
            printf("null");
    }
    printf("}");
}
