/*
 * A queue's submissions and the thread that carries them out. The head of the list is the one at
 * work; it leaves the list when it has ended. A loss ends all submissions, but not before every
 * thread has stopped copying: what the commands use may be freed then.
 */
#include "host_internal.h"

#include <stdio.h>
#include <string.h>

enum {
    PIECE = 1 << 20,     /* bytes between looks at whether the device is lost */
    FILL_STEP = 1 << 16, /* the source of a step stays in the cache */
    YIELDS_MAX = 2,      /* out of order: how many newer submissions may pass one */
    GRACE_NS = 500000,   /* out of order: how long one waits for a newer one to come */
};

static uint64_t knob(const struct host_device *device, enum host_knob which)
{
    return atomic_load(&device->knobs.value[which]);
}

/* --- the end of a submission ------------------------------------------------------------------ */

/* Takes the head off its queue; its record is written, but for the close of a device. */
static void end_head(struct host_queue *queue, enum ferry_status status, uint64_t device_ns,
                     const char *why)
{
    struct host_device *device = queue->device;
    struct host_submission *s = queue->head;
    queue->head = s->next;
    if (!queue->head) {
        queue->tail = &queue->head;
    }
    if (!device->closing) {
        *s->record = (struct ferry__record){.status = status, .device_ns = device_ns};
        snprintf(s->record->why, sizeof s->record->why, "%s", why);
    }
    for (size_t i = 0; i < s->count; i++) {
        ferry__host_memory_drop(device, s->commands[i].dst);
        if (s->commands[i].src) {
            ferry__host_memory_drop(device, s->commands[i].src);
        }
    }
    atomic_store_explicit(&queue->event.value, s->value, memory_order_release);
    ferry__free(s);
}

/* No thread copies any more. */
static void finish_loss(struct host_device *device)
{
    for (uint32_t i = 0; i < device->limits.queue_count; i++) {
        while (device->queues[i].head) {
            end_head(&device->queues[i], FERRY_ERROR_DEVICE_LOST, 0, "the host device was lost");
        }
    }
    atomic_store_explicit(&device->lost, true, memory_order_release);
    pthread_cond_broadcast(&device->changed);
}

void ferry__host_lose_locked(struct host_device *device)
{
    if (atomic_exchange(&device->losing, true)) {
        return;
    }
    for (uint32_t i = 0; i < device->limits.queue_count; i++) {
        pthread_cond_broadcast(&device->queues[i].work);
    }
    pthread_cond_broadcast(&device->changed);
    if (device->running == 0) {
        finish_loss(device);
    }
}

void ferry__host_lose(void *state)
{
    struct host_device *device = state;
    pthread_mutex_lock(&device->lock);
    ferry__host_lose_locked(device);
    pthread_mutex_unlock(&device->lock);
}

/* --- carrying out ----------------------------------------------------------------------------- */

/* Each step copies what is there already: a multiple of the pattern, so that its phase is kept. */
static void fill(unsigned char *to, uint64_t size, const uint8_t *pattern, uint64_t period)
{
    if (period == 1) {
        memset(to, pattern[0], size);
        return;
    }
    uint64_t done = size < period ? size : period;
    memcpy(to, pattern, done);
    while (done < size) {
        uint64_t step = done < FILL_STEP ? done : FILL_STEP - FILL_STEP % period;
        step = step < size - done ? step : size - done;
        memcpy(to + done, to, step);
        done += step;
    }
}

/* Does the first bytes of a command. false: the device is lost meanwhile. */
static bool run(struct host_device *device, const struct host_command *command, uint64_t bytes)
{
    uint64_t piece = PIECE - PIECE % command->pattern_size;
    for (uint64_t done = 0; done < bytes; done += piece) {
        uint64_t size = piece < bytes - done ? piece : bytes - done;
        if (atomic_load_explicit(&device->losing, memory_order_relaxed)) {
            return false;
        }
        if (command->from) {
            memcpy(command->to + done, command->from + done, size);
        } else {
            fill(command->to + done, size, command->pattern, command->pattern_size);
        }
    }
    return true;
}

static void carry_out(struct host_device *device, const struct host_submission *s)
{
    uint64_t left = s->stop_after;
    for (size_t i = 0; i < s->count && left > 0; i++) {
        uint64_t bytes = s->commands[i].size < left ? s->commands[i].size : left;
        if (!run(device, &s->commands[i], bytes)) {
            return;
        }
        left -= bytes;
    }
}

/* A head of another queue that was submitted later and could run now; 0: none. */
static struct host_queue *newer_one(const struct host_queue *queue)
{
    struct host_device *device = queue->device;
    for (uint32_t i = 0; i < device->limits.queue_count; i++) {
        struct host_submission *s = device->queues[i].head;
        if (s && s->number > queue->head->number && ferry__host_reached(s->waits, s->wait_count)) {
            return &device->queues[i];
        }
    }
    return NULL;
}

/* Lets newer submissions of other queues pass. The newest one waits for nobody: no deadlock. */
static void let_pass(struct host_queue *queue)
{
    struct host_device *device = queue->device;
    uint64_t deadline = ferry__deadline(GRACE_NS);
    for (int yields = 0; yields < YIELDS_MAX && !atomic_load(&device->losing);) {
        const struct host_queue *other = newer_one(queue);
        if (!other) {
            if (!ferry__cond_wait_until(&device->changed, &device->lock, deadline)) {
                return;
            }
            continue;
        }
        uint64_t number = other->head->number;
        while (!atomic_load(&device->losing) && other->head && other->head->number == number) {
            pthread_cond_wait(&device->changed, &device->lock);
        }
        yields++;
    }
}

/* All that comes before the first command of the head. false: the device is lost. */
static bool wait_for_turn(struct host_queue *queue)
{
    struct host_device *device = queue->device;
    const struct host_submission *s = queue->head;
    while (!atomic_load(&device->losing) && !ferry__host_reached(s->waits, s->wait_count)) {
        pthread_cond_wait(&device->changed, &device->lock);
    }
    if (knob(device, HOST_OUT_OF_ORDER)) {
        let_pass(queue);
    }
    if (!atomic_load(&device->losing) && s->delay_ns > 0) {
        uint64_t deadline = ferry__deadline(s->delay_ns);
        while (!atomic_load(&device->losing) &&
               ferry__cond_wait_until(&device->changed, &device->lock, deadline)) {
        }
    }
    return !atomic_load(&device->losing);
}

/* One submission, with the lock held but for the copying. false: the device is lost. */
static bool serve(struct host_queue *queue)
{
    struct host_device *device = queue->device;
    if (!wait_for_turn(queue)) {
        return false;
    }
    struct host_submission *s = queue->head;
    device->running++;
    pthread_mutex_unlock(&device->lock);
    uint64_t begin = ferry__now_ns();
    carry_out(device, s);
    uint64_t device_ns = ferry__now_ns() - begin;
    pthread_mutex_lock(&device->lock);
    device->running--;
    if (s->outcome == FERRY_ERROR_DEVICE_LOST) {
        ferry__host_lose_locked(device);
    }
    if (atomic_load(&device->losing)) {
        if (device->running == 0 && !atomic_load(&device->lost)) {
            finish_loss(device);
        }
        return false;
    }
    end_head(queue, s->outcome, device_ns > 0 ? device_ns : 1, s->why);
    pthread_cond_broadcast(&device->changed);
    return true;
}

static void *work(void *arg)
{
    struct host_queue *queue = arg;
    struct host_device *device = queue->device;
    pthread_mutex_lock(&device->lock);
    for (;;) {
        while (!queue->head && !device->closing && !atomic_load(&device->losing)) {
            pthread_cond_wait(&queue->work, &device->lock);
        }
        if (!queue->head || atomic_load(&device->losing) || !serve(queue)) {
            break;
        }
    }
    pthread_mutex_unlock(&device->lock);
    return NULL;
}

/* --- submitting ------------------------------------------------------------------------------- */

static struct host_submission *make(const struct ferry__submission_info *info)
{
    size_t commands = info->count * sizeof(struct host_command);
    struct host_submission *s =
        ferry__alloc(sizeof *s + commands + info->wait_count * sizeof *info->waits);
    if (s) {
        s->value = info->value;
        s->record = info->record;
        s->stop_after = UINT64_MAX;
        s->waits = (struct ferry_sync *)(void *)&s->commands[info->count];
        s->wait_count = info->wait_count;
        if (info->wait_count > 0) {
            memcpy(s->waits, info->waits, info->wait_count * sizeof *info->waits);
        }
    }
    return s;
}

/* Commands without a barrier between them may run in any order: so they do. */
static void shuffle(struct host_command *commands, size_t count, uint64_t *seed)
{
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && !commands[end].barrier; end++) {
        }
        for (size_t i = end - first; i > 1; i--) {
            size_t other = first + (size_t)(ferry__host_random(seed) % i);
            struct host_command last = commands[first + i - 1];
            commands[first + i - 1] = commands[other];
            commands[other] = last;
        }
    }
}

/* Decides at submission what the knobs do to it, so that it does not depend on the threads. */
static void apply_knobs(struct host_queue *queue, struct host_submission *s)
{
    struct host_device *device = queue->device;
    uint64_t delay = knob(device, HOST_DELAY_US) * 1000;
    s->delay_ns = delay ? delay + ferry__host_random(&queue->random) % (delay / 2) : 0;
    shuffle(s->commands, s->count, &queue->random);
    bool fails = ferry__host_fires(device, HOST_FAIL_EXEC);
    bool loses = ferry__host_fires(device, HOST_LOSE_AT);
    if (!fails && !loses) {
        return;
    }
    uint64_t total = 0;
    for (size_t i = 0; i < s->count; i++) {
        total += s->commands[i].size;
    }
    s->stop_after = total / 2;
    s->outcome = loses ? FERRY_ERROR_DEVICE_LOST : FERRY_ERROR_EXECUTION_FAILED;
    snprintf(s->why, sizeof s->why, "a knob stops a submission after %llu of %llu bytes",
             (unsigned long long)s->stop_after, (unsigned long long)total);
}

/* The waits and the value, which need the lock. NULL: good. */
static const char *check_order(struct host_queue *queue, const struct host_submission *s)
{
    for (size_t i = 0; i < s->wait_count; i++) {
        const struct host_event *event = ferry__host_event_find(queue->device, s->waits[i].event);
        if (!event) {
            return "a wait for an event that does not exist";
        }
        if (event->of_queue && s->waits[i].value > event->submitted) {
            return "a wait for a value that was not submitted yet";
        }
    }
    return s->value == queue->event.submitted + 1 ? NULL : "a value that does not grow by 1";
}

/* It will end at once, with these words. */
static void refuse(struct host_submission *s, const char *why)
{
    s->outcome = FERRY_ERROR_INTERNAL;
    snprintf(s->why, sizeof s->why, "%s", why);
    s->count = 0;
    s->wait_count = 0;
}

/* Puts it into its queue; the lock is held. */
static void append(struct host_queue *queue, struct host_submission *s)
{
    struct host_device *device = queue->device;
    for (size_t i = 0; i < s->count; i++) {
        s->commands[i].dst->references++;
        if (s->commands[i].src) {
            s->commands[i].src->references++;
        }
    }
    s->number = ++device->submissions;
    queue->event.submitted = s->value;
    *queue->tail = s;
    queue->tail = &s->next;
    pthread_cond_signal(&queue->work);
    if (knob(device, HOST_OUT_OF_ORDER)) {
        pthread_cond_broadcast(&device->changed);
    }
}

/* What cannot even end: there is no queue, no record or no value for it. */
static bool is_hopeless(struct host_device *device, const struct ferry__submission_info *info,
                        char *why)
{
    if (info->queue >= device->limits.queue_count) {
        snprintf(why, FERRY__WHY_MAX, "queue %u of %u", info->queue, device->limits.queue_count);
    } else if (info->count == 0 || !info->record || (info->wait_count > 0 && !info->waits)) {
        snprintf(why, FERRY__WHY_MAX, "a submission of %zu commands and %zu waits, record %s",
                 info->count, info->wait_count, info->record ? "given" : "missing");
    } else if (info->value <= device->queues[info->queue].event.submitted) {
        snprintf(why, FERRY__WHY_MAX, "value %llu submitted after %llu",
                 (unsigned long long)info->value,
                 (unsigned long long)device->queues[info->queue].event.submitted);
    } else {
        return false;
    }
    return true;
}

static enum ferry_status start(struct host_queue *queue, char *why)
{
    if (queue->started) {
        return FERRY_OK;
    }
    int error = ferry__thread_start(&queue->thread, "ferry-host", work, queue);
    if (error) {
        snprintf(why, FERRY__WHY_MAX, "no thread for a queue of the host driver: errno %d", error);
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    queue->started = true;
    return FERRY_OK;
}

static enum ferry_status enqueue(struct host_queue *queue, struct host_submission *s, char *why)
{
    struct host_device *device = queue->device;
    pthread_mutex_lock(&device->lock);
    const char *disorder = check_order(queue, s);
    if (disorder) {
        refuse(s, disorder);
    }
    bool lost = atomic_load(&device->lost);
    if (!lost) {
        append(queue, s);
    }
    pthread_mutex_unlock(&device->lock);
    if (lost) {
        ferry__free(s);
        snprintf(why, FERRY__WHY_MAX, "the host device is lost");
        return FERRY_ERROR_DEVICE_LOST;
    }
    if (disorder) {
        ferry__host_breach(disorder);
    }
    return FERRY_OK;
}

enum ferry_status ferry__host_submit(void *state, const struct ferry__submission_info *info,
                                     char *why)
{
    struct host_device *device = state;
    if (is_hopeless(device, info, why)) {
        return ferry__host_breach(why);
    }
    if (atomic_load(&device->lost)) {
        snprintf(why, FERRY__WHY_MAX, "the host device is lost");
        return FERRY_ERROR_DEVICE_LOST;
    }
    struct host_queue *queue = &device->queues[info->queue];
    if (ferry__host_fires(device, HOST_FAIL_SUBMIT)) {
        snprintf(why, FERRY__WHY_MAX, "a submission of %zu commands fails by a knob", info->count);
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    enum ferry_status status = start(queue, why);
    if (status != FERRY_OK) {
        return status;
    }
    struct host_submission *s = make(info);
    if (!s) {
        snprintf(why, FERRY__WHY_MAX, "no host memory for %zu commands", info->count);
        return FERRY_ERROR_OUT_OF_HOST_MEMORY;
    }
    s->count = info->count;
    status = ferry__host_check(queue, info, s->commands, why);
    if (status == FERRY_ERROR_OUT_OF_HOST_MEMORY) {
        ferry__free(s);
        return status;
    }
    if (status == FERRY_OK) {
        apply_knobs(queue, s);
    } else {
        ferry__host_breach(why);
        refuse(s, why);
    }
    return enqueue(queue, s, why);
}

void ferry__host_queues_finish(struct host_device *device)
{
    bool busy = false;
    pthread_mutex_lock(&device->lock);
    device->closing = true;
    for (uint32_t i = 0; i < device->limits.queue_count; i++) {
        busy |= device->queues[i].head != NULL;
        pthread_cond_broadcast(&device->queues[i].work);
    }
    if (busy) {
        ferry__host_lose_locked(device);
    }
    pthread_mutex_unlock(&device->lock);
    for (uint32_t i = 0; i < device->limits.queue_count; i++) {
        if (device->queues[i].started) {
            pthread_join(device->queues[i].thread, NULL);
        }
    }
    if (busy) {
        ferry__host_breach("close while submissions have not ended");
    }
}
