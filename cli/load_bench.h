/* ferry load --bench: loading a model beside what else reads its files. */
#ifndef FERRY_CLI_LOAD_BENCH_H
#define FERRY_CLI_LOAD_BENCH_H

#include "cli.h"

#include <ferry/model.h>
#include <sys/types.h>

enum { LOAD_BENCH_ROUNDS = 3, LOAD_THREADS_MAX = 16 };

struct load_bench {
    ferry_device *device;
    const ferry_model *model;
    const struct ferry_tensor_place *places;
    uint64_t memory; /* of ferry_model_load_params */
};

/* What is measured, one after another in each round. */
enum load_way {
    LOAD_FERRY, /* ferry_model_load_as */
    LOAD_POOL, /* threads of the benchmark's that read into ferry_host_alloc, and copy from there */
    LOAD_READ, /* as many threads that read into memory that was touched before */
    LOAD_DIRECT, /* the same past the system's cache */
    LOAD_ONE,    /* one thread that reads into memory */
    LOAD_FILE,   /* load_file of safetensors with torch */
    LOAD_TORCH,  /* torch alone: maps the files, and copies each tensor */
    LOAD_WAYS
};

enum { LOAD_PEERS = LOAD_WAYS - LOAD_FILE }; /* the ways that another process goes */

struct load_bench_result {
    unsigned threads;
    bool synthetic; /* the model is one that was made to be measured */
    /* What each peer is, or why it is not measured; LOAD_FILE is the first. */
    char peer[128], peer_why[LOAD_PEERS][256];
    struct {
        bool measured;
        uint64_t ns[LOAD_WAYS]; /* medians; 0: not measured */
    } caches[2];                /* empty of the files, and full of them */
};

/* False: why says the reason. */
bool load_bench_run(const struct load_bench *bench, struct load_bench_result *out, char *why);
void load_bench_print(const struct load_bench_result *result, uint64_t bytes);
void load_bench_json(const struct load_bench_result *result);

/* --- what it is measured beside (load_yard.c) -------------------------------------------------- */

/* A part of a tensor, that one thread moves. */
struct load_piece {
    size_t tensor;
    uint64_t at, size;
};

/* load_peer.c: another process that loads the same model, in LOAD_PEERS ways. */
struct load_peer {
    pid_t pid;
    int to;
    FILE *from;
    char what[128];
    char why[LOAD_PEERS][256]; /* a way is not there, or has failed; "": all is well */
    void (*on_pipe)(int number);
};

void load_peer_start(struct load_peer *peer, const struct load_bench *bench);
bool load_peer_round(struct load_peer *peer, enum load_way way, uint64_t *out_ns);
void load_peer_stop(struct load_peer *peer);

struct load_yard {
    const struct load_bench *bench;
    struct load_peer peer;
    struct load_piece *pieces;
    size_t piece_count;
    unsigned char *memory; /* for all bytes, touched */
    unsigned threads;
};

bool load_yard_make(const struct load_bench *bench, struct load_yard *out); /* false: no memory */
void load_yard_free(struct load_yard *yard);
/* False: it failed, or cannot be had here (*out_ns is 0 then). */
bool load_yard_pool(struct load_yard *yard, uint64_t *out_ns);
bool load_yard_read(struct load_yard *yard, unsigned threads, bool direct, uint64_t *out_ns);

/* --- of one system (load_bench_linux.c, load_bench_macos.c) ----------------------------------- */

/* Empties the system's cache of a file. False: it cannot. */
bool load_bench_forget(int fd);
bool load_bench_can_forget(int fd); /* without doing it */
/* Opens a file for direct I/O; -1: there is no such thing. */
/* Has the system use huge pages for this memory, if it can. */
void load_bench_use_huge(void *memory, size_t size);
int load_bench_open_direct(const char *path);
/* The unit of ru_maxrss. */
#ifdef __APPLE__
#define LOAD_PEAK_UNIT 1
#else
#define LOAD_PEAK_UNIT 1024
#endif

#endif
