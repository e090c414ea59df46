/* The driver's kernels, compiled for the CPU from the text that its PTX is made of. */
#include "sim.h"

#include "tests/seen.h"

#include <string.h>

static _Thread_local unsigned long long thread_number;

#define UNSEEN __attribute__((no_sanitize("thread")))
#define KERNEL UNSEEN static void
#define LIST_KERNEL UNSEEN static void
#define DEVICE UNSEEN static
#define THREAD_OF(group) thread_number
#include "drivers/cuda/kernel.cu"

static const char known[] =
#include "drivers/cuda/kernel.inc"
    ;

static uint64_t hash(const char *text)
{
    uint64_t value = 0xcbf29ce484222325u;
    for (; *text; text++)
        value = (value ^ (unsigned char)*text) * 0x100000001b3u;
    return value;
}

bool sim_kernel_known(const void *image)
{
    return hash(image) == hash(known);
}

/* Of the text in examples/cuda_external.c: a change of it is to be told here. */
bool sim_kernel_is_users(const void *image)
{
    return hash(image) == 0xf15b730e795692efu;
}

void sim_kernel_add_one(unsigned char *words, size_t size)
{
    for (size_t i = 0; i + sizeof(unsigned) <= size; i += sizeof(unsigned)) {
        unsigned word;
        memcpy(&word, words + i, sizeof word);
        word++;
        memcpy(words + i, &word, sizeof word);
    }
}

static const char *const names[KERNELS] = {
    [KERNEL_COPY] = "ferry_copy", [KERNEL_FILL] = "ferry_fill", [KERNEL_LIST] = "ferry_list"};

int sim_kernel_number(const char *name)
{
    if (!strcmp(name, "add_one"))
        return USERS_KERNEL;
    for (int i = 0; i < KERNELS; i++)
        if (!strcmp(names[i], name))
            return i;
    return -1;
}

static void *at(unsigned long long address)
{
    return (void *)(uintptr_t)address;
}

static void run_list(const struct work *work)
{
    struct cuda_list_arguments arguments = work->list;
    const struct cuda_piece *pieces = work->stored;
    arguments.list = (unsigned long long)(uintptr_t)work->stored;
    for (unsigned i = 0; i < arguments.count; i++) {
        seen_reading(at(arguments.src + pieces[i].src), pieces[i].size);
        seen_writing(at(arguments.dst + pieces[i].dst), pieces[i].size);
    }
    const unsigned long long threads = (unsigned long long)arguments.warps * CUDA__WARP;
    for (unsigned long long i = 0; i < threads; i++) {
        thread_number = i;
        ferry_list(arguments);
    }
}

void sim_kernel_run(const struct work *work)
{
    const struct cuda_kernel_arguments *arguments = &work->arguments;
    if (work->kernel == KERNEL_LIST) {
        run_list(work);
        return;
    }
    const uint64_t size = arguments->end - arguments->begin;
    if (work->kernel == KERNEL_COPY)
        seen_reading(at(arguments->src + arguments->begin + arguments->phase), size);
    seen_writing(at(arguments->dst + arguments->begin), size);
    const uint64_t blocks = (arguments->end + CUDA__KERNEL_BLOCK - 1) / CUDA__KERNEL_BLOCK;
    const uint64_t groups = (blocks + CUDA__KERNEL_GROUP - 1) / CUDA__KERNEL_GROUP;
    for (uint64_t i = 0; i < groups * CUDA__KERNEL_GROUP; i++) {
        thread_number = i;
        if (work->kernel == KERNEL_COPY)
            ferry_copy(*arguments);
        else
            ferry_fill(*arguments);
    }
}
