/* What the files of the stand-in share. */
#ifndef STANDIN_CORE_H
#define STANDIN_CORE_H

#include "standin.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { INPUTS_MAX = 16, OUTPUTS_MAX = 16, BUFFERS_MAX = 64, DIMS_MAX = 8, NAME_SIZE = 64 };

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

/* Both TRITONSERVER_InferenceRequest and TRITONBACKEND_Request. */
struct TRITONSERVER_InferenceRequest {
    _Atomic int owner;
    struct TRITONSERVER_Server *server;
    struct model *model;
    struct TRITONBACKEND_Input inputs[INPUTS_MAX];
    uint32_t input_count;
    char outputs[OUTPUTS_MAX][NAME_SIZE];
    uint32_t output_count;
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

/* --- models (server.c) ------------------------------------------------------------------------ */

/* The request was released: it no longer counts as outstanding. */
void note_released(struct TRITONSERVER_InferenceRequest *request);
void note_report(struct TRITONBACKEND_ModelInstance *instance, bool success, uint64_t exec_start,
                 uint64_t compute_start, uint64_t compute_end, uint64_t exec_end);
TRITONSERVER_Error *enqueue(struct TRITONSERVER_InferenceRequest *request);

/* --- configuration (config.c) ----------------------------------------------------------------- */

/* config.pbtxt as JSON, as the server gives it to backends; malloc'd; NULL: a mistake, in why. */
char *config_to_json(const char *text, char *why, size_t why_size);

/* --- metrics (metrics.c) ---------------------------------------------------------------------- */

void format_metrics(FILE *out);

#endif
