#include "state.h"

#include <string.h>

/* --- queues ----------------------------------------------------------------------------------- */

/* A command buffer with both encoders, dropped unused: are their methods what we take them for? */
static bool check_commands(struct metal_queue *queue, char *why)
{
    mtl_id commands = mtl_new_commands(queue->queue);
    mtl_id blit = commands ? mtl_new_blit(commands) : NULL;
    bool right = blit && ferry__mtl_check(commands, MTL_ON_COMMANDS, why, FERRY__WHY_MAX) &&
                 ferry__mtl_check(blit, MTL_ON_BLIT, why, FERRY__WHY_MAX);
    if (!blit)
        ferry__metal_why(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, why, "Metal gave no %s",
                         commands ? "blit encoder" : "command buffer");
    else
        mtl_end_encoding(blit);
    if (!right)
        return false;
    mtl_id compute = mtl_new_compute(commands);
    right = compute && ferry__mtl_check(compute, MTL_ON_COMPUTE, why, FERRY__WHY_MAX);
    if (compute)
        mtl_end_encoding(compute);
    else
        ferry__metal_why(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, why, "Metal gave no compute encoder");
    return right;
}

static enum ferry_status open_queue(struct metal_state *state, mtl_id wrapped, char *why)
{
    struct metal_queue *queue = &state->queues[state->queue_count++];
    queue->state = state;
    queue->limit = wrapped ? METAL_COMMANDS_WRAPPED : METAL_COMMANDS_OURS;
    queue->queue = wrapped ? mtl_retain(wrapped) : mtl_new_queue(state->device, METAL_COMMANDS_MAX);
    queue->event = mtl_new_shared_event(state->device);
    if (!queue->queue || !queue->event)
        return ferry__metal_why(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, why, "Metal gave no %s",
                                queue->queue ? "shared event" : "command queue");
    if (!ferry__mtl_check(queue->queue, MTL_ON_QUEUE, why, FERRY__WHY_MAX) ||
        !ferry__mtl_check(queue->event, MTL_ON_EVENT, why, FERRY__WHY_MAX) ||
        !check_commands(queue, why))
        return FERRY_ERROR_UNSUPPORTED;
    if (!wrapped)
        mtl_set_label(queue->queue, state->label);
    mtl_set_label(queue->event, state->label);
    return FERRY_OK;
}

/* What orders our queues among themselves is the GPU's alone. The host cannot signal that: where a
 * command buffer failed, a queue of its own does, since its own queue may be waiting. */
static enum ferry_status open_order(struct metal_state *state, char *why)
{
    state->repair = mtl_new_queue(state->device, METAL_QUEUES_MAX * METAL_COMMANDS_MAX);
    bool all = state->repair != NULL;
    for (unsigned i = 0; i < state->queue_count && all; i++)
        all = (state->queues[i].own = mtl_new_event(state->device)) != NULL;
    return all ? FERRY_OK
               : ferry__metal_why(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, why, "Metal gave no %s",
                                  state->repair ? "event" : "command queue");
}

enum ferry_status ferry__metal_queues_open(struct metal_state *state, unsigned count,
                                           mtl_id wrapped, char *why)
{
    count = !count || wrapped ? 1 : count < METAL_QUEUES_MAX ? count : METAL_QUEUES_MAX;
    enum ferry_status status = FERRY_OK;
    for (unsigned i = 0; i < count && !status; i++)
        status = open_queue(state, wrapped, why);
    return status || count == 1 ? status : open_order(state, why);
}

void ferry__metal_queue_close(struct metal_queue *queue)
{
    /* What was submitted last is seen to be done while its handler still has the lock, and is about
     * to retain the event. Handlers that come later find none. */
    pthread_mutex_lock(&queue->state->lock);
    mtl_id event = queue->event;
    queue->event = NULL;
    pthread_mutex_unlock(&queue->state->lock);
    mtl_release(queue->own);
    mtl_release(event);
    mtl_release(queue->queue);
}

/* --- encoding --------------------------------------------------------------------------------- */

struct encoding {
    struct metal_state *state;
    mtl_id commands;
    mtl_id encoder; /* NULL: none is open */
    enum ferry__engine engine;
    bool kernels; /* everything goes by them */
    uint64_t number;
};

static void end_encoder(struct encoding *encoding)
{
    if (encoding->encoder)
        mtl_end_encoding(encoding->encoder);
    encoding->encoder = NULL;
}

static bool open_encoder(struct encoding *encoding, enum ferry__engine engine)
{
    if (encoding->encoder && encoding->engine == engine)
        return true;
    end_encoder(encoding);
    encoding->engine = engine;
    encoding->encoder = engine == FERRY__ENGINE_KERNEL ? mtl_new_compute(encoding->commands)
                                                       : mtl_new_blit(encoding->commands);
    return encoding->encoder != NULL;
}

static void blit_copy(const struct metal_state *state, mtl_id encoder,
                      const struct ferry__command *command)
{
    (void)state;
    const struct metal_memory *dst = command->dst->native, *src = command->src->native;
    mtl_blit_copy(encoder, src->buffer, command->src->offset + command->src_offset, dst->buffer,
                  command->dst->offset + command->dst_offset, command->size);
}

static void blit_fill(const struct metal_state *state, mtl_id encoder,
                      const struct ferry__command *command)
{
    (void)state;
    const struct metal_memory *dst = command->dst->native;
    struct mtl_range range = {command->dst->offset + command->dst_offset, command->size};
    mtl_blit_fill(encoder, dst->buffer, range, command->pattern[0]);
}

/* No barriers: Metal itself keeps the order of commands that touch the same tracked buffer, within
 * an encoder and across them. */
static bool encode_commands(struct encoding *encoding, const struct ferry__submission_info *info)
{
    static void (*const encode[2][3])(const struct metal_state *, mtl_id,
                                      const struct ferry__command *) = {
        [FERRY__ENGINE_COPY] = {[FERRY__COPY] = blit_copy, [FERRY__FILL] = blit_fill},
        [FERRY__ENGINE_KERNEL] = {[FERRY__COPY] = ferry__metal_kernel_copy,
                                  [FERRY__FILL] = ferry__metal_kernel_fill,
                                  [FERRY__BLOCKS] = ferry__metal_kernel_list},
    };
    for (size_t i = 0; i < info->count; i++) {
        const struct ferry__command *command = &info->commands[i];
        const enum ferry__engine engine =
            encoding->kernels ? FERRY__ENGINE_KERNEL : command->engine;
        if (!open_encoder(encoding, engine))
            return false;
        encode[engine][command->kind](encoding->state, encoding->encoder, command);
    }
    return true;
}

/* The CPU sees what the device wrote to managed memory only after this. Once for each buffer, and
 * only where the CPU is to read: all of the buffer comes over, and in upload memory that would undo
 * what the CPU is writing there. */
static bool encode_synchronize(struct encoding *encoding, const struct ferry__submission_info *info)
{
    for (size_t i = 0; i < info->count; i++) {
        struct metal_memory *memory = info->commands[i].dst->native;
        if (!memory->read_back ||
            atomic_exchange(&memory->synchronized, encoding->number) == encoding->number)
            continue;
        if (!open_encoder(encoding, FERRY__ENGINE_COPY))
            return false;
        mtl_blit_synchronize(encoding->encoder, memory->buffer);
    }
    return true;
}

/* What a queue did itself is behind it anyway. */
static void encode_waits(const struct encoding *encoding, const struct metal_queue *queue,
                         const struct ferry__submission_info *info)
{
    for (size_t i = 0; i < info->wait_count; i++) {
        const struct ferry_sync *wait = &info->waits[i];
        const struct metal_queue *other = ferry__metal_queue_of(encoding->state, wait->event);
        if (other != queue)
            mtl_encode_wait(encoding->commands, other ? other->own : (mtl_id)(uintptr_t)wait->event,
                            wait->value);
    }
}

static bool encode(struct encoding *encoding, struct metal_queue *queue,
                   const struct ferry__submission_info *info)
{
    encode_waits(encoding, queue, info);
    bool encoded = encode_commands(encoding, info) && encode_synchronize(encoding, info);
    end_encoder(encoding);
    if (encoded && queue->own)
        mtl_encode_signal(encoding->commands, queue->own, info->value);
    if (encoded && atomic_load(&encoding->state->external))
        mtl_encode_signal(encoding->commands, queue->event, info->value);
    return encoded;
}

/* --- submitting ------------------------------------------------------------------------------- */

/* Waits for room, so that Metal itself never blocks: a command buffer has its place in the queue
 * from when it is made. False: the device is lost. */
static bool take_place(struct metal_queue *queue, bool *out_kernels)
{
    struct metal_state *state = queue->state;
    pthread_mutex_lock(&state->lock);
    while (queue->in_flight >= queue->limit && !atomic_load(&state->lost))
        ferry__cond_wait_until(&state->changed, &state->lock, UINT64_MAX);
    const bool lost = atomic_load(&state->lost);
    queue->in_flight += !lost;
    *out_kernels = state->all_kernels && ferry__metal_kernels_turn_on(state);
    state->blitting += !lost && state->all_kernels && !*out_kernels;
    pthread_mutex_unlock(&state->lock);
    return !lost;
}

/* It is handed over, or was not to be. */
static void leave_place(struct metal_queue *queue, bool kernels, bool gives_back)
{
    struct metal_state *state = queue->state;
    if (!gives_back && (kernels || !state->all_kernels))
        return;
    pthread_mutex_lock(&state->lock);
    queue->in_flight -= gives_back;
    state->blitting -= state->all_kernels && !kernels;
    ferry__metal_changed_locked(state);
    pthread_mutex_unlock(&state->lock);
}

/* From here on its handler finds it. False: the device was lost meanwhile. */
static bool enlist(struct metal_queue *queue, struct metal_submission *submission)
{
    struct metal_state *state = queue->state;
    pthread_mutex_lock(&state->lock);
    bool lost = atomic_load(&state->lost);
    if (!lost) {
        *(queue->last ? &queue->last->next : &queue->first) = submission;
        queue->last = submission;
        atomic_fetch_add(&submission->references, 1);
    }
    pthread_mutex_unlock(&state->lock);
    return !lost;
}

static struct metal_submission *make_submission(struct metal_queue *queue,
                                                const struct ferry__submission_info *info)
{
    struct metal_submission *submission = ferry__alloc(sizeof *submission);
    if (!submission)
        return NULL;
    submission->queue = queue;
    submission->result = info->result;
    submission->value = info->value;
    for (size_t i = 0; i < info->wait_count; i++)
        for (unsigned q = 0; q < queue->state->queue_count; q++)
            if (info->waits[i].event == (uint64_t)(uintptr_t)queue->state->queues[q].event &&
                info->waits[i].value > submission->waits[q])
                submission->waits[q] = info->waits[i].value;
    atomic_init(&submission->references, 1);
    atomic_fetch_add(&queue->state->references, 1);
    return submission;
}

static enum ferry_status is_lost(char *why)
{
    return ferry__metal_why(FERRY_ERROR_DEVICE_LOST, why, "the device is lost");
}

/* Inside a pool: the command buffer is Metal's from commit on. */
static enum ferry_status encode_and_commit(struct metal_queue *queue,
                                           struct metal_submission *submission,
                                           const struct ferry__submission_info *info, bool kernels,
                                           char *why)
{
    struct metal_state *state = queue->state;
    struct encoding encoding = {.state = state,
                                .commands = mtl_new_commands(queue->queue),
                                .kernels = kernels,
                                .number = 1 + atomic_fetch_add(&state->submissions, 1)};
    if (!encoding.commands)
        return ferry__metal_why(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, why,
                                "Metal gave no command buffer");
    mtl_set_label(encoding.commands, state->label);
    if (!encode(&encoding, queue, info))
        return ferry__metal_why(FERRY_ERROR_OUT_OF_DEVICE_MEMORY, why, "Metal gave no encoder");
    struct mtl_closure handler = ferry__metal_completed_closure(submission);
    mtl_add_completed(encoding.commands, &handler.head);
    if (!enlist(queue, submission))
        return is_lost(why);
    mtl_commit(encoding.commands);
    return FERRY_OK;
}

enum ferry_status ferry__metal_submit(void *opened, const struct ferry__submission_info *info,
                                      char *why)
{
    struct metal_state *state = opened;
    struct metal_queue *queue = &state->queues[info->queue];
    bool kernels;
    if (state->all_kernels && !atomic_load(&state->kernels_on))
        (void)ferry__metal_kernels(state, 0);
    if (!take_place(queue, &kernels))
        return is_lost(why);
    struct metal_submission *submission = make_submission(queue, info);
    if (!submission) {
        leave_place(queue, kernels, true);
        return ferry__metal_why(FERRY_ERROR_OUT_OF_HOST_MEMORY, why, "out of host memory");
    }
    void *pool = mtl_pool_push();
    const enum ferry_status status = encode_and_commit(queue, submission, info, kernels, why);
    mtl_pool_pop(pool);
    leave_place(queue, kernels, status != FERRY_OK);
    ferry__metal_submission_release(submission);
    return status;
}
