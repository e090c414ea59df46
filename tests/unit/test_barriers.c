/* Where a submission's barriers stand, against a list of all that was touched since the last one: none
 * is missing, and none is there for ranges that share no byte. Copies are one where they lie end to end
 * on both sides, and only there. */
#include "base/base.h"
#include "base/interval.h"
#include "driver.h"
#include "engine/commands.h"
#include "engine/device.h"
#include "engine/submission.h"
#include "random.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { COMMANDS = 3000, MEMORIES = 4, BYTES = 1 << 12 };

/* Which command has read or written a byte last; 0: none. */
struct model {
    uint32_t written[MEMORIES][BYTES], read[MEMORIES][BYTES];
    uint32_t since; /* the first command after the last barrier */
};

static bool touched(const uint32_t *marks, uint64_t begin, uint64_t size, uint32_t since)
{
    for (uint64_t i = begin; i < begin + size; i++)
        if (marks[i] >= since)
            return true;
    return false;
}

static bool expects_barrier(const struct model *model, const struct ferry__command *command,
                            size_t dst, size_t src)
{
    if (touched(model->written[dst], command->dst_offset, command->size, model->since) ||
        touched(model->read[dst], command->dst_offset, command->size, model->since))
        return true;
    return command->kind == FERRY__COPY &&
           touched(model->written[src], command->src_offset, command->size, model->since);
}

static void note_command(struct model *model, const struct ferry__command *command, size_t dst,
                         size_t src, uint32_t number)
{
    for (uint64_t i = 0; i < command->size; i++) {
        model->written[dst][command->dst_offset + i] = number;
        if (command->kind == FERRY__COPY)
            model->read[src][command->src_offset + i] = number;
    }
}

struct shape {
    uint64_t longest;
    unsigned fills; /* of 8 */
    bool rows;      /* offsets go up, and now and then begin again */
    bool chains;    /* many go on where the last one ends, on one side or on both */
};

/* Now and then the command goes on where the last one ends. */
static void chain(const struct ferry__submission *sub, struct ferry__command *command,
                  uint64_t *seed)
{
    if (!sub->command_count || random_next(seed) % 3 == 0)
        return;
    const struct ferry__command *last = &sub->commands[sub->command_count - 1];
    const uint64_t dst_end = last->dst_offset + last->size, src_end = last->src_offset + last->size;
    if (last->kind != FERRY__COPY || dst_end + command->size > BYTES ||
        src_end + command->size > BYTES)
        return;
    command->dst = last->dst;
    command->src = last->src;
    command->dst_offset = random_next(seed) % 8 ? dst_end : command->dst_offset;
    command->src_offset = random_next(seed) % 8 ? src_end : command->src_offset;
}

static bool goes_on(const struct ferry__submission *sub, const struct ferry__command *command,
                    uint64_t max_copy)
{
    if (!sub->command_count || command->kind != FERRY__COPY)
        return false;
    const struct ferry__command *last = &sub->commands[sub->command_count - 1];
    return last->kind == FERRY__COPY && last->dst == command->dst && last->src == command->src &&
           command->dst_offset - last->dst_offset == last->size &&
           command->src_offset - last->src_offset == last->size &&
           last->size + command->size <= max_copy;
}

static void run_shape(const struct shape *shape, uint64_t seed)
{
    static unsigned char host[BYTES], natives[MEMORIES];
    struct ferry__memory memories[MEMORIES] = {
        {.native = &natives[0], .size = BYTES},
        {.native = &natives[1], .size = BYTES},
        {.native = &natives[2], .size = BYTES},
        {.native = &natives[3], .size = BYTES, .host = host}};
    struct ferry_device *device = calloc(1, sizeof *device);
    struct ferry__submission *sub = calloc(1, sizeof *sub);
    struct model *model = calloc(1, sizeof *model);
    assert_true(device && sub && model);
    device->gpu.limits.max_copy = shape->chains ? 4 * shape->longest : BYTES;
    model->since = 1;
    ferry__run_begin(sub);
    uint64_t row = 0;
    size_t barriers = 0, joins = 0;
    for (uint32_t number = 1; number <= COMMANDS; number++) {
        size_t dst = random_next(&seed) % MEMORIES;
        size_t src = (dst + 1 + random_next(&seed) % (MEMORIES - 1)) % MEMORIES;
        struct ferry__command command = {.dst = &memories[dst], .src = &memories[src]};
        command.kind = random_next(&seed) % 8 < shape->fills ? FERRY__FILL : FERRY__COPY;
        command.size = 1 + random_next(&seed) % shape->longest;
        command.dst_offset = random_next(&seed) % (BYTES - command.size);
        command.src_offset = random_next(&seed) % (BYTES - command.size);
        if (shape->rows) {
            row = row + 2 * shape->longest > BYTES ? 0 : row;
            command.dst_offset = command.src_offset = row;
            row += command.size + number % 2;
        }
        if (shape->chains)
            chain(sub, &command, &seed);
        dst = (size_t)(command.dst - memories);
        src = (size_t)(command.src - memories);
        const bool expected = expects_barrier(model, &command, dst, src);
        const bool joining = !expected && goes_on(sub, &command, device->gpu.limits.max_copy);
        const size_t before = sub->command_count;
        assert_int_equal(ferry__add_command(device, sub, command), FERRY_OK);
        const bool joined = sub->command_count == before;
        assert_int_equal(joined, joining);
        assert_int_equal(!joined && sub->commands[before].barrier, expected);
        if (expected)
            model->since = number;
        barriers += expected;
        joins += joined;
        note_command(model, &command, dst, src, number);
    }
    assert_true(barriers > 0 && (joins > 0 || !shape->chains));
    free(sub->commands);
    ferry__interval_pool_finish(&sub->intervals);
    free(model);
    free(sub);
    free(device);
}

static void exactly_where_needed(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        {.longest = 1},
        {.longest = 4, .fills = 2},
        {.longest = 16, .fills = 1},
        {.longest = 300},
        {.longest = 9, .fills = 8},
        {.longest = 8, .rows = true},
        {.longest = 64, .fills = 1, .rows = true},
        {.longest = 2, .chains = true},
        {.longest = 8, .fills = 1, .chains = true},
        {.longest = 40, .chains = true},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (uint64_t seed = 1; seed <= 4; seed++)
            run_shape(&shapes[i], seed * 7919);
}

/* Without memory for the sets there may be a barrier too many, and never one too few. */
static void no_memory_means_a_barrier(void **state)
{
    (void)state;
    static char natives[2];
    struct ferry__memory dst = {.native = &natives[0], .size = BYTES},
                         src = {.native = &natives[1], .size = BYTES};
    struct ferry_device *device = calloc(1, sizeof *device);
    struct ferry__submission *sub = calloc(1, sizeof *sub);
    assert_true(device && sub);
    device->gpu.limits.max_copy = BYTES;
    ferry__run_begin(sub);
    for (uint64_t i = 0; i < 40; i++) {
        /* Every second word, then those between: the hulls meet, the ranges do not. */
        const uint64_t at = i < 20 ? 8 * i : 8 * (i - 20) + 4;
        const struct ferry__command command = {.kind = FERRY__COPY,
                                               .dst = &dst,
                                               .src = &src,
                                               .dst_offset = at,
                                               .src_offset = 8 * i,
                                               .size = 4};
        (void)ferry__alloc_fail_at(i == 20);
        assert_int_equal(ferry__add_command(device, sub, command), FERRY_OK);
        assert_int_equal(sub->commands[i].barrier, i == 20);
    }
    (void)ferry__alloc_fail_at(0);
    free(sub->commands);
    ferry__interval_pool_finish(&sub->intervals);
    free(sub);
    free(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_where_needed),
        cmocka_unit_test(no_memory_means_a_barrier),
    };
    return cmocka_run_group_tests_name("barriers", tests, NULL, NULL);
}
