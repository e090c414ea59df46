#include "cuda_internal.h"

#include <stdio.h>
#include <string.h>

enum {
    TIMED_FROM = 1 << 20, /* bytes: timing takes 4 us and more, and tells little of less */
    BATCH_FROM = 2,
    QUERY_ERRORS_MAX = 100, /* in a row */
    ASK_NS = 100 * 1000,    /* how often CUDA is asked where the device writes a word */
};

/* Copies for one call of cuMemcpyBatchAsync. */
struct cuda_batch {
    cu_address dsts[CUDA__BATCH_MAX], srcs[CUDA__BATCH_MAX];
    size_t sizes[CUDA__BATCH_MAX];
};

/* --- slots ------------------------------------------------------------------------------------ */

static void slot_destroy(struct cuda *c, struct cuda_slot *slot)
{
    const cu_event events[] = {slot->begin, slot->end, slot->done};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (events[i])
            (void)c->cu.EventDestroy(events[i]);
    ferry__free(slot);
}

static cu_result slot_init(struct cuda *c, struct cuda_slot *slot)
{
    cu_event *const events[] = {&slot->begin, &slot->end, &slot->done};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        const cu_result result =
            c->cu.EventCreate(events[i], events[i] == &slot->done ? CU_EVENT_NO_TIMING : 0);
        if (result) {
            *events[i] = NULL;
            return result;
        }
    }
    return CU_SUCCESS;
}

static enum ferry_status slot_take(struct cuda *c, struct cuda_queue *queue,
                                   struct cuda_slot **out_slot, char *why)
{
    pthread_mutex_lock(&queue->lock);
    struct cuda_slot *slot = queue->free;
    if (slot)
        queue->free = slot->next;
    pthread_mutex_unlock(&queue->lock);
    *out_slot = slot;
    if (slot)
        return FERRY_OK;
    slot = ferry__alloc(sizeof *slot);
    if (!slot) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for a submission");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    const cu_result result = slot_init(c, slot);
    if (result) {
        slot_destroy(c, slot);
        return ferry__cuda_fail(c, result, "cuEventCreate", why);
    }
    *out_slot = slot;
    return FERRY_OK;
}

static void slot_give(struct cuda_queue *queue, struct cuda_slot *slot)
{
    pthread_mutex_lock(&queue->lock);
    slot->next = queue->free;
    queue->free = slot;
    pthread_mutex_unlock(&queue->lock);
}

/* --- words ------------------------------------------------------------------------------------ */

/* A line of the cache each. */
struct cuda_word {
    _Atomic uint64_t value;
    uint64_t pad[7];
};

void ferry__cuda_words_init(struct cuda *c)
{
    int writes = 0;
    void *words = NULL;
    const size_t size = CUDA__QUEUES_MAX * sizeof *c->words;
    if (c->cu.DeviceGetAttribute(&writes, CU_ATTRIBUTE_WRITE_VALUE, c->device) || !writes ||
        c->cu.MemHostAlloc(&words, size, CU_HOST_ALLOC_PORTABLE | CU_HOST_ALLOC_DEVICE_MAP))
        return;
    memset(words, 0, size);
    c->words = words;
    for (size_t i = 0; i < CUDA__QUEUES_MAX; i++)
        c->queues[i].word = &c->words[i].value;
}

void ferry__cuda_words_finish(struct cuda *c)
{
    if (c->words)
        (void)c->cu.MemFreeHost(c->words);
}

/* --- queues ----------------------------------------------------------------------------------- */

enum ferry_status ferry__cuda_queue_init(struct cuda *c, struct cuda_queue *queue, unsigned roles,
                                         char *why)
{
    queue->roles = roles;
    queue->last = &queue->first;
    if (ferry__short_lock_init(&queue->lock)) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for a queue's lock");
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    const cu_result result = c->cu.StreamCreate(&queue->stream, CU_STREAM_DOES_NOT_BLOCK);
    if (!result)
        return FERRY_OK;
    pthread_mutex_destroy(&queue->lock);
    return ferry__cuda_fail(c, result, "cuStreamCreate", why);
}

static void destroy_slots(struct cuda *c, struct cuda_slot *slot)
{
    while (slot) {
        struct cuda_slot *next = slot->next;
        slot_destroy(c, slot);
        slot = next;
    }
}

void ferry__cuda_queue_finish(struct cuda *c, struct cuda_queue *queue)
{
    destroy_slots(c, queue->first); /* of a lost device only: all else is done */
    destroy_slots(c, queue->free);
    (void)c->cu.StreamDestroy(queue->stream);
    ferry__free(queue->batch);
    pthread_mutex_destroy(&queue->lock);
}

/* --- commands --------------------------------------------------------------------------------- */

/* What a submission has come to so far. */
struct putting {
    struct cuda *c;
    struct cuda_queue *queue;
    const char *call;
    bool begun; /* a command may have been handed over */
};

static cu_result put_bytes(struct putting *p, cu_address at, unsigned char value, size_t size)
{
    if (!size)
        return CU_SUCCESS;
    p->call = "cuMemsetD8Async";
    const cu_result result = p->c->cu.MemsetD8Async(at, value, size, p->queue->stream);
    p->begun |= !result;
    return result;
}

/* The pattern, seen from the next multiple of its size on. */
static unsigned word_at(const struct ferry__command *command, unsigned phase)
{
    unsigned char bytes[4];
    unsigned word;
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = command->pattern[(phase + i) % command->pattern_size];
    memcpy(&word, bytes, sizeof word);
    return word;
}

static bool is_one_byte(const struct ferry__command *command)
{
    for (unsigned i = 1; i < command->pattern_size; i++)
        if (command->pattern[i] != command->pattern[0])
            return false;
    return true;
}

/* CUDA fills with bytes anywhere, with words where they are aligned: what is left at the ends goes
 * byte by byte. */
static cu_result put_fill(struct putting *p, const struct ferry__command *command)
{
    enum { WORD = 4 };
    const cu_address begin = cuda_address(command->dst, command->dst_offset);
    if (is_one_byte(command))
        return put_bytes(p, begin, command->pattern[0], command->size);
    const uint64_t to_word = (WORD - begin % WORD) % WORD;
    const uint64_t head = to_word < command->size ? to_word : command->size;
    const uint64_t words = (command->size - head) / WORD;
    cu_result result = CU_SUCCESS;
    for (uint64_t i = 0; i < head && !result; i++)
        result = put_bytes(p, begin + i, command->pattern[i % command->pattern_size], 1);
    if (!result && words) {
        p->call = "cuMemsetD32Async";
        result = p->c->cu.MemsetD32Async(begin + head, word_at(command, (unsigned)head), words,
                                         p->queue->stream);
        p->begun |= !result;
    }
    for (uint64_t i = head + words * WORD; i < command->size && !result; i++)
        result = put_bytes(p, begin + i, command->pattern[i % command->pattern_size], 1);
    return result;
}

/* Its source's memory is of another device's context. */
static bool is_from_peer(const struct cuda *c, const struct ferry__command *command)
{
    const struct cuda_memory *memory = command->src->native;
    return memory->context && memory->context != c->context;
}

static cu_result put_peer_copy(struct putting *p, const struct ferry__command *command)
{
    p->call = "cuMemcpyPeerAsync";
    const cu_result result =
        p->c->cu.MemcpyPeerAsync(cuda_address(command->dst, command->dst_offset), p->c->context,
                                 cuda_address(command->src, command->src_offset),
                                 ((const struct cuda_memory *)command->src->native)->context,
                                 command->size, p->queue->stream);
    p->begun |= !result;
    return result;
}

static cu_result put_copy(struct putting *p, const struct ferry__command *command)
{
    if (is_from_peer(p->c, command))
        return put_peer_copy(p, command);
    p->call = "cuMemcpyAsync";
    const cu_result result = p->c->cu.MemcpyAsync(cuda_address(command->dst, command->dst_offset),
                                                  cuda_address(command->src, command->src_offset),
                                                  command->size, p->queue->stream);
    p->begun |= !result;
    return result;
}

/* How many commands from here on are copies that nothing orders. */
static size_t run_of_copies(const struct cuda *c, const struct ferry__command *commands,
                            size_t count)
{
    size_t run = 0;
    while (run < count && run < CUDA__BATCH_MAX && commands[run].kind == FERRY__COPY &&
           commands[run].engine == FERRY__ENGINE_COPY && (!run || !commands[run].barrier) &&
           !is_from_peer(c, &commands[run]))
        run++;
    return run;
}

static struct cuda_batch *batch_of(struct putting *p)
{
    const struct cuda_functions *cu = &p->c->cu;
    if (!cu->MemcpyBatchAsync_13000 && !cu->MemcpyBatchAsync_12080)
        return NULL;
    if (!p->queue->batch)
        p->queue->batch = ferry__alloc(sizeof *p->queue->batch);
    return p->queue->batch; /* without memory for it the copies go one by one */
}

/* Within a batch there is no order, and none is needed. A batch that fails may have begun. */
static cu_result put_batch(struct putting *p, const struct ferry__command *commands, size_t count)
{
    struct cuda_batch *batch = p->queue->batch;
    struct cu_copy_attributes attributes = {.source_order = CU_SOURCE_ORDER_STREAM};
    size_t first = 0, failed = 0;
    for (size_t i = 0; i < count; i++) {
        batch->dsts[i] = cuda_address(commands[i].dst, commands[i].dst_offset);
        batch->srcs[i] = cuda_address(commands[i].src, commands[i].src_offset);
        batch->sizes[i] = commands[i].size;
    }
    const struct cuda_functions *cu = &p->c->cu;
    p->call = "cuMemcpyBatchAsync";
    p->begun = true;
    if (cu->MemcpyBatchAsync_13000)
        return cu->MemcpyBatchAsync_13000(batch->dsts, batch->srcs, batch->sizes, count,
                                          &attributes, &first, 1, p->queue->stream);
    return cu->MemcpyBatchAsync_12080(batch->dsts, batch->srcs, batch->sizes, count, &attributes,
                                      &first, 1, &failed, p->queue->stream);
}

static cu_result put_kernel(struct putting *p, const struct ferry__command *commands, size_t count,
                            size_t *out_taken)
{
    p->call = "cuLaunchKernel";
    const cu_result result =
        ferry__cuda_kernel_launch(p->c, p->queue->stream, commands, count, out_taken);
    p->begun |= !result;
    return result;
}

/* A stream does one after another, so barriers need nothing. */
static cu_result put_commands(struct putting *p, const struct ferry__command *commands,
                              size_t count)
{
    const bool changes = ferry__cuda_changes_engines(commands, count);
    cu_result result = CU_SUCCESS;
    for (size_t i = 0; i < count && !result;) {
        size_t run = run_of_copies(p->c, &commands[i], count - i);
        const bool by_kernel = commands[i].engine == FERRY__ENGINE_KERNEL ||
                               (run == 1 && ferry__cuda_kernel_copies(p->c, &commands[i], changes));
        if (run >= BATCH_FROM && batch_of(p)) {
            result = put_batch(p, &commands[i], run);
            i += run;
        } else if (by_kernel) {
            result = put_kernel(p, &commands[i], count - i, &run);
            i += run;
        } else if (commands[i].kind == FERRY__COPY) {
            result = put_copy(p, &commands[i++]);
        } else {
            result = put_fill(p, &commands[i++]);
        }
    }
    return result;
}

/* --- submitting ------------------------------------------------------------------------------- */

/* The event of a submission that was handed over in part may not have been recorded. Recorded now
 * it stands for no less. */
static cu_result mark_now(struct cuda *c, struct cuda_queue *queue, struct cuda_slot *slot)
{
    const cu_result result = c->cu.EventRecord(slot->done, queue->stream);
    if (!result)
        slot->mark = slot->done;
    return result;
}

/* Under that queue's lock, so that the event is not recorded anew meanwhile. */
cu_result ferry__cuda_queue_wait(struct cuda *c, cu_stream stream, struct cuda_queue *queue,
                                 uint64_t value)
{
    cu_result result = CU_SUCCESS;
    if (queue->stream == stream || atomic_load(&queue->retired) >= value)
        return CU_SUCCESS;
    pthread_mutex_lock(&queue->lock);
    struct cuda_slot *slot = queue->first;
    while (slot && slot->value < value)
        slot = slot->next;
    if (slot && !slot->mark)
        result = mark_now(c, queue, slot);
    if (slot && !result)
        result = c->cu.StreamWaitEvent(stream, slot->mark, 0);
    pthread_mutex_unlock(&queue->lock);
    return result;
}

static uint64_t bytes_of(const struct ferry__submission_info *info)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < info->count; i++)
        bytes += info->commands[i].size;
    return bytes;
}

static enum ferry_status put_waits(struct cuda *c, struct cuda_queue *queue,
                                   const struct ferry__submission_info *info, char *why)
{
    for (size_t i = 0; i < info->wait_count; i++) {
        const cu_result result = ferry__cuda_put_wait(c, queue->stream, &info->waits[i]);
        if (result)
            return ferry__cuda_fail(c, result, "cuStreamWaitEvent", why);
    }
    return FERRY_OK;
}

/* Kernels have a rate of their own. */
static unsigned kind_of(const struct ferry__command *command)
{
    const unsigned kind = command->kind, kernels = FERRY__PACE_KINDS - 1;
    return command->engine == FERRY__ENGINE_KERNEL || kind > kernels ? kernels : kind;
}

/* Times are for the metrics, and for the rate by which waits sleep. */
static bool is_timed(struct cuda_queue *queue, const struct cuda_slot *slot)
{
    if (slot->bytes < TIMED_FROM)
        return false;
    pthread_mutex_lock(&queue->lock);
    const bool timed = ferry__pace_samples(&queue->pace, slot->kind, slot->bytes);
    pthread_mutex_unlock(&queue->lock);
    return timed;
}

/* Hands the commands over. Once one of them may run the submission has begun: then a failure is how
 * it ends, not a refusal. */
static enum ferry_status hand_over(struct cuda *c, struct cuda_queue *queue, struct cuda_slot *slot,
                                   const struct ferry__submission_info *info, char *why)
{
    struct putting p = {.c = c, .queue = queue};
    slot->timed = is_timed(queue, slot) && !c->cu.EventRecord(slot->begin, queue->stream);
    cu_result result = put_commands(&p, info->commands, info->count);
    if (result && !p.begun)
        return ferry__cuda_fail(c, result, p.call, why);
    slot->mark = slot->timed ? slot->end : slot->done;
    const cu_result recorded = c->cu.EventRecord(slot->mark, queue->stream);
    if (recorded) {
        slot->mark = NULL;
        slot->timed = false;
    }
    if (!result && recorded) {
        result = recorded;
        p.call = "cuEventRecord";
    }
    /* After the event, so that it has passed, too, once the value is seen. */
    slot->written = queue->word && !slot->timed &&
                    !c->cu.StreamWriteValue64(queue->stream, (cu_address)(uintptr_t)queue->word,
                                              slot->value, 0);
    slot->status = FERRY_OK;
    if (result) {
        slot->status = ferry__cuda_fail(c, result, p.call, slot->why);
        if (slot->status != FERRY_ERROR_DEVICE_LOST)
            slot->status = FERRY_ERROR_EXECUTION_FAILED;
    }
    return FERRY_OK;
}

static void append(struct cuda_queue *queue, struct cuda_slot *slot)
{
    const uint64_t now = ferry__now_ns();
    pthread_mutex_lock(&queue->lock);
    slot->expected_ns =
        ferry__pace_expect(&queue->pace, slot->kind, slot->bytes, now, !queue->first);
    slot->next = NULL;
    *queue->last = slot;
    queue->last = &slot->next;
    atomic_store(&queue->submitted, slot->value);
    pthread_mutex_unlock(&queue->lock);
}

static enum ferry_status submit(struct cuda *c, struct cuda_queue *queue,
                                const struct ferry__submission_info *info, char *why)
{
    struct cuda_slot *slot;
    enum ferry_status status = slot_take(c, queue, &slot, why);
    if (status)
        return status;
    slot->value = info->value;
    slot->result = info->result;
    slot->bytes = bytes_of(info);
    slot->kind = kind_of(&info->commands[0]);
    status = put_waits(c, queue, info, why);
    if (!status)
        status = hand_over(c, queue, slot, info, why);
    if (status)
        slot_give(queue, slot);
    else
        append(queue, slot);
    return status;
}

enum ferry_status ferry__cuda_submit(void *state, const struct ferry__submission_info *info,
                                     char *why)
{
    struct cuda *c = state;
    struct cuda_scope scope;
    if (atomic_load(&c->lost)) {
        ferry__cuda_lost_why(c, why);
        return FERRY_ERROR_DEVICE_LOST;
    }
    enum ferry_status status = ferry__cuda_enter(c, &scope, why);
    if (status)
        return status;
    status = submit(c, &c->queues[info->queue], info, why);
    ferry__cuda_leave(c, &scope);
    return status;
}

/* --- ending ----------------------------------------------------------------------------------- */

static uint64_t device_ns(struct cuda *c, const struct cuda_slot *slot)
{
    float milliseconds = 0;
    if (!slot->timed || c->cu.EventElapsedTime(&milliseconds, slot->begin, slot->end) ||
        milliseconds <= 0)
        return 0;
    return (uint64_t)((double)milliseconds * 1e6);
}

static void end_slot(struct cuda *c, struct cuda_queue *queue, struct cuda_slot *slot, bool lost)
{
    struct ferry__result *result = slot->result;
    result->status = slot->status;
    result->device_ns = lost ? 0 : device_ns(c, slot);
    result->why[0] = 0;
    if (slot->status)
        snprintf(result->why, sizeof result->why, "%s", slot->why);
    if (lost) {
        result->status = FERRY_ERROR_DEVICE_LOST;
        ferry__cuda_lost_why(c, result->why);
    }
    ferry__pace_learn(&queue->pace, slot->kind, slot->bytes, result->device_ns);
    slot->result = NULL;
    atomic_store_explicit(&queue->retired, slot->value, memory_order_release);
}

/* One that passes says nothing, and the work may still run. */
bool ferry__cuda_query_tells(struct cuda *c, cu_result result, unsigned *errors, const char *call)
{
    if (result == CU_SUCCESS || result == CU_ERROR_NOT_READY)
        *errors = 0;
    else if (ferry__cuda_is_sticky(result) || ++*errors >= QUERY_ERRORS_MAX) {
        char why[FERRY__WHY_MAX];
        ferry__cuda_result(&c->cu, result, call, why);
        ferry__cuda_lose(c, why);
    }
    return result == CU_SUCCESS;
}

/* To read a word takes a fraction of a query's 1.3 us (on an H200), which is still made now and
 * then: it alone tells that the device is lost. */
static bool is_written(struct cuda_queue *queue, const struct cuda_slot *slot, bool *out_ask)
{
    *out_ask = true;
    if (!slot->written)
        return false;
    if (atomic_load_explicit(queue->word, memory_order_acquire) >= slot->value)
        return true;
    const uint64_t now = ferry__now_ns();
    *out_ask = now - queue->asked_ns >= ASK_NS;
    if (*out_ask)
        queue->asked_ns = now;
    return false;
}

static bool has_ended(struct cuda *c, struct cuda_queue *queue, const struct cuda_slot *slot)
{
    bool ask;
    if (is_written(queue, slot, &ask) || !ask)
        return ask;
    const cu_result result =
        slot->mark ? c->cu.EventQuery(slot->mark) : c->cu.StreamQuery(queue->stream);
    return ferry__cuda_query_tells(c, result, &queue->query_errors,
                                   slot->mark ? "cuEventQuery" : "cuStreamQuery");
}

uint64_t ferry__cuda_queue_retire(struct cuda *c, struct cuda_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    while (queue->first) {
        struct cuda_slot *slot = queue->first;
        bool lost = atomic_load(&c->lost);
        if (!lost && !has_ended(c, queue, slot)) {
            lost = atomic_load(&c->lost);
            if (!lost)
                break;
        }
        end_slot(c, queue, slot, lost);
        queue->first = slot->next;
        if (!queue->first)
            queue->last = &queue->first;
        slot->next = queue->free;
        queue->free = slot;
    }
    pthread_mutex_unlock(&queue->lock);
    return atomic_load(&queue->retired);
}

uint64_t ferry__cuda_queue_expected(struct cuda_queue *queue, uint64_t value)
{
    pthread_mutex_lock(&queue->lock);
    const struct cuda_slot *slot = queue->first;
    while (slot && slot->value < value)
        slot = slot->next;
    const uint64_t expected = slot ? slot->expected_ns : 0;
    pthread_mutex_unlock(&queue->lock);
    return expected;
}
