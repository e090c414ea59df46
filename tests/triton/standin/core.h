/* What the files of the stand-in share. */
#ifndef STANDIN_CORE_H
#define STANDIN_CORE_H

#include "json_tree.h"
#include "standin.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { INPUTS_MAX = 16, OUTPUTS_MAX = 16, BUFFERS_MAX = 64, DIMS_MAX = 8, NAME_SIZE = 64 };
enum { MODELS_MAX = 16, INSTANCES_MAX = 16, BATCH_MAX = 1024, PATH_SIZE = 4096 };

struct TRITONSERVER_Error {
    TRITONSERVER_Error_Code code;
    char *message;
};

struct TRITONSERVER_Message {
    char *json;
};

struct TRITONSERVER_ResponseAllocator {
    TRITONSERVER_ResponseAllocatorAllocFn_t alloc;
    TRITONSERVER_ResponseAllocatorReleaseFn_t release;
    TRITONSERVER_ResponseAllocatorStartFn_t start;
    TRITONSERVER_ResponseAllocatorQueryFn_t query;
};

struct chunk {
    const void *base;
    size_t size;
    TRITONSERVER_MemoryType type;
    int64_t id;
};

struct TRITONBACKEND_Input {
    struct TRITONSERVER_InferenceRequest *request;
    char name[NAME_SIZE];
    TRITONSERVER_DataType datatype;
    int64_t shape[DIMS_MAX];
    uint32_t dims;
    struct chunk chunks[BUFFERS_MAX];
    uint32_t chunk_count;
    uint64_t byte_size;
};

enum owner { OF_HOST, OF_SERVER, OF_BACKEND, RELEASED };

/* What one Execute was called with. Its model's lock guards it. */
struct batch {
    struct TRITONBACKEND_ModelInstance *instance;
    uint32_t left; /* not released */
    bool returned; /* Execute has */
};

/* Both TRITONSERVER_InferenceRequest and TRITONBACKEND_Request. */
struct TRITONSERVER_InferenceRequest {
    _Atomic int owner;
    struct TRITONSERVER_Server *server;
    char model_name[NAME_SIZE];
    struct model *model; /* from when it was sent on */
    struct batch *batch; /* from when it was given to a backend on */
    struct TRITONBACKEND_Input inputs[INPUTS_MAX];
    uint32_t input_count;
    uint32_t rows; /* its batch size; 0: the model does no batching */
    char outputs[OUTPUTS_MAX][NAME_SIZE];
    uint32_t output_count;
    bool wants_all; /* it asked for no output, that is for each */
    TRITONSERVER_ResponseAllocator *allocator;
    void *allocator_userp;
    TRITONSERVER_InferenceResponseCompleteFn_t on_response;
    void *response_userp;
    TRITONSERVER_InferenceRequestReleaseFn_t on_release;
    void *release_userp;
    atomic_bool cancelled;
    _Atomic int finals, responses, reports;
    uint64_t queued_ns;
    struct TRITONSERVER_InferenceRequest *next; /* in the model's queue */
};

struct TRITONBACKEND_Output {
    struct TRITONSERVER_InferenceResponse *response;
    char name[NAME_SIZE];
    TRITONSERVER_DataType datatype;
    int64_t shape[DIMS_MAX];
    uint32_t dims;
    void *buffer, *buffer_userp;
    size_t size;
    TRITONSERVER_MemoryType type;
    int64_t id;
    bool allocated;
};

/* Both TRITONSERVER_InferenceResponse and TRITONBACKEND_Response. */
struct TRITONSERVER_InferenceResponse {
    struct TRITONSERVER_InferenceRequest *request;
    struct TRITONBACKEND_Output outputs[OUTPUTS_MAX];
    uint32_t output_count;
    TRITONSERVER_Error *error;
    atomic_bool sent, deleted;
};

/* --- rules (rules.c) -------------------------------------------------------------------------- */

void violate(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Memory that lives until standin_reset, zeroed. */
void *keep(size_t size);

TRITONSERVER_Error *fail(TRITONSERVER_Error_Code code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

uint64_t now_ns(void);

/* --- requests (request.c) --------------------------------------------------------------------- */

/* A breach if the request is not with the backend. */
bool is_with_backend(const struct TRITONSERVER_InferenceRequest *request, const char *what);

/* Answers with an error and releases: what the server does where no backend did. */
void refuse_request(struct TRITONSERVER_InferenceRequest *request, TRITONSERVER_Error *error);

/* --- servers and backends (server.c) ---------------------------------------------------------- */

struct TRITONSERVER_ServerOptions {
    char repository[PATH_SIZE], backends[PATH_SIZE];
    TRITONSERVER_ModelControlMode mode;
    bool has_retry_count, has_peer_access;
};

struct entry_points {
#define TRITON_CALL(returns, name, parameters) returns(*name) parameters;
#include <ferry/triton_api/backend.inc>
#undef TRITON_CALL
};

/* A backend is loaded and initialized once, for all models of a server, and lives as long as it. */
struct TRITONBACKEND_Backend {
    char path[PATH_SIZE];
    void *library;
    struct entry_points calls;
    struct TRITONBACKEND_Backend *next;
};

struct TRITONSERVER_Server {
    struct TRITONSERVER_ServerOptions options;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    struct model *models[MODELS_MAX];
    size_t model_count;
    unsigned unloading; /* models on their way out, each in a thread of its own */
    struct TRITONBACKEND_Backend *backends;
};

/* The backend of this name, loaded if it is not yet. One load at a time. */
TRITONSERVER_Error *find_backend(struct TRITONSERVER_Server *server, const char *name,
                                 struct TRITONBACKEND_Backend **out_backend);

/* --- models (model.c) ------------------------------------------------------------------------- */

struct TRITONBACKEND_ModelInstance {
    struct model *model;
    char name[NAME_SIZE + 32];
    TRITONSERVER_InstanceGroupKind kind;
    int32_t device_id;
    void *state;
    pthread_t thread;
    bool runs;
    /* What it reported last; under the model's lock. */
    TRITONSERVER_MemoryType memory_type;
    int64_t memory_id;
    size_t memory;
};

struct totals {
    uint64_t rows, success, failure, queue, input, infer, output, executions;
    uint64_t memory; /* of its instances, as they report it */
    TRITONSERVER_MemoryType memory_type;
    int64_t memory_id;
};

struct model {
    char name[NAME_SIZE], *text; /* its configuration as JSON */
    struct json *config;         /* and parsed */
    struct TRITONSERVER_Server *server;
    struct TRITONBACKEND_Backend *backend;
    void *state;
    bool was_made; /* ModelInitialize was called, whatever came of it */
    struct TRITONBACKEND_ModelInstance instances[INSTANCES_MAX];
    size_t instance_count;
    unsigned max_rows; /* of one execution; 0: one request */
    uint64_t delay_ns;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    struct TRITONSERVER_InferenceRequest *first, *last;
    unsigned queued_rows;
    bool stop;
    struct totals totals;
    unsigned outstanding, in_flight; /* requests with the backend; batches after Execute */
};

/* A model that is ready. On failure all that was made of it was finalized. */
TRITONSERVER_Error *model_load(struct TRITONSERVER_Server *server, const char *name,
                               struct model **out_model);

/* Stops, finalizes and frees it. */
void model_unload(struct model *model);

/* --- its queue (queue.c) ---------------------------------------------------------------------- */

/* Fails where the server would before a backend sees the request (normalize.c). */
TRITONSERVER_Error *normalize(struct TRITONSERVER_InferenceRequest *request,
                              const struct model *model);

bool may_meet(const struct TRITONSERVER_InferenceRequest *a,
              const struct TRITONSERVER_InferenceRequest *b, const struct model *model);

/* The request was made ready to be sent, and goes into its model's queue. */
TRITONSERVER_Error *enqueue(struct TRITONSERVER_InferenceRequest *request);

/* The thread of an instance. */
void *run_instance(void *instance);

/* The request was released: it no longer counts as outstanding. */
void note_released(struct TRITONSERVER_InferenceRequest *request);

/* --- configuration (config.c) ----------------------------------------------------------------- */

/* config.pbtxt as JSON, as the server gives it to backends; malloc'd; NULL: a mistake, in why. */
char *config_to_json(const char *text, char *why, size_t why_size);

/* --- metrics (metrics.c) ---------------------------------------------------------------------- */

void format_metrics(FILE *out);

#endif
