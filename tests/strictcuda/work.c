/* Streams and their threads, events, and the order of work. */
#include "sim.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LONG_PAUSE = 8 }; /* one piece of work in so many waits ten times as long */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- records ----------------------------------------------------------------------------------- */

static void unref(struct record *record)
{
    if (record && --record->refs == 0)
        free(record);
}

/* --- doing it ---------------------------------------------------------------------------------- */

static void fill(const struct work *work)
{
    for (size_t i = 0; i < work->dst.size; i += work->word_size)
        memcpy(work->dst.bytes + i, &work->word, work->word_size);
}

/* Without the lock. */
static void carry_out(const struct work *work)
{
    if (work->races)
        return;
    switch (work->kind) {
    case WORK_COPY:
        memcpy(work->dst.bytes, work->copied ? work->copied : work->src.bytes, work->dst.size);
        break;
    case WORK_FILL: fill(work); break;
    case WORK_KERNEL: sim_kernel_run(work); break;
    case WORK_USERS_KERNEL: sim_kernel_add_one(work->dst.bytes, work->dst.size); break;
    case WORK_RECORD:
    case WORK_WRITE:
    case WORK_WAIT:
    case WORK_FAULT: break;
    }
}

static void let_go(struct work *work)
{
    if (work->listed.range)
        work->listed.range->in_use--;
    for (size_t i = 0; i < work->range_count; i++)
        work->ranges[i]->in_use--;
    sim_list_drop(work);
    if (work->dst.range)
        work->dst.range->in_use--;
    if (work->src.range)
        work->src.range->in_use--;
    if (work->kind == WORK_WAIT)
        work->event->waited--;
    unref(work->record);
    free(work->copied);
    free(work);
}

static void finish(cu_stream stream, struct work *work)
{
    if (work->kind == WORK_RECORD) {
        work->record->done = true;
        work->record->time_ns = now_ns();
    } else if (work->pieces && !sim_list_is_kept(work)) {
        sim_breach(STRICTCUDA_LAUNCH, "a list has changed before its launch has ended");
    } else if (work->kind == WORK_FAULT) {
        sim_fault(stream->context, work->fault);
    }
    stream->first = work->next;
    if (!stream->first)
        stream->last = &stream->first;
    /* Who sees it asks nobody, and finds all before it over. */
    if (work->kind == WORK_WRITE)
        atomic_store((_Atomic uint64_t *)(void *)work->dst.bytes, work->value);
    let_go(work);
    pthread_cond_broadcast(&sim.changed);
}

static bool may_begin(cu_stream stream)
{
    const struct work *work = stream->first;
    if (!work || sim.pause || stream->context->sticky)
        return false;
    return work->kind != WORK_WAIT || work->record->done;
}

static void sleep_us(uint64_t us)
{
    const struct timespec time = {(time_t)(us / 1000000), (long)(us % 1000000 * 1000)};
    if (us)
        nanosleep(&time, NULL);
}

static void *run(void *arg)
{
    cu_stream stream = arg;
    pthread_mutex_lock(&sim.lock);
    for (;;) {
        while (!may_begin(stream) && !stream->closing)
            pthread_cond_wait(&sim.changed, &sim.lock);
        if (stream->closing)
            break;
        struct work *work = stream->first;
        const uint64_t most = sim.options.delay;
        const bool marks = work->kind == WORK_RECORD || work->kind == WORK_WRITE;
        uint64_t delay = marks || !most ? 0 : sim_random() % (most + 1);
        if (delay && sim_random() % LONG_PAUSE == 0)
            delay *= 10;
        pthread_mutex_unlock(&sim.lock);
        sleep_us(delay);
        carry_out(work);
        pthread_mutex_lock(&sim.lock);
        finish(stream, work);
    }
    pthread_mutex_unlock(&sim.lock);
    return NULL;
}

/* --- faults ------------------------------------------------------------------------------------ */

void sim_fault(cu_context context, cu_result error)
{
    if (!context->sticky)
        context->sticky = error;
    pthread_cond_broadcast(&sim.changed);
}

/* Is there work of this context, or does the user's kernel run? */
static bool is_busy(cu_context context)
{
    if (context->sticky)
        return false;
    if (sim.hold)
        return true;
    for (cu_stream stream = sim.streams; stream; stream = stream->next)
        if (stream->context == context && stream->first)
            return true;
    return false;
}

void sim_wait_idle(cu_context context)
{
    sim.waiting++;
    while (is_busy(context))
        pthread_cond_wait(&sim.changed, &sim.lock);
    sim.waiting--;
}

/* --- order ------------------------------------------------------------------------------------- */

static bool shares(const struct span *a, const struct span *b)
{
    return a->size && b->size && a->bytes < b->bytes + b->size && b->bytes < a->bytes + a->size;
}

static bool conflict(const struct work *a, const struct work *b)
{
    if (!shares(&a->dst, &b->dst) && !shares(&a->dst, &b->src) && !shares(&a->src, &b->dst))
        return false;
    return !(a->pieces || b->pieces) || sim_lists_conflict(a, b);
}

/* What other streams have not done yet must come before by an event, if it touches the same. */
static void check_order(cu_stream stream, struct work *work)
{
    for (cu_stream other = sim.streams; other; other = other->next) {
        if (other == stream)
            continue;
        for (const struct work *at = other->first; at; at = at->next)
            if (work->clock[other->number] < at->clock[other->number] && conflict(work, at)) {
                sim_breach(STRICTCUDA_RACE, "%zu bytes are touched by two streams without order",
                           work->dst.size);
                work->races = true; /* carried out, it would be a race of this program's, too */
            }
    }
}

/* A submission ends with a recording, and begins with the first work after one. */
static cu_result luck_at_begin(cu_stream stream)
{
    struct options *options = &sim.options;
    if (!stream->fresh || stream->users)
        return CU_SUCCESS;
    const bool unlucky = options->fail_every && sim_random() % options->fail_every == 0;
    return unlucky || sim_fires(&options->fail_submit) ? CU_ERROR_OUT_OF_MEMORY : CU_SUCCESS;
}

static void append(cu_stream stream, struct work *work)
{
    if (stream->capturing)
        sim_breach(STRICTCUDA_CAPTURE, "work is put into a stream that captures");
    stream->clock[stream->number]++;
    memcpy(work->clock, stream->clock, sizeof work->clock);
    if (work->dst.range)
        work->dst.range->in_use++;
    if (work->src.range)
        work->src.range->in_use++;
    if (work->listed.range)
        work->listed.range->in_use++;
    for (size_t i = 0; i < work->range_count; i++)
        work->ranges[i]->in_use++;
    check_order(stream, work);
    *stream->last = work;
    stream->last = &work->next;
    pthread_cond_broadcast(&sim.changed);
}

static void append_fault(cu_stream stream)
{
    struct work *work = calloc(1, sizeof *work);
    if (!work)
        abort();
    work->kind = WORK_FAULT;
    work->fault = CU_ERROR_ILLEGAL_ADDRESS;
    append(stream, work);
}

cu_result sim_append(cu_stream stream, struct work *work)
{
    const cu_result result = luck_at_begin(stream);
    if (result) {
        sim_list_drop(work);
        free(work->copied);
        free(work);
        return result;
    }
    stream->fresh = false;
    append(stream, work);
    return CU_SUCCESS;
}

void sim_append_mark(cu_stream stream, struct work *work)
{
    append(stream, work);
}

/* --- streams ----------------------------------------------------------------------------------- */

cu_stream sim_stream(cu_stream wanted, const char *function)
{
    if (!wanted) {
        sim_breach(STRICTCUDA_LEGACY, "%s in the legacy stream", function);
        return NULL;
    }
    cu_stream stream = sim.streams;
    while (stream && stream != wanted)
        stream = stream->next;
    if (!stream)
        sim_breach(STRICTCUDA_HANDLE, "%s: no such stream", function);
    else if (stream->context != sim_current())
        sim_breach(STRICTCUDA_CONTEXT, "%s: another context's stream", function);
    return stream;
}

static cu_stream add_stream(void)
{
    unsigned number = 0;
    while (number < STREAMS_MAX && sim.numbers_used[number])
        number++;
    cu_stream stream = calloc(1, sizeof *stream);
    if (!stream || number == STREAMS_MAX)
        abort();
    sim.numbers_used[number] = 1;
    stream->number = number;
    stream->context = sim_current();
    stream->last = &stream->first;
    stream->fresh = true;
    stream->users = sim_own.user;
    if (pthread_create(&stream->thread, NULL, run, stream))
        abort();
    stream->next = sim.streams;
    sim.streams = stream;
    return stream;
}

/* Streams that nobody made, by their handles: NULL and 1 are the legacy stream, 2 the thread's. */
static cu_stream special_stream(uintptr_t handle)
{
    const uintptr_t special = handle == 2 ? 2 : 1;
    for (cu_stream stream = sim.streams; stream; stream = stream->next)
        if (stream->hidden && stream->context == sim_current() && stream->special == special)
            return stream;
    cu_stream stream = add_stream();
    stream->hidden = stream->users = true;
    stream->special = special;
    return stream;
}

cu_stream sim_any_stream(cu_stream wanted, const char *function)
{
    if ((uintptr_t)wanted <= 2)
        return special_stream((uintptr_t)wanted);
    return sim_stream(wanted, function);
}

cu_result sim_StreamCreate_2000(cu_stream *stream, unsigned flags)
{
    const cu_result result = sim_begin("cuStreamCreate", NEEDS_INIT | NEEDS_CONTEXT | TELLS_FAULT);
    if (result)
        return result;
    if (flags != CU_STREAM_DOES_NOT_BLOCK && !sim_own.user)
        sim_breach(STRICTCUDA_LEGACY, "a stream that the legacy stream blocks");
    *stream = add_stream();
    return sim_end(CU_SUCCESS);
}

/* Under the lock, which is given up while the thread ends. */
static void drop_stream(cu_stream stream)
{
    cu_stream *link = &sim.streams;
    while (*link != stream)
        link = &(*link)->next;
    *link = stream->next;
    stream->closing = true;
    pthread_cond_broadcast(&sim.changed);
    pthread_mutex_unlock(&sim.lock);
    pthread_join(stream->thread, NULL);
    pthread_mutex_lock(&sim.lock);
    while (stream->first) {
        struct work *next = stream->first->next;
        let_go(stream->first);
        stream->first = next;
    }
    sim.numbers_used[stream->number] = 0;
    free(stream);
}

cu_result sim_StreamDestroy_4000(cu_stream wanted)
{
    const cu_result result = sim_begin("cuStreamDestroy", NEEDS_INIT | NEEDS_CONTEXT);
    if (result)
        return result;
    cu_stream stream = sim_stream(wanted, "cuStreamDestroy");
    if (!stream)
        return sim_end(CU_ERROR_INVALID_HANDLE);
    if (stream->first && !stream->context->sticky)
        sim_breach(STRICTCUDA_BUSY_OBJECT, "cuStreamDestroy of a stream with work");
    const cu_result sticky = stream->context->sticky;
    drop_stream(stream);
    return sim_end(sticky);
}

cu_result sim_StreamIsCapturing_10000(cu_stream in, cu_capture_status *status)
{
    const cu_result result =
        sim_begin("cuStreamIsCapturing", NEEDS_INIT | NEEDS_CONTEXT | TELLS_FAULT);
    if (result)
        return result;
    cu_stream stream = sim_any_stream(in, "cuStreamIsCapturing");
    if (!stream)
        return sim_end(CU_ERROR_INVALID_HANDLE);
    *status = stream->capturing;
    return sim_end(CU_SUCCESS);
}

void strictcuda_capture_stream(void *stream, bool capture)
{
    pthread_mutex_lock(&sim.lock);
    ((cu_stream)stream)->capturing = capture;
    pthread_mutex_unlock(&sim.lock);
}

cu_result sim_StreamQuery_2000(cu_stream wanted)
{
    const cu_result result =
        sim_begin("cuStreamQuery", NEEDS_INIT | NEEDS_CONTEXT | IS_UNSAFE | TELLS_FAULT);
    if (result)
        return result;
    cu_stream stream = sim_stream(wanted, "cuStreamQuery");
    if (!stream)
        return sim_end(CU_ERROR_INVALID_HANDLE);
    return sim_end(stream->first ? CU_ERROR_NOT_READY : CU_SUCCESS);
}

/* --- events ------------------------------------------------------------------------------------ */

static cu_event find_event(cu_event wanted, const char *function)
{
    cu_event event = sim.events;
    while (event && event != wanted)
        event = event->next;
    if (!event)
        sim_breach(STRICTCUDA_HANDLE, "%s: no such event", function);
    else if (event->context != sim_current())
        sim_breach(STRICTCUDA_CONTEXT, "%s: another context's event", function);
    return event;
}

cu_result sim_EventCreate_2000(cu_event *out, unsigned flags)
{
    const cu_result result = sim_begin("cuEventCreate", NEEDS_INIT | NEEDS_CONTEXT | TELLS_FAULT);
    if (result)
        return result;
    cu_event event = calloc(1, sizeof *event);
    if (!event)
        abort();
    event->context = sim_current();
    event->flags = flags;
    event->next = sim.events;
    sim.events = event;
    *out = event;
    return sim_end(CU_SUCCESS);
}

static void drop_event(cu_event event)
{
    cu_event *link = &sim.events;
    while (*link != event)
        link = &(*link)->next;
    *link = event->next;
    unref(event->record);
    free(event);
}

cu_result sim_EventDestroy_4000(cu_event wanted)
{
    const cu_result result = sim_begin("cuEventDestroy", NEEDS_INIT | NEEDS_CONTEXT);
    if (result)
        return result;
    cu_event event = find_event(wanted, "cuEventDestroy");
    if (!event)
        return sim_end(CU_ERROR_INVALID_HANDLE);
    if (event->waited) {
        if (!event->context->sticky)
            sim_breach(STRICTCUDA_BUSY_OBJECT, "cuEventDestroy of an event that streams wait for");
        return sim_end(event->context->sticky); /* it goes with the context */
    }
    drop_event(event);
    return sim_end(CU_SUCCESS);
}

/* What makes a submission fail after its commands were handed over. */
static cu_result luck_at_end(cu_stream stream)
{
    struct options *options = &sim.options;
    if (stream->fresh || stream->users)
        return CU_SUCCESS; /* it stands at the beginning of a submission */
    stream->fresh = true;
    if (sim_fires(&options->lose_at))
        append_fault(stream);
    const bool unlucky = options->fail_every && sim_random() % options->fail_every == 0;
    return unlucky || sim_fires(&options->fail_exec) ? CU_ERROR_OUT_OF_MEMORY : CU_SUCCESS;
}

cu_result sim_EventRecord_2000(cu_event wanted, cu_stream in)
{
    cu_result result = sim_begin("cuEventRecord", NEEDS_INIT | NEEDS_CONTEXT | TELLS_FAULT);
    if (result)
        return result;
    cu_event event = find_event(wanted, "cuEventRecord");
    cu_stream stream = sim_any_stream(in, "cuEventRecord");
    if (!event || !stream)
        return sim_end(CU_ERROR_INVALID_HANDLE);
    result = luck_at_end(stream);
    if (result)
        return sim_end(result);
    struct work *work = calloc(1, sizeof *work);
    struct record *record = calloc(1, sizeof *record);
    if (!work || !record)
        abort();
    unref(event->record);
    record->refs = 2;
    event->record = work->record = record;
    work->kind = WORK_RECORD;
    append(stream, work);
    memcpy(record->clock, stream->clock, sizeof record->clock);
    return sim_end(CU_SUCCESS);
}

cu_result sim_EventQuery_2000(cu_event wanted)
{
    const cu_result result =
        sim_begin("cuEventQuery", NEEDS_INIT | NEEDS_CONTEXT | IS_UNSAFE | TELLS_FAULT);
    if (result)
        return result;
    cu_event event = find_event(wanted, "cuEventQuery");
    if (!event)
        return sim_end(CU_ERROR_INVALID_HANDLE);
    if (!event->record)
        sim_breach(STRICTCUDA_UNRECORDED, "cuEventQuery of an event that was never recorded");
    return sim_end(!event->record || event->record->done ? CU_SUCCESS : CU_ERROR_NOT_READY);
}

cu_result sim_EventElapsedTime_2000(float *milliseconds, cu_event begin, cu_event end)
{
    const cu_result result =
        sim_begin("cuEventElapsedTime", NEEDS_INIT | NEEDS_CONTEXT | TELLS_FAULT);
    if (result)
        return result;
    cu_event first = find_event(begin, "cuEventElapsedTime");
    cu_event last = find_event(end, "cuEventElapsedTime");
    if (!first || !last)
        return sim_end(CU_ERROR_INVALID_HANDLE);
    if ((first->flags | last->flags) & CU_EVENT_NO_TIMING || !first->record || !last->record ||
        !first->record->done || !last->record->done) {
        sim_breach(STRICTCUDA_TIMING, "cuEventElapsedTime of events without times");
        return sim_end(CU_ERROR_INVALID_HANDLE);
    }
    *milliseconds = (float)((double)(last->record->time_ns - first->record->time_ns) / 1e6);
    return sim_end(CU_SUCCESS);
}

static void merge_clock(uint64_t *into, const uint64_t *from)
{
    for (unsigned i = 0; i < STREAMS_MAX; i++)
        into[i] = into[i] < from[i] ? from[i] : into[i];
}

cu_result sim_StreamWaitEvent_3020(cu_stream in, cu_event wanted, unsigned flags)
{
    const cu_result result =
        sim_begin("cuStreamWaitEvent", NEEDS_INIT | NEEDS_CONTEXT | TELLS_FAULT);
    if (result)
        return result;
    cu_stream stream = sim_any_stream(in, "cuStreamWaitEvent");
    cu_event event = find_event(wanted, "cuStreamWaitEvent");
    if (!stream || !event || flags)
        return sim_end(CU_ERROR_INVALID_HANDLE);
    if (!event->record) { /* as on a GPU: it waits for nothing */
        sim_breach(STRICTCUDA_UNRECORDED, "a wait for an event that was never recorded");
        return sim_end(CU_SUCCESS);
    }
    struct work *work = calloc(1, sizeof *work);
    if (!work)
        abort();
    work->kind = WORK_WAIT;
    work->event = event;
    work->record = event->record;
    event->record->refs++;
    event->waited++;
    merge_clock(stream->clock, event->record->clock);
    append(stream, work);
    return sim_end(CU_SUCCESS);
}

/* --- a context that has faulted ---------------------------------------------------------------- */

static cu_stream stream_of(cu_context context)
{
    cu_stream stream = sim.streams;
    while (stream && stream->context != context)
        stream = stream->next;
    return stream;
}

void sim_drop_work(cu_context context)
{
    for (cu_stream stream; (stream = stream_of(context));)
        drop_stream(stream);
    for (cu_event event = sim.events, next; event; event = next) {
        next = event->next;
        if (event->context == context)
            drop_event(event);
    }
}
