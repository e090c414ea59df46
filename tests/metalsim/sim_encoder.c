/* Blit and compute encoders: they check what they are given, and append it. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

void sim_encoder_dealloc(struct sim_object *object)
{
    struct sim_encoder *encoder = (struct sim_encoder *)object;
    if (!encoder->ended) {
        sim_breach(METALSIM_STATE, "an encoder died before endEncoding");
        encoder->commands->open_encoder = NULL;
    }
    sim_release(encoder->commands);
}

struct sim_commands *sim_encoding(struct sim_encoder *encoder, const char *what)
{
    if (!encoder->ended && encoder->commands->open_encoder == encoder)
        return encoder->commands;
    sim_breach(METALSIM_STATE, "%s after endEncoding", what);
    return NULL;
}

static void encoder_end(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    sim_enter(self);
    struct sim_encoder *encoder = (struct sim_encoder *)self;
    struct sim_commands *commands = sim_encoding(encoder, "endEncoding");
    if (commands)
        commands->open_encoder = NULL;
    encoder->ended = true;
    sim_leave(self);
}

/* --- checks ----------------------------------------------------------------------------------- */

static struct sim_buffer *check_buffer(struct sim_commands *commands, mtl_id buffer)
{
    struct sim_buffer *b = sim_check(buffer, SIM_BUFFER);
    if (b && !sim_same_device(b->device, commands->queue->device)) {
        sim_breach(METALSIM_DEVICE, "a buffer of another device");
        return NULL;
    }
    return b;
}

static bool check_range(const struct sim_buffer *buffer, uint64_t offset, uint64_t size,
                        const char *what)
{
    bool fits = size && size <= buffer->length && offset <= buffer->length - size;
    bool loose = sim.config.loose_alignment && sim.config.machine == METALSIM_APPLE;
    if (!fits)
        sim_breach(METALSIM_RANGE, "%s: offset %lu, size %lu in a buffer of %lu", what,
                   (unsigned long)offset, (unsigned long)size, (unsigned long)buffer->length);
    else if (!loose && (offset % 4 || size % 4))
        sim_breach(METALSIM_ALIGNMENT, "%s: offset %lu, size %lu must be multiples of 4", what,
                   (unsigned long)offset, (unsigned long)size);
    else
        return true;
    return false;
}

/* --- blit ------------------------------------------------------------------------------------- */

static void append_copy(struct sim_commands *commands, struct sim_buffer *src, uint64_t src_offset,
                        struct sim_buffer *dst, uint64_t dst_offset, uint64_t size)
{
    if (!src || !dst || !check_range(src, src_offset, size, "copy source") ||
        !check_range(dst, dst_offset, size, "copy destination"))
        return;
    if (src == dst && src_offset < dst_offset + size && dst_offset < src_offset + size) {
        sim_breach(METALSIM_OVERLAP, "a copy of %lu bytes from %lu to %lu of one buffer",
                   (unsigned long)size, (unsigned long)src_offset, (unsigned long)dst_offset);
    }
    struct sim_item *item = sim_append(commands, SIM_COPY);
    item->src = src, item->src_offset = src_offset;
    item->dst = dst, item->dst_offset = dst_offset;
    item->size = size;
    sim_keep(commands, src);
    sim_keep(commands, dst);
    sim_lock();
    sim.counts.copies++;
    sim.counts.bytes += size;
    sim_unlock();
}

static void blit_copy(mtl_id self, mtl_sel cmd, mtl_id src, uint64_t src_offset, mtl_id dst,
                      uint64_t dst_offset, uint64_t size)
{
    (void)cmd;
    sim_enter(self);
    struct sim_commands *commands = sim_encoding((struct sim_encoder *)self, "a copy");
    if (commands)
        append_copy(commands, check_buffer(commands, src), src_offset, check_buffer(commands, dst),
                    dst_offset, size);
    sim_leave(self);
}

static void blit_fill(mtl_id self, mtl_sel cmd, mtl_id dst, struct mtl_range range, uint8_t value)
{
    (void)cmd;
    sim_enter(self);
    struct sim_commands *commands = sim_encoding((struct sim_encoder *)self, "a fill");
    struct sim_buffer *buffer = commands ? check_buffer(commands, dst) : NULL;
    if (buffer && check_range(buffer, range.location, range.length, "fill")) {
        struct sim_item *item = sim_append(commands, SIM_FILL);
        item->dst = buffer, item->dst_offset = range.location;
        item->size = range.length;
        item->value = value;
        sim_keep(commands, buffer);
        sim_lock();
        sim.counts.fills++;
        sim_unlock();
    }
    sim_leave(self);
}

static void blit_synchronize(mtl_id self, mtl_sel cmd, mtl_id resource)
{
    (void)cmd;
    sim_enter(self);
    struct sim_commands *commands =
        sim_encoding((struct sim_encoder *)self, "synchronizeResource:");
    struct sim_buffer *buffer = commands ? check_buffer(commands, resource) : NULL;
    if (buffer && buffer->storage != MTL_STORAGE_MANAGED) {
        sim_breach(METALSIM_STORAGE, "synchronizeResource: of a buffer that is not managed");
    } else if (buffer) {
        sim_append(commands, SIM_SYNCHRONIZE)->dst = buffer;
        sim_keep(commands, buffer);
        sim_lock();
        sim.counts.synchronizes++;
        sim_unlock();
    }
    sim_leave(self);
}

const struct sim_method sim_blit_methods[] = {
    SIM_METHOD(blit_copy, blit_copy),
    SIM_METHOD(blit_fill, blit_fill),
    SIM_METHOD(blit_synchronize, blit_synchronize),
    SIM_METHOD(end_encoding, encoder_end),
    {0, NULL},
};

/* --- compute ---------------------------------------------------------------------------------- */

static void compute_set_pipeline(mtl_id self, mtl_sel cmd, mtl_id pipeline)
{
    (void)cmd;
    sim_enter(self);
    struct sim_encoder *encoder = (struct sim_encoder *)self;
    struct sim_commands *commands = sim_encoding(encoder, "setComputePipelineState:");
    struct sim_pipeline *p = commands ? sim_check(pipeline, SIM_PIPELINE) : NULL;
    if (p && !sim_same_device(p->device, commands->queue->device))
        sim_breach(METALSIM_DEVICE, "a pipeline of another device");
    else
        encoder->bound.pipeline = p;
    sim_leave(self);
}

static void compute_set_buffer(mtl_id self, mtl_sel cmd, mtl_id buffer, uint64_t offset,
                               uint64_t index)
{
    (void)cmd;
    sim_enter(self);
    struct sim_encoder *encoder = (struct sim_encoder *)self;
    struct sim_commands *commands = sim_encoding(encoder, "setBuffer:");
    struct sim_buffer *b = commands ? check_buffer(commands, buffer) : NULL;
    if (b && (offset >= b->length || index >= SIM_BINDINGS)) {
        sim_breach(METALSIM_RANGE, "setBuffer: offset %lu of %lu at index %lu",
                   (unsigned long)offset, (unsigned long)b->length, (unsigned long)index);
    } else if (b && offset % 16) {
        sim_breach(METALSIM_ALIGNMENT, "setBuffer: offset %lu", (unsigned long)offset);
    } else if (b) {
        encoder->bound.buffer[index] = b;
        encoder->bound.offset[index] = offset;
        encoder->bound.bytes_size[index] = 0; /* one thing at an index */
    }
    sim_leave(self);
}

static void compute_set_bytes(mtl_id self, mtl_sel cmd, const void *bytes, uint64_t length,
                              uint64_t index)
{
    (void)cmd;
    sim_enter(self);
    struct sim_encoder *encoder = (struct sim_encoder *)self;
    if (!sim_encoding(encoder, "setBytes:"))
        ;
    else if (!length || length > SIM_BYTES || index >= SIM_BINDINGS)
        sim_breach(METALSIM_RANGE, "setBytes: length %lu at index %lu", (unsigned long)length,
                   (unsigned long)index);
    else {
        memcpy(encoder->bound.bytes[index], bytes, length);
        encoder->bound.bytes_size[index] = length;
        encoder->bound.buffer[index] = NULL;
    }
    sim_leave(self);
}

static void append_dispatch(struct sim_encoder *encoder, struct sim_commands *commands,
                            uint64_t threads)
{
    struct sim_item *item = sim_append(commands, SIM_DISPATCH);
    item->dispatch = malloc(sizeof *item->dispatch);
    *item->dispatch = encoder->bound;
    item->dispatch->threads = threads;
    for (int i = 0; i < SIM_BINDINGS; i++)
        if (encoder->bound.buffer[i])
            sim_keep(commands, encoder->bound.buffer[i]);
    sim_lock();
    sim.counts.dispatches++;
    sim_unlock();
}

static void compute_dispatch(mtl_id self, mtl_sel cmd, struct mtl_size groups,
                             struct mtl_size threads)
{
    (void)cmd;
    sim_enter(self);
    struct sim_encoder *encoder = (struct sim_encoder *)self;
    struct sim_commands *commands = sim_encoding(encoder, "a dispatch");
    uint64_t per_group = threads.width * threads.height * threads.depth;
    uint64_t count = groups.width * groups.height * groups.depth;
    if (!commands)
        ;
    else if (!encoder->bound.pipeline)
        sim_breach(METALSIM_STATE, "a dispatch without a pipeline");
    else if (!per_group || per_group > 1024 || !count || count * per_group > UINT32_MAX)
        sim_breach(METALSIM_RANGE, "a dispatch of %lu groups of %lu", (unsigned long)count,
                   (unsigned long)per_group);
    else
        append_dispatch(encoder, commands, count * per_group);
    sim_leave(self);
}

const struct sim_method sim_compute_methods[] = {
    SIM_METHOD(set_pipeline, compute_set_pipeline), SIM_METHOD(set_buffer, compute_set_buffer),
    SIM_METHOD(set_bytes, compute_set_bytes),       SIM_METHOD(dispatch, compute_dispatch),
    SIM_METHOD(end_encoding, encoder_end),          {0, NULL},
};
