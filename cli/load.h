/* ferry load, as its files see it. load.c: the command, moving and comparing. load_tell.c: tables and
 * JSON; load_metadata.c: of metadata. load_bench.c: measuring; load_yard.c: what it is measured beside. */
#ifndef FERRY_CLI_LOAD_H
#define FERRY_CLI_LOAD_H

#include "cli.h"
#include "load_bench.h"

#include <ferry/model.h>

struct load {
    const char *device_name, *match;
    enum ferry_path path;
    uint64_t memory;    /* 0: as much as is fast */
    uint64_t synthetic; /* bytes of a model that is to be made; 0: none */
    bool separate, bench, json, quiet, list, verify, no_verify;
    ferry_device *device; /* NULL: only listed */
};

/* One model on its way. The times are those of a clock on the wall. */
struct cargo {
    const char *name; /* as the user wrote it */
    ferry_model *model;
    struct ferry_model_info info;
    struct ferry_tensor_place *places; /* NULL: only listed */
    ferry_buffer *arena;
    uint64_t open_ns, make_ns, load_ns, check_ns;
    bool verified;
    struct load_bench_result bench;
    char why[CLI_WHY_MAX];
};

struct ferry_tensor_info load_tensor(const struct cargo *cargo, size_t index);
/* Does the user want to see this one (--match)? */
bool load_shows(const struct load *load, const struct ferry_tensor_info *tensor);
void load_tell(const struct load *load, const struct cargo *cargo, enum cli_exit end);
void load_json(const struct load *load, const struct cargo *cargo, enum cli_exit end);
/* load_metadata.c: what its files say of themselves. */
void load_print_metadata(const struct cargo *cargo);
void load_json_metadata(const struct cargo *cargo);
/* The most memory that the process and its staging have had, in words or as members. */
void load_tell_peak(const struct load *load);

#endif
