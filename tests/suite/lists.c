#include "lists.h"

void list_model(const struct list *list)
{
    unsigned char *dst = list->dst ? list->dst->bytes : list->host;
    const unsigned char *src = list->src ? list->src->bytes : list->host;
    for (size_t i = 0; i < list->count; i++) {
        const struct ferry_block block = list->blocks[i];
        memmove((unsigned char *)((uintptr_t)dst + block.dst_offset),
                (const unsigned char *)((uintptr_t)src + block.src_offset), block.size);
    }
}

enum ferry_status list_start(const struct list *list, ferry_ticket *out)
{
    const struct ferry_block *blocks = list->blocks;
    switch (list->operation) {
    case FERRY_OPERATION_UPLOAD:
        return ferry_copy_blocks_from_host_async(list->dst->buffer, list->host, blocks, list->count,
                                                 NULL, NULL, out);
    case FERRY_OPERATION_DOWNLOAD:
        return ferry_copy_blocks_to_host_async(list->src->buffer, list->host, blocks, list->count,
                                               NULL, NULL, out);
    default:
        return ferry_copy_blocks_async(list->dst->buffer, list->src->buffer, blocks, list->count,
                                       NULL, NULL, out);
    }
}

enum ferry_status list_wait(const struct list *list)
{
    const struct ferry_block *blocks = list->blocks;
    switch (list->operation) {
    case FERRY_OPERATION_UPLOAD:
        return ferry_copy_blocks_from_host(list->dst->buffer, list->host, blocks, list->count);
    case FERRY_OPERATION_DOWNLOAD:
        return ferry_copy_blocks_to_host(list->src->buffer, list->host, blocks, list->count);
    default: return ferry_copy_blocks(list->dst->buffer, list->src->buffer, blocks, list->count);
    }
}

enum ferry_status list_add(ferry_batch *batch, const struct list *list)
{
    const struct ferry_block *blocks = list->blocks;
    switch (list->operation) {
    case FERRY_OPERATION_UPLOAD:
        return ferry_batch_copy_blocks_from_host(batch, list->dst->buffer, list->host, blocks,
                                                 list->count);
    case FERRY_OPERATION_DOWNLOAD:
        return ferry_batch_copy_blocks_to_host(batch, list->src->buffer, list->host, blocks,
                                               list->count);
    default:
        return ferry_batch_copy_blocks(batch, list->dst->buffer, list->src->buffer, blocks,
                                       list->count);
    }
}

void list_run(ferry_device *device, const struct list *list, enum way way)
{
    struct list given = *list;
    const size_t bytes = list->count * sizeof *list->blocks;
    struct ferry_block *blocks = xmalloc(bytes + 1);
    ferry_ticket ticket = 0;
    memcpy(blocks, list->blocks, bytes);
    given.blocks = blocks;
    if (way == WAIT) {
        OK(list_wait(&given));
    } else if (way == ASYNC) {
        OK(list_start(&given, &ticket));
    } else {
        ferry_batch *batch = NULL;
        OK(ferry_batch_create(device, &batch));
        OK(list_add(batch, &given));
        memset(blocks, 0xA5, bytes);
        OK(ferry_batch_submit(batch, NULL, NULL, &ticket));
        ferry_batch_destroy(batch);
    }
    memset(blocks, 0x5A, bytes);
    free(blocks);
    OK(ferry_wait(device, ticket, FERRY_FOREVER));
}

struct twin make_twin(size_t size, unsigned seed)
{
    return (struct twin){scribbled(size, seed), scribbled(size, seed), size};
}

void drop_twin(struct twin *twin)
{
    expect_bytes(twin->bytes, twin->want, twin->size, "host memory");
    free(twin->bytes);
    free(twin->want);
}

void list_run_on_host(ferry_device *device, struct list list, struct twin *twin, enum way way)
{
    list.host = twin->bytes;
    list_run(device, &list, way);
    list.host = twin->want;
    list_model(&list);
}

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

size_t list_random(struct ferry_block *blocks, bool apart, uint32_t seed)
{
    static const size_t sizes[] = {1, 3, 4, 5, 16, 31, 33, 0, 64, 255, 256, 500, 800};
    enum { SIZES = sizeof sizes / sizeof *sizes, ROOM = ARENA / MANY };
    for (size_t i = 0; i < MANY; i++) {
        const size_t size = sizes[next(&seed) % SIZES];
        const size_t slack = ROOM - size;
        blocks[i] = (struct ferry_block){i * ROOM + next(&seed) % slack,
                                         i * ROOM + next(&seed) % slack, size};
        if (!apart) {
            blocks[i].dst_offset = next(&seed) % (ARENA / 16);
            blocks[i].src_offset = next(&seed) % (ARENA / 16);
        }
    }
    for (size_t i = MANY; i > 1; i--) {
        const size_t other = next(&seed) % i;
        const struct ferry_block last = blocks[i - 1];
        blocks[i - 1] = blocks[other];
        blocks[other] = last;
        const size_t offset = blocks[i - 1].src_offset;
        if (blocks[i - 1].size == last.size) { /* sources in another order than destinations */
            blocks[i - 1].src_offset = last.src_offset;
            blocks[other].src_offset = offset;
        }
    }
    return MANY;
}
