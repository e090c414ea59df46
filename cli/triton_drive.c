#include "triton.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct drive;

/* A request that is sent again and again, one at a time. */
struct lane {
    struct drive *drive;
    TRITONSERVER_InferenceRequest *request;
    uint8_t *bytes, *got; /* what it sends; room for private memory's bytes */
    uint64_t sent_ns;
    uint64_t number; /* of the request: its bytes are made of it */
    /* Under the drive's lock. */
    TRITONSERVER_InferenceResponse *response;
    bool responded, released;
    uint64_t took_ns;
};

struct drive {
    const struct triton_server *server;
    const struct triton_options *options;
    ferry_triton_allocator *allocator;
    struct lane *lanes;
    uint64_t lane_count, started;
    uint64_t *times; /* of each request that is done */
    struct triton_result *result;
    enum cli_exit end;
    char *why;
    pthread_mutex_t lock; /* guards what the lanes say it does */
    pthread_cond_t changed;
};

/* --- callbacks, on the server's threads: in either order -------------------------------------- */

static void on_release(TRITONSERVER_InferenceRequest *request, const uint32_t flags, void *user)
{
    struct lane *lane = user;
    (void)request;
    if ((flags & TRITONSERVER_REQUEST_RELEASE_ALL) == 0)
        return;
    pthread_mutex_lock(&lane->drive->lock);
    lane->released = true;
    pthread_cond_signal(&lane->drive->changed);
    pthread_mutex_unlock(&lane->drive->lock);
}

static void on_response(TRITONSERVER_InferenceResponse *response, const uint32_t flags, void *user)
{
    struct lane *lane = user;
    pthread_mutex_lock(&lane->drive->lock);
    if (response)
        lane->response = response;
    if ((flags & TRITONSERVER_RESPONSE_COMPLETE_FINAL) != 0) {
        lane->responded = true;
        lane->took_ns = cli_now_ns() - lane->sent_ns;
    }
    pthread_cond_signal(&lane->drive->changed);
    pthread_mutex_unlock(&lane->drive->lock);
}

/* --- one request ------------------------------------------------------------------------------ */

static void make_bytes(struct lane *lane)
{
    uint64_t x = lane->number * 0x9e3779b97f4a7c15u + 1;
    for (uint64_t i = 0; i < lane->drive->options->bytes; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        lane->bytes[i] = (uint8_t)(x >> 32);
    }
}

static TRITONSERVER_Error *prepare(struct lane *lane)
{
    const struct drive *drive = lane->drive;
    const int64_t shape[] = {1, (int64_t)drive->options->bytes};
    TRITONSERVER_Error *error = triton.TRITONSERVER_InferenceRequestNew(
        &lane->request, drive->server->server, TRITON_MODEL, -1);
    if (!error)
        error = triton.TRITONSERVER_InferenceRequestAddInput(lane->request, "INPUT",
                                                             TRITONSERVER_TYPE_UINT8, shape, 2);
    if (!error)
        error = triton.TRITONSERVER_InferenceRequestAppendInputData(
            lane->request, "INPUT", lane->bytes, drive->options->bytes, TRITONSERVER_MEMORY_CPU, 0);
    if (!error)
        error = triton.TRITONSERVER_InferenceRequestAddRequestedOutput(lane->request, "OUTPUT");
    if (!error)
        error =
            triton.TRITONSERVER_InferenceRequestSetReleaseCallback(lane->request, on_release, lane);
    if (!error)
        error = triton.TRITONSERVER_InferenceRequestSetResponseCallback(
            lane->request, ferry_triton_allocator_get(drive->allocator),
            ferry_triton_allocator_userp(drive->allocator, TRITON_MODEL), on_response, lane);
    return error;
}

static void fail(struct drive *drive, enum cli_exit end)
{
    drive->end = cli_worse(drive->end, end);
}

/* False: it was not sent, for drive->why. */
static bool send(struct drive *drive, struct lane *lane)
{
    lane->number = drive->started++;
    lane->responded = lane->released = false;
    lane->response = NULL;
    make_bytes(lane);
    TRITONSERVER_Error *error = prepare(lane);
    lane->sent_ns = cli_now_ns();
    if (!error)
        error = triton.TRITONSERVER_ServerInferAsync(drive->server->server, lane->request, NULL);
    if (triton_good(error, "sending a request", drive->why))
        return true;
    if (lane->request)
        triton.TRITONSERVER_ErrorDelete(triton.TRITONSERVER_InferenceRequestDelete(lane->request));
    lane->request = NULL;
    fail(drive, CLI_DEVICE);
    return false;
}

/* --- one response ----------------------------------------------------------------------------- */

/* The bytes of an output, wherever they are; NULL: drive->why. */
static const uint8_t *fetch(struct drive *drive, struct lane *lane, const void *base, size_t size,
                            TRITONSERVER_MemoryType type)
{
    ferry_buffer *buffer = NULL;
    size_t offset = 0;
    if (type != TRITONSERVER_MEMORY_GPU)
        return base;
    if (!triton_good(ferry_triton_resolve(base, &buffer, &offset), "an output", drive->why))
        return NULL;
    if (!ferry_copy_to_host(buffer, lane->got, size, offset))
        return lane->got;
    cli_why(drive->why, "reading an output");
    return NULL;
}

/* By Triton's header the error is the response's. Its core makes a new one at each call, for which
 * nobody else cares: where two calls bring two, they are ours. */
static bool is_failed(struct drive *drive, struct lane *lane)
{
    TRITONSERVER_Error *error = triton.TRITONSERVER_InferenceResponseError(lane->response);
    if (!error)
        return false;
    snprintf(drive->why, CLI_WHY_MAX, "request %llu: %s", (unsigned long long)lane->number,
             triton.TRITONSERVER_ErrorMessage(error));
    TRITONSERVER_Error *again = triton.TRITONSERVER_InferenceResponseError(lane->response);
    if (again == error)
        return true;
    triton.TRITONSERVER_ErrorDelete(error);
    triton.TRITONSERVER_ErrorDelete(again);
    return true;
}

static enum cli_exit compare(struct drive *drive, struct lane *lane)
{
    const char *name = NULL;
    TRITONSERVER_DataType datatype;
    TRITONSERVER_MemoryType type;
    const int64_t *shape = NULL;
    uint64_t dims = 0;
    const void *base = NULL;
    size_t size = 0;
    int64_t id = 0;
    void *user = NULL;
    if (!lane->response) {
        snprintf(drive->why, CLI_WHY_MAX, "request %llu: the last callback brought no response",
                 (unsigned long long)lane->number);
        return CLI_DEVICE;
    }
    if (is_failed(drive, lane))
        return CLI_DEVICE;
    uint32_t count = 0;
    if (!triton_good(triton.TRITONSERVER_InferenceResponseOutputCount(lane->response, &count),
                     "the outputs", drive->why))
        return CLI_DEVICE;
    if (count != 1) {
        snprintf(drive->why, CLI_WHY_MAX, "request %llu: %u outputs came back, not one",
                 (unsigned long long)lane->number, count);
        return CLI_CHECK;
    }
    if (!triton_good(triton.TRITONSERVER_InferenceResponseOutput(lane->response, 0, &name,
                                                                 &datatype, &shape, &dims, &base,
                                                                 &size, &type, &id, &user),
                     "an output", drive->why))
        return CLI_DEVICE;
    const bool fits = size == drive->options->bytes;
    const uint8_t *got = fits ? fetch(drive, lane, base, size, type) : NULL;
    if (fits && !got)
        return CLI_DEVICE;
    if (got && memcmp(got, lane->bytes, size) == 0)
        return CLI_DONE;
    snprintf(drive->why, CLI_WHY_MAX,
             "request %llu: %zu bytes came back, which differ from the %llu that were sent",
             (unsigned long long)lane->number, size, (unsigned long long)drive->options->bytes);
    return CLI_CHECK;
}

static void take_back(struct drive *drive, struct lane *lane)
{
    enum cli_exit end = compare(drive, lane);
    if (end == CLI_DONE)
        drive->times[drive->result->done++] = lane->took_ns;
    else
        fail(drive, end);
    if (lane->response)
        triton.TRITONSERVER_ErrorDelete(
            triton.TRITONSERVER_InferenceResponseDelete(lane->response));
    triton.TRITONSERVER_ErrorDelete(triton.TRITONSERVER_InferenceRequestDelete(lane->request));
    lane->request = NULL;
}

/* --- all of them ------------------------------------------------------------------------------ */

/* A lane that is through. Under the lock. */
static struct lane *find_through(struct drive *drive)
{
    for (uint64_t i = 0; i < drive->lane_count; i++) {
        struct lane *lane = &drive->lanes[i];
        if (lane->request && lane->responded && lane->released)
            return lane;
    }
    return NULL;
}

static void run(struct drive *drive)
{
    uint64_t under_way = 0;
    uint64_t began = cli_now_ns();
    for (uint64_t i = 0; i < drive->lane_count && drive->end == CLI_DONE; i++)
        under_way += send(drive, &drive->lanes[i]);
    while (under_way > 0) {
        struct lane *lane;
        pthread_mutex_lock(&drive->lock);
        while (!(lane = find_through(drive)))
            pthread_cond_wait(&drive->changed, &drive->lock);
        pthread_mutex_unlock(&drive->lock);
        take_back(drive, lane);
        under_way--;
        if (drive->end == CLI_DONE && drive->started < drive->options->requests)
            under_way += send(drive, lane);
    }
    drive->result->time_ns = cli_now_ns() - began;
}

static bool make_lanes(struct drive *drive)
{
    drive->lanes = calloc(drive->lane_count, sizeof *drive->lanes);
    drive->times = calloc(drive->options->requests, sizeof *drive->times);
    if (!drive->lanes || !drive->times)
        return false;
    for (uint64_t i = 0; i < drive->lane_count; i++) {
        struct lane *lane = &drive->lanes[i];
        lane->drive = drive;
        lane->bytes = malloc(drive->options->bytes);
        lane->got = malloc(drive->options->bytes);
        if (!lane->bytes || !lane->got)
            return false;
    }
    return true;
}

static void free_lanes(struct drive *drive)
{
    for (uint64_t i = 0; drive->lanes && i < drive->lane_count; i++) {
        free(drive->lanes[i].bytes);
        free(drive->lanes[i].got);
    }
    free(drive->lanes);
    free(drive->times);
}

enum cli_exit triton_drive(const struct triton_server *server, const struct triton_options *options,
                           ferry_device *device, struct triton_result *out_result, char *why)
{
    static const char *const models[] = {TRITON_MODEL};
    struct drive drive = {.server = server,
                          .options = options,
                          .result = out_result,
                          .why = why,
                          .lane_count = options->concurrency < options->requests
                                            ? options->concurrency
                                            : options->requests,
                          .lock = PTHREAD_MUTEX_INITIALIZER,
                          .changed = PTHREAD_COND_INITIALIZER};
    const struct ferry_triton_allocator_params params = {.device = device,
                                                         .private_models = models,
                                                         .private_model_count =
                                                             options->private_outputs ? 1 : 0};
    if (!triton_good(ferry_triton_allocator_create(&params, &drive.allocator), "the allocator",
                     why))
        return CLI_DEVICE;
    if (make_lanes(&drive)) {
        run(&drive);
        out_result->median_ns = cli_median(drive.times, out_result->done);
        out_result->worst_ns = out_result->done > 0 ? drive.times[out_result->done - 1] : 0;
    } else {
        snprintf(why, CLI_WHY_MAX, "no host memory for the requests");
        drive.end = CLI_DEVICE;
    }
    free_lanes(&drive);
    char late[CLI_WHY_MAX];
    if (!triton_good(ferry_triton_allocator_destroy(drive.allocator), "the allocator", late) &&
        drive.end == CLI_DONE) {
        memcpy(why, late, sizeof late);
        drive.end = CLI_DEVICE;
    }
    return drive.end;
}
