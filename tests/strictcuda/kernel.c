/* The driver's kernels, compiled for the CPU from the text that its PTX is made of. */
#include "sim.h"

#include <string.h>

static _Thread_local unsigned long long thread_number;

#define KERNEL static void
#define DEVICE static
#define THREAD thread_number
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

static const struct {
    const char *name;
    void (*run)(struct cuda_kernel_arguments args);
} kernels[] = {{"ferry_copy", ferry_copy}, {"ferry_fill", ferry_fill}};

int sim_kernel_number(const char *name)
{
    for (int i = 0; i < (int)(sizeof kernels / sizeof *kernels); i++)
        if (!strcmp(kernels[i].name, name))
            return i;
    return -1;
}

void sim_kernel_run(int kernel, const struct cuda_kernel_arguments *arguments)
{
    const uint64_t blocks = (arguments->end + CUDA__KERNEL_BLOCK - 1) / CUDA__KERNEL_BLOCK;
    const uint64_t groups = (blocks + CUDA__KERNEL_GROUP - 1) / CUDA__KERNEL_GROUP;
    for (uint64_t i = 0; i < groups * CUDA__KERNEL_GROUP; i++) {
        thread_number = i;
        kernels[kernel].run(*arguments);
    }
}
