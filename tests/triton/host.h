/* A host of the stand-in's server: a repository in a folder of its own, requests and answers. */
#ifndef TRITON_HOST_H
#define TRITON_HOST_H

#include "support.h"

#include <pthread.h>

/* Called on the server's thread when a response comes, before anything else; NULL: nothing. */
extern void (*host_on_response)(void);

/* A server that loads backends from backends; its repository is empty. */
struct host {
    TRITONSERVER_Server *server;
    char repository[64];
};

void host_open(struct host *host, const char *backends);
void host_close(struct host *host);

/* Writes the model's configuration and loads it. */
TRITONSERVER_Error *host_load(struct host *host, const char *name, const char *config);
void host_unload(struct host *host, const char *name); /* and waits until it is gone */

/* A tensor of a call. The bytes are copied, and the copy is freed when the request is released. */
struct tensor_data {
    const char *name;
    const uint8_t *bytes;
    size_t size;
    int64_t shape[2];
    uint32_t dims;
    TRITONSERVER_MemoryType type;   /* GPU: bytes is a handle and is not copied */
    TRITONSERVER_DataType datatype; /* 0: UINT8 */
};

/* One request and what came of it. Both callbacks must come, in either order. */
struct call {
    TRITONSERVER_InferenceRequest *request;
    uint8_t *copies[8];
    size_t copy_count;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    int responses, releases;
    TRITONSERVER_InferenceResponse *response;
};

/* Sends a request that asks for outputs (NULL the end; none: it wants all). allocator: NULL: memory
 * of the host's. */
void call_start(struct call *call, struct host *host, const char *model,
                const struct tensor_data *inputs, size_t input_count, const char *const *outputs,
                TRITONSERVER_ResponseAllocator *allocator, void *userp);

/* Waits for response and release. */
void call_wait(struct call *call);

/* The output's bytes are these, of this shape. */
void call_expect(struct call *call, const char *output, const void *bytes, size_t size,
                 const int64_t *shape, uint32_t dims);

/* The response is an error with these words. */
void call_expect_error(struct call *call, TRITONSERVER_Error_Code code, const char *words);
void call_finish(struct call *call);

#endif
