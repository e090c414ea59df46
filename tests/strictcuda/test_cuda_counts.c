/* Copies and fills of 4 GiB and more by the kernels: what the driver passes them, and what single
 * threads of them do with it, near the ends and where 32 bits are full (of bytes, or of blocks).
 * Memory is there where it is touched only. */
#include "drivers/cuda/cuda_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

static unsigned long long thread_number;

#define KERNEL static void
#define LIST_KERNEL static __attribute__((unused)) void
#define DEVICE static
#define THREAD_OF(group) thread_number
#include "drivers/cuda/kernel.cu"

#define GIB (UINT64_C(1) << 30)

enum { PAGE = 4096, GUARD = 0xa5 };

static const uint64_t SPACE = 72 * GIB;
static const uint64_t sizes[] = {1,           17,          4 * GIB - 1, 4 * GIB, 4 * GIB + 4097,
                                 5 * GIB + 3, 70 * GIB + 5};

/* What was launched last. */
static struct {
    uint64_t threads, group;
    struct cuda_kernel_arguments arguments;
} launched;

static cu_result launch(cu_function function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                        cu_stream stream, void **parameters, void **extra)
{
    (void)function, (void)shared_bytes, (void)stream, (void)extra;
    assert_true(grid_y == 1 && grid_z == 1 && block_y == 1 && block_z == 1);
    assert_true(grid_x > 0 && grid_x <= INT32_MAX);
    launched.threads = (uint64_t)grid_x * block_x;
    launched.group = block_x;
    launched.arguments = *(const struct cuda_kernel_arguments *)parameters[0];
    return CU_SUCCESS;
}

struct space {
    unsigned char *bytes;
    struct cuda_memory native;
    struct ferry__memory memory;
};

static void space_init(struct space *space)
{
    space->bytes = mmap(NULL, SPACE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(space->bytes != MAP_FAILED);
    space->native =
        (struct cuda_memory){.kind = CUDA_DEVICE, .address = (cu_address)(uintptr_t)space->bytes};
    space->memory = (struct ferry__memory){.native = &space->native};
}

/* Runs the thread that has this byte of the range; it must be among those that were launched. */
static void run(const struct ferry__command *command, uint64_t byte)
{
    thread_number = (launched.arguments.begin + byte) / CUDA__KERNEL_BLOCK;
    assert_true(thread_number < launched.threads);
    if (command->kind == FERRY__COPY)
        ferry_copy(launched.arguments);
    else
        ferry_fill(launched.arguments);
}

static unsigned char byte_of(const struct ferry__command *command, uint64_t at)
{
    if (command->kind == FERRY__FILL)
        return command->pattern[at % command->pattern_size];
    return (unsigned char)(at * 7 + at / 251 + at / GIB + 1);
}

/* The bytes round one of the range's: those of its block within the range, and none without. */
static void check_round(const struct ferry__command *command, unsigned char *dst,
                        unsigned char *src, uint64_t at)
{
    enum { ROUND = 2 * CUDA__KERNEL_BLOCK };
    const uint64_t first = at > ROUND ? at - ROUND : 0;
    uint64_t written = 0;
    for (uint64_t i = first; i < at + ROUND; i++) {
        dst[i] = GUARD;
        src[i] = byte_of(command, i);
    }
    run(command, at);
    const uint64_t block = (launched.arguments.begin + at) / CUDA__KERNEL_BLOCK;
    for (uint64_t i = first; i < at + ROUND; i++) {
        const bool ours =
            i < command->size && (launched.arguments.begin + i) / CUDA__KERNEL_BLOCK == block;
        assert_int_equal(dst[i], ours ? byte_of(command, i) : GUARD);
        written += ours;
    }
    assert_true(written > 0 && written <= CUDA__KERNEL_BLOCK);
}

static void check(struct cuda *c, const struct ferry__command *command, struct space *dst,
                  struct space *src)
{
    const uint64_t places[] = {
        0,           15,      16,           2 * GIB - 1,   2 * GIB,           4 * GIB - 17,
        4 * GIB - 1, 4 * GIB, 64 * GIB - 1, 64 * GIB + 16, command->size / 2, command->size - 1};
    size_t taken = 0;
    assert_int_equal(ferry__cuda_kernel_launch(c, NULL, command, 1, &taken), CU_SUCCESS);
    assert_int_equal(taken, 1);
    const uint64_t reached = launched.threads * CUDA__KERNEL_BLOCK;
    const uint64_t end = launched.arguments.begin + command->size;
    assert_true(reached >= end && reached - end < launched.group * CUDA__KERNEL_BLOCK);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (places[i] < command->size)
            check_round(command, dst->bytes + command->dst_offset, src->bytes + command->src_offset,
                        places[i]);
}

static void test_counts(void **state)
{
    static const uint64_t offsets[][2] = {
        {PAGE, PAGE}, {PAGE + 3, PAGE + 3}, {PAGE + 15, PAGE + 1}, {PAGE + 1, PAGE + 14}};
    static struct cuda c = {.cu.LaunchKernel = launch};
    struct space dst, src;
    (void)state;
    space_init(&dst);
    space_init(&src);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t o = 0; o < sizeof offsets / sizeof *offsets; o++) {
            struct ferry__command command = {.kind = FERRY__COPY,
                                             .engine = FERRY__ENGINE_KERNEL,
                                             .dst = &dst.memory,
                                             .src = &src.memory,
                                             .dst_offset = offsets[o][0],
                                             .src_offset = offsets[o][1],
                                             .size = sizes[s]};
            check(&c, &command, &dst, &src);
            command.kind = FERRY__FILL;
            memcpy(command.pattern, "0123456789abcdef", FERRY__PATTERN_MAX);
            for (command.pattern_size = 3; command.pattern_size <= 16; command.pattern_size++)
                check(&c, &command, &dst, &src);
        }
    munmap(dst.bytes, SPACE);
    munmap(src.bytes, SPACE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_counts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
