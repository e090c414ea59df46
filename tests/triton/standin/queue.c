#include "core.h"

static _Atomic unsigned outstanding, executions, largest_batch, most_in_flight, to_cancel;

unsigned standin_outstanding(void)
{
    return atomic_load(&outstanding);
}
unsigned standin_executions(void)
{
    return atomic_load(&executions);
}
unsigned standin_largest_batch(void)
{
    return atomic_exchange(&largest_batch, 0);
}
unsigned standin_most_in_flight(void)
{
    return atomic_exchange(&most_in_flight, 0);
}
void standin_cancel_next(unsigned count)
{
    atomic_store(&to_cancel, count);
}

static void note_most(_Atomic unsigned *most, unsigned value)
{
    unsigned before = atomic_load(most);
    while (before < value && !atomic_compare_exchange_weak(most, &before, value))
        continue;
}

static unsigned rows_of(const struct TRITONSERVER_InferenceRequest *request)
{
    return request->rows ? request->rows : 1;
}

/* --- into the queue --------------------------------------------------------------------------- */

static void append(struct model *model, struct TRITONSERVER_InferenceRequest *request)
{
    request->queued_ns = now_ns();
    request->next = NULL;
    atomic_store(&request->owner, OF_SERVER);
    *(model->last ? &model->last->next : &model->first) = request;
    model->last = request;
    model->queued_rows += rows_of(request);
    pthread_cond_broadcast(&model->changed);
}

static struct model *find_model(struct TRITONSERVER_Server *server, const char *name)
{
    for (size_t i = 0; i < server->model_count; i++)
        if (!strcmp(server->models[i]->name, name))
            return server->models[i];
    return NULL;
}

/* The server's lock is held until the request is in the queue: the model stays so long. */
TRITONSERVER_Error *enqueue(struct TRITONSERVER_InferenceRequest *request)
{
    struct TRITONSERVER_Server *server = request->server;
    pthread_mutex_lock(&server->lock);
    struct model *model = find_model(server, request->model_name);
    TRITONSERVER_Error *error = model
                                    ? normalize(request, model)
                                    : fail(TRITONSERVER_ERROR_NOT_FOUND, "the model was unloaded");
    if (!error) {
        request->model = model;
        atomic_store(&request->cancelled, false);
        atomic_store(&request->finals, 0);
        atomic_store(&request->responses, 0);
        atomic_store(&request->reports, 0);
        pthread_mutex_lock(&model->lock);
        append(model, request);
        pthread_mutex_unlock(&model->lock);
    }
    pthread_mutex_unlock(&server->lock);
    return error;
}

/* --- to a backend ----------------------------------------------------------------------------- */

/* A condition's own clock is the same on every system, but not the one of now_ns. */
static void wait_until(struct model *model, uint64_t when)
{
    const uint64_t now = now_ns(), left = when > now ? when - now : 0;
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += (time_t)((left + (uint64_t)at.tv_nsec) / 1000000000u);
    at.tv_nsec = (long)((left + (uint64_t)at.tv_nsec) % 1000000000u);
    pthread_cond_timedwait(&model->changed, &model->lock, &at);
}

static bool cancels_next(void)
{
    unsigned left = atomic_load(&to_cancel);
    while (left && !atomic_compare_exchange_weak(&to_cancel, &left, left - 1))
        continue;
    return left > 0;
}

static struct TRITONSERVER_InferenceRequest *take_first(struct model *model, struct batch *batch)
{
    struct TRITONSERVER_InferenceRequest *request = model->first;
    model->first = request->next;
    if (!model->first)
        model->last = NULL;
    model->queued_rows -= rows_of(request);
    model->outstanding++;
    atomic_fetch_add(&outstanding, 1);
    model->totals.queue += now_ns() - request->queued_ns;
    request->batch = batch;
    batch->left++;
    if (cancels_next())
        atomic_store(&request->cancelled, true);
    atomic_store(&request->owner, OF_BACKEND);
    return request;
}

/* Takes what is queued, up to a batch, waiting a little for it to fill. Under the lock. */
static uint32_t take_batch(struct model *model, struct batch *batch, TRITONBACKEND_Request **out)
{
    while (!model->first && !model->stop)
        pthread_cond_wait(&model->changed, &model->lock);
    const uint64_t until = model->first ? model->first->queued_ns + model->delay_ns : 0;
    while (model->queued_rows && model->queued_rows < model->max_rows && !model->stop &&
           now_ns() < until)
        wait_until(model, until);
    uint32_t count = 0, rows = 0;
    while (model->first && count < BATCH_MAX &&
           (!count ||
            (rows + rows_of(model->first) <= model->max_rows &&
             may_meet((struct TRITONSERVER_InferenceRequest *)out[0], model->first, model)))) {
        rows += rows_of(model->first);
        out[count++] = (TRITONBACKEND_Request *)take_first(model, batch);
    }
    return count;
}

static void note_returned(struct model *model, struct batch *batch)
{
    pthread_mutex_lock(&model->lock);
    batch->returned = true;
    if (batch->left)
        note_most(&most_in_flight, ++model->in_flight);
    pthread_mutex_unlock(&model->lock);
}

/* The array is the server's again when Execute returns: it points to a released request then. */
static void execute(struct batch *batch, TRITONBACKEND_Request **requests, uint32_t count)
{
    static struct TRITONSERVER_InferenceRequest stale = {.owner = RELEASED};
    struct model *model = batch->instance->model;
    TRITONBACKEND_Request **array = keep(count * sizeof(TRITONBACKEND_Request *));
    memcpy(array, requests, count * sizeof(TRITONBACKEND_Request *));
    note_most(&largest_batch, count);
    atomic_fetch_add(&executions, 1);
    TRITONSERVER_Error *error =
        model->backend->calls.TRITONBACKEND_ModelInstanceExecute(batch->instance, array, count);
    for (uint32_t i = 0; i < count; i++)
        array[i] = (TRITONBACKEND_Request *)&stale;
    for (uint32_t i = 0; i < count && error; i++)
        refuse_request((struct TRITONSERVER_InferenceRequest *)requests[i], error);
    TRITONSERVER_ErrorDelete(error);
    note_returned(model, batch);
}

void *run_instance(void *arg)
{
    struct TRITONBACKEND_ModelInstance *instance = arg;
    struct model *model = instance->model;
    TRITONBACKEND_Request *requests[BATCH_MAX];
    for (;;) {
        struct batch *batch = keep(sizeof *batch);
        batch->instance = instance;
        pthread_mutex_lock(&model->lock);
        const uint32_t count = take_batch(model, batch, requests);
        pthread_mutex_unlock(&model->lock);
        if (!count)
            return NULL;
        execute(batch, requests, count);
    }
}

/* --- and back --------------------------------------------------------------------------------- */

void note_released(struct TRITONSERVER_InferenceRequest *request)
{
    struct model *model = request->model;
    struct batch *batch = request->batch;
    if (!model)
        return;
    pthread_mutex_lock(&model->lock);
    model->outstanding--;
    if (!--batch->left && batch->returned)
        model->in_flight--;
    pthread_mutex_unlock(&model->lock);
    atomic_fetch_sub(&outstanding, 1);
}

static bool are_ordered(uint64_t exec_start, uint64_t compute_start, uint64_t compute_end,
                        uint64_t exec_end)
{
    return exec_start && exec_start <= compute_start && compute_start <= compute_end &&
           compute_end <= exec_end && exec_end <= now_ns();
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceReportStatistics(
    TRITONBACKEND_ModelInstance *instance, TRITONBACKEND_Request *backend_request,
    const bool success, const uint64_t exec_start_ns, const uint64_t compute_start_ns,
    const uint64_t compute_end_ns, const uint64_t exec_end_ns)
{
    struct TRITONSERVER_InferenceRequest *request =
        (struct TRITONSERVER_InferenceRequest *)backend_request;
    if (!is_with_backend(request, "ReportStatistics"))
        return fail(TRITONSERVER_ERROR_INTERNAL, "a rule of the API was broken");
    if (atomic_fetch_add(&request->reports, 1))
        violate("ReportStatistics: twice for a request");
    if (!are_ordered(exec_start_ns, compute_start_ns, compute_end_ns, exec_end_ns))
        violate("ReportStatistics: the times are not in order");
    if (request->batch && request->batch->instance != instance)
        violate("ReportStatistics: another instance had the request");
    if (!instance)
        return NULL;
    struct model *model = instance->model;
    pthread_mutex_lock(&model->lock);
    *(success ? &model->totals.success : &model->totals.failure) += 1;
    if (success) {
        model->totals.rows += rows_of(request);
        model->totals.input += compute_start_ns - exec_start_ns;
        model->totals.infer += compute_end_ns - compute_start_ns;
        model->totals.output += exec_end_ns - compute_end_ns;
    }
    pthread_mutex_unlock(&model->lock);
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceReportBatchStatistics(
    TRITONBACKEND_ModelInstance *instance, const uint64_t batch_size, const uint64_t exec_start_ns,
    const uint64_t compute_start_ns, const uint64_t compute_end_ns, const uint64_t exec_end_ns)
{
    if (!batch_size || !are_ordered(exec_start_ns, compute_start_ns, compute_end_ns, exec_end_ns))
        violate("ReportBatchStatistics: batch size %llu, or times that are not in order",
                (unsigned long long)batch_size);
    if (!instance)
        return NULL;
    struct model *model = instance->model;
    pthread_mutex_lock(&model->lock);
    model->totals.executions++;
    pthread_mutex_unlock(&model->lock);
    return NULL;
}
