#include "model.h"

#include "compare.h"

#include <stdlib.h>
#include <string.h>

enum {
    CELLS = 10,
    PENDING_MAX = 32, /* asynchronous work that nobody has waited for */
    BATCH_MAX = 16,
    GUARD = 32, /* bytes round every destination in host memory, that must stay */
    GUARD_BYTE = 0x5a,
    SMALL_MAX = 1 << 16,
    LARGE_MAX = 6 << 20,
};

struct cell {
    ferry_buffer *buffer;
    unsigned char *bytes; /* what the buffer must hold */
    size_t size;
};

/* An asynchronous operation's host memory: a source to free, or a destination to look at. */
struct pending {
    ferry_ticket ticket;
    unsigned char *memory, *expected; /* expected: of a download; else NULL */
    size_t size;
    uint64_t number; /* the operation it belongs to */
};

struct model {
    ferry_device *device;
    uint64_t random;
    uint64_t operations, bytes;
    struct cell cells[CELLS];
    struct pending pending[PENDING_MAX];
    size_t pending_count;
    const char *doing; /* the operation, for words */
    char *why;
};

/* --- random ----------------------------------------------------------------------------------- */

/* splitmix64 */
static uint64_t next(struct model *model)
{
    uint64_t z = model->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t below(struct model *model, size_t limit)
{
    return (size_t)(next(model) % limit);
}

static bool one_in(struct model *model, size_t n)
{
    return below(model, n) == 0;
}

static void scribble(struct model *model, unsigned char *memory, size_t size)
{
    uint64_t word = next(model);
    for (size_t i = 0; i < size; i++) {
        memory[i] = (unsigned char)(word >> 56);
        word = word * 6364136223846793005u + 1442695040888963407u;
    }
}

static struct cell *any_cell(struct model *model)
{
    return &model->cells[below(model, CELLS)];
}

/* A range of a buffer of limit bytes: often an awkward size, often at an awkward offset. */
static void any_range(struct model *model, size_t limit, size_t *out_size, size_t *out_offset)
{
    static const size_t sizes[] = {0, 1, 3, 4, 5, 31, 33, 4095, 4096, 4097, 65537};
    static const size_t offsets[] = {0, 1, 3, 4, 7, 17, 31};
    size_t size =
        one_in(model, 2) ? sizes[below(model, CLI_COUNT(sizes))] : below(model, limit + 1);
    if (size > limit)
        size = limit;
    size_t room = limit - size;
    size_t offset = offsets[below(model, CLI_COUNT(offsets))];
    if (offset > room || one_in(model, 2))
        offset = below(model, room + 1);
    *out_size = size;
    *out_offset = offset;
}

/* --- words ------------------------------------------------------------------------------------ */

static enum cli_exit failed(struct model *model, const char *what)
{
    snprintf(model->why, CLI_WHY_MAX, "operation %llu (%s): %s: %s",
             (unsigned long long)model->operations, model->doing, what, ferry_last_error());
    return CLI_DEVICE;
}

static enum cli_exit no_memory(struct model *model)
{
    snprintf(model->why, CLI_WHY_MAX, "operation %llu (%s): out of host memory",
             (unsigned long long)model->operations, model->doing);
    return CLI_DEVICE;
}

/* --- host memory with guards ------------------------------------------------------------------ */

static unsigned char *guarded(size_t size)
{
    unsigned char *memory = malloc(size + 2 * (size_t)GUARD);
    if (!memory)
        return NULL;
    memset(memory, GUARD_BYTE, size + 2 * (size_t)GUARD);
    return memory;
}

/* Compares what a download brought, and the guards. */
static enum cli_exit look(struct model *model, const unsigned char *memory,
                          const unsigned char *expected, size_t size, uint64_t number)
{
    unsigned char guard[GUARD];
    char words[CLI_WHY_MAX];
    memset(guard, GUARD_BYTE, sizeof guard);
    size_t wrong = compare_bytes(expected, memory + GUARD, size);
    if (wrong != size) {
        compare_why(words, expected, memory + GUARD, wrong, 0);
        snprintf(model->why, CLI_WHY_MAX, "operation %llu, a download of %zu bytes: %.500s",
                 (unsigned long long)number, size, words);
        return CLI_CHECK;
    }
    if (memcmp(memory, guard, GUARD) != 0 || memcmp(memory + GUARD + size, guard, GUARD) != 0) {
        snprintf(model->why, CLI_WHY_MAX,
                 "operation %llu, a download of %zu bytes, wrote outside of its destination",
                 (unsigned long long)number, size);
        return CLI_CHECK;
    }
    return CLI_DONE;
}

/* --- asynchronous work ------------------------------------------------------------------------ */

static enum cli_exit settle(struct model *model, size_t index)
{
    struct pending done = model->pending[index];
    model->pending[index] = model->pending[--model->pending_count];
    enum cli_exit end = CLI_DONE;
    if (ferry_wait(model->device, done.ticket, FERRY_FOREVER))
        end = failed(model, "waiting for an earlier operation");
    else if (done.expected)
        end = look(model, done.memory, done.expected, done.size, done.number);
    free(done.memory);
    free(done.expected);
    return end;
}

static enum cli_exit settle_all(struct model *model)
{
    enum cli_exit worst = CLI_DONE;
    while (model->pending_count > 0) {
        enum cli_exit end = settle(model, model->pending_count - 1);
        worst = cli_worse(worst, end);
        if (end != CLI_DONE)
            break;
    }
    return worst;
}

/* Keeps host memory until its ticket is done. */
static enum cli_exit keep(struct model *model, struct pending pending)
{
    pending.number = model->operations;
    model->pending[model->pending_count++] = pending;
    return CLI_DONE;
}

/* --- operations ------------------------------------------------------------------------------- */

static enum cli_exit upload(struct model *model)
{
    struct cell *cell = any_cell(model);
    size_t size = 0, offset = 0;
    any_range(model, cell->size, &size, &offset);
    unsigned char *memory = malloc(size + 1);
    if (!memory)
        return no_memory(model);
    scribble(model, memory, size);
    bool async = one_in(model, 2);
    struct pending pending = {.memory = memory, .size = size};
    model->doing = async ? "upload_async" : "upload";
    enum ferry_status status = async
                                   ? ferry_copy_from_host_async(cell->buffer, memory, size, offset,
                                                                NULL, NULL, &pending.ticket)
                                   : ferry_copy_from_host(cell->buffer, memory, size, offset);
    if (!status) {
        memcpy(cell->bytes + offset, memory, size);
        model->bytes += size;
        if (async)
            return keep(model, pending);
    }
    free(memory);
    return !status ? CLI_DONE : failed(model, "copying from the host");
}

static enum cli_exit download(struct model *model)
{
    struct cell *cell = any_cell(model);
    size_t size = 0, offset = 0;
    any_range(model, cell->size, &size, &offset);
    struct pending pending = {.memory = guarded(size), .expected = malloc(size + 1), .size = size};
    if (!pending.memory || !pending.expected) {
        free(pending.memory);
        free(pending.expected);
        return no_memory(model);
    }
    memcpy(pending.expected, cell->bytes + offset, size);
    bool async = one_in(model, 2);
    model->doing = async ? "download_async" : "download";
    enum ferry_status status =
        async ? ferry_copy_to_host_async(cell->buffer, pending.memory + GUARD, size, offset, NULL,
                                         NULL, &pending.ticket)
              : ferry_copy_to_host(cell->buffer, pending.memory + GUARD, size, offset);
    model->bytes += size;
    if (!status && async)
        return keep(model, pending);
    enum cli_exit end =
        status ? failed(model, "copying to the host")
               : look(model, pending.memory, pending.expected, size, model->operations);
    free(pending.memory);
    free(pending.expected);
    return end;
}

static enum cli_exit copy(struct model *model)
{
    struct cell *dst = any_cell(model);
    struct cell *src = one_in(model, 3) ? dst : any_cell(model);
    size_t size = 0, src_offset = 0;
    any_range(model, dst->size < src->size ? dst->size : src->size, &size, &src_offset);
    size_t dst_offset = below(model, dst->size - size + 1);
    bool async = one_in(model, 2);
    model->doing = async ? "copy_async" : "copy";
    enum ferry_status status =
        async ? ferry_copy_buffer_async(dst->buffer, src->buffer, size, dst_offset, src_offset,
                                        NULL, NULL, NULL)
              : ferry_copy_buffer(dst->buffer, src->buffer, size, dst_offset, src_offset);
    if (status)
        return failed(model, "copying from buffer to buffer");
    memmove(dst->bytes + dst_offset, src->bytes + src_offset, size);
    model->bytes += size;
    return CLI_DONE;
}

static void fill_bytes(unsigned char *bytes, size_t size, const unsigned char *pattern,
                       size_t pattern_size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = pattern[i % pattern_size];
}

static enum cli_exit fill(struct model *model)
{
    struct cell *cell = any_cell(model);
    unsigned char pattern[16];
    size_t size = 0, offset = 0, pattern_size = 1 + below(model, sizeof pattern);
    any_range(model, cell->size, &size, &offset);
    scribble(model, pattern, sizeof pattern);
    bool async = one_in(model, 2);
    model->doing = async ? "fill_async" : "fill";
    enum ferry_status status =
        async ? ferry_fill_buffer_async(cell->buffer, size, offset, pattern, pattern_size, NULL,
                                        NULL, NULL)
              : ferry_fill_buffer(cell->buffer, size, offset, pattern, pattern_size);
    if (status)
        return failed(model, "filling");
    fill_bytes(cell->bytes + offset, size, pattern, pattern_size);
    model->bytes += size;
    return CLI_DONE;
}

static enum cli_exit zero(struct model *model)
{
    struct cell *cell = any_cell(model);
    bool async = one_in(model, 2);
    model->doing = async ? "zero_async" : "zero";
    enum ferry_status status = async ? ferry_zero_buffer_async(cell->buffer, NULL, NULL, NULL)
                                     : ferry_zero_buffer(cell->buffer);
    if (status)
        return failed(model, "zeroing");
    memset(cell->bytes, 0, cell->size);
    model->bytes += cell->size;
    return CLI_DONE;
}

/* One more operation of a batch; uploads take their bytes from *at on. */
static enum ferry_status add(struct model *model, ferry_batch *batch, unsigned char **at,
                             const unsigned char *end)
{
    struct cell *dst = any_cell(model), *src = any_cell(model);
    size_t size = 0, offset = 0;
    unsigned char pattern = (unsigned char)next(model);
    any_range(model, dst->size < src->size ? dst->size : src->size, &size, &offset);
    model->bytes += size;
    switch (below(model, 3)) {
    case 0:
        if (size > (size_t)(end - *at))
            size = (size_t)(end - *at);
        memcpy(dst->bytes + offset, *at, size);
        *at += size;
        return ferry_batch_copy_from_host(batch, dst->buffer, *at - size, size, offset);
    case 1:
        memmove(dst->bytes, src->bytes + offset, size);
        return ferry_batch_copy_buffer(batch, dst->buffer, src->buffer, size, 0, offset);
    default:
        memset(dst->bytes + offset, pattern, size);
        return ferry_batch_fill_buffer(batch, dst->buffer, size, offset, &pattern, 1);
    }
}

static enum cli_exit batch(struct model *model)
{
    struct pending pending = {.memory = malloc(SMALL_MAX), .size = SMALL_MAX};
    ferry_batch *batch = NULL;
    model->doing = "batch";
    if (!pending.memory)
        return no_memory(model);
    scribble(model, pending.memory, SMALL_MAX);
    unsigned char *at = pending.memory;
    enum ferry_status status = ferry_batch_create(model->device, &batch);
    for (size_t left = below(model, BATCH_MAX); !status && left > 0; left--)
        status = add(model, batch, &at, pending.memory + SMALL_MAX);
    if (!status)
        status = ferry_batch_submit(batch, NULL, NULL, &pending.ticket);
    ferry_batch_destroy(batch);
    if (!status)
        return keep(model, pending);
    free(pending.memory);
    return failed(model, "a batch");
}

static enum cli_exit contents(struct model *model)
{
    struct cell *cell = any_cell(model);
    void *bytes = NULL;
    char words[CLI_WHY_MAX];
    model->doing = "contents";
    if (ferry_buffer_storage(cell->buffer) == FERRY_STORAGE_PRIVATE)
        return !ferry_buffer_wait(cell->buffer, FERRY_FOREVER)
                   ? CLI_DONE
                   : failed(model, "waiting for a buffer");
    if (ferry_buffer_contents(cell->buffer, &bytes))
        return failed(model, "looking at a shared buffer");
    size_t wrong = compare_bytes(cell->bytes, bytes, cell->size);
    if (wrong == cell->size)
        return CLI_DONE;
    compare_why(words, cell->bytes, bytes, wrong, 0);
    snprintf(model->why, CLI_WHY_MAX, "operation %llu, a shared buffer of %zu bytes: %.500s",
             (unsigned long long)model->operations, cell->size, words);
    return CLI_CHECK;
}

/* Makes a cell anew, smaller where the device has not the memory. Its old buffer may still be in
 * use by the device. */
static enum cli_exit renew_cell(struct model *model, struct cell *cell)
{
    size_t size = 1 + below(model, one_in(model, 4) ? LARGE_MAX : SMALL_MAX);
    struct ferry_buffer_params params = {.storage = one_in(model, 3) ? FERRY_STORAGE_SHARED
                                                                     : FERRY_STORAGE_PRIVATE,
                                         .label = "verify",
                                         .zeroed = true};
    enum ferry_status status = FERRY_ERROR_OUT_OF_DEVICE_MEMORY;
    model->doing = "create";
    ferry_buffer_destroy(cell->buffer);
    free(cell->bytes);
    *cell = (struct cell){.buffer = NULL};
    for (; status == FERRY_ERROR_OUT_OF_DEVICE_MEMORY && size > 0; size /= 2) {
        params.size = cell->size = size;
        status = ferry_buffer_create(model->device, &params, &cell->buffer);
    }
    if (status)
        return failed(model, "making a buffer");
    cell->bytes = calloc(1, cell->size);
    return cell->bytes ? CLI_DONE : no_memory(model);
}

static enum cli_exit renew(struct model *model)
{
    return renew_cell(model, any_cell(model));
}

static enum cli_exit idle(struct model *model)
{
    model->doing = "wait_idle";
    return !ferry_wait_idle(model->device) ? CLI_DONE : failed(model, "waiting");
}

static enum cli_exit wait_one(struct model *model)
{
    model->doing = "wait";
    return model->pending_count == 0 ? CLI_DONE : settle(model, below(model, model->pending_count));
}

/* --- the model -------------------------------------------------------------------------------- */

static const struct {
    enum cli_exit (*run)(struct model *model);
    unsigned weight;
} choices[] = {
    {upload, 24}, {download, 24}, {copy, 24}, {fill, 12},     {zero, 2},
    {batch, 8},   {contents, 4},  {renew, 4}, {wait_one, 16}, {idle, 1},
};

struct model *model_create(ferry_device *device, uint64_t seed)
{
    struct model *model = calloc(1, sizeof *model);
    if (model) {
        model->device = device;
        model->random = seed;
    }
    return model;
}

void model_destroy(struct model *model)
{
    if (!model)
        return;
    /* Host memory must not go while the device uses it; why it failed was told before. */
    (void)!ferry_wait_idle(model->device);
    for (size_t i = 0; i < model->pending_count; i++) {
        free(model->pending[i].memory);
        free(model->pending[i].expected);
    }
    for (size_t i = 0; i < CELLS; i++) {
        ferry_buffer_destroy(model->cells[i].buffer);
        free(model->cells[i].bytes);
    }
    free(model);
}

static enum cli_exit prepare(struct model *model)
{
    for (size_t i = 0; i < CELLS; i++) {
        enum cli_exit end =
            !model->cells[i].buffer ? renew_cell(model, &model->cells[i]) : CLI_DONE;
        if (end != CLI_DONE)
            return end;
    }
    return model->pending_count == PENDING_MAX ? settle(model, 0) : CLI_DONE;
}

enum cli_exit model_step(struct model *model, char *why)
{
    unsigned sum = 0;
    model->why = why;
    model->operations++;
    model->doing = "wait";
    enum cli_exit end = prepare(model);
    if (end != CLI_DONE)
        return end;
    for (size_t i = 0; i < CLI_COUNT(choices); i++)
        sum += choices[i].weight;
    size_t pick = below(model, sum), choice = 0;
    while (pick >= choices[choice].weight)
        pick -= choices[choice++].weight;
    return choices[choice].run(model);
}

enum cli_exit model_finish(struct model *model, char *why)
{
    model->why = why;
    model->doing = "the last look";
    enum cli_exit end = settle_all(model);
    for (size_t i = 0; i < CELLS && end == CLI_DONE; i++) {
        struct cell *cell = &model->cells[i];
        if (!cell->buffer)
            continue;
        unsigned char *memory = guarded(cell->size);
        if (!memory)
            return no_memory(model);
        end = ferry_copy_to_host(cell->buffer, memory + GUARD, cell->size, 0)
                  ? failed(model, "copying to the host")
                  : look(model, memory, cell->bytes, cell->size, model->operations);
        free(memory);
    }
    return end;
}

uint64_t model_operations(const struct model *model)
{
    return model->operations;
}

uint64_t model_bytes(const struct model *model)
{
    return model->bytes;
}
