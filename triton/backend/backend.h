/*
 * The backend "ferry": the inputs of a batch go to private memory in one submission, something is
 * done with them on the device, the outputs go back in one submission. What a backend of your own
 * takes from here: execute.c, with your work in the place of work.c's.
 *
 *   backend.c    what the server calls
 *   model.c      a model's configuration, read and checked
 *   instance.c   an instance: its slots, its sender thread
 *   execute.c    a batch on its way to the device and back
 *   work.c       what is done on the device; work_vulkan.c: by a queue of Vulkan's
 */
#ifndef FERRY_BACKEND_H
#define FERRY_BACKEND_H

#include "calls.h"

#include <ferry/triton.h>
#include <pthread.h>

#define EXPORT __attribute__((visibility("default")))

/* --- errors (backend.c) ----------------------------------------------------------------------- */

TRITONSERVER_Error *backend_fail(TRITONSERVER_Error_Code code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Logs the error, with these words before it, and deletes it. NULL is allowed. */
void backend_log(TRITONSERVER_LogLevel level, const char *what, TRITONSERVER_Error *error);

uint64_t backend_now_ns(void); /* of the clock that the server's statistics use */

/* --- models (model.c) ------------------------------------------------------------------------- */

/* What is done with the bytes on the device. */
enum operation {
    OPERATION_IDENTITY, /* outputs are their inputs */
    OPERATION_INVERT,   /* every bit inverted; on the host device only */
};

struct tensor {
    char *name;
    TRITONSERVER_DataType datatype;
};

struct model {
    char *name;
    bool batching;                   /* the first dimension is the batch's */
    struct tensor *inputs, *outputs; /* output i is made of input i */
    size_t input_count, output_count;
    struct ferry_device_params params;
    bool has_params;    /* beside the device's name */
    char *device_name;  /* NULL: the best, or what KIND_GPU says */
    uint32_t in_flight; /* batches on their way at a time */
    enum operation operation;
};

/* Reads and checks a model's configuration. */
TRITONSERVER_Error *model_create(TRITONBACKEND_Model *triton, struct model **out_model);
void model_destroy(struct model *model); /* NULL is allowed */

/* --- instances (instance.c) ------------------------------------------------------------------- */

/* One batch on its way. Its instance's lock guards what several threads see of it. */
struct slot {
    struct instance *instance;
    struct slot *next; /* in one of the instance's lists */

    TRITONBACKEND_Request **requests; /* count, room for capacity; copies, as is the array */
    TRITONBACKEND_Response **responses;
    TRITONBACKEND_Response **good;   /* those of requests without an error, else NULL */
    TRITONSERVER_Error **errors;     /* of each request; NULL: none yet */
    TRITONSERVER_Error **fresh;      /* what a gather or scatter wrote last */
    struct ferry_triton_span *spans; /* input_count times count */
    struct ferry_triton_part *parts; /* output_count times count */
    struct ferry_triton_input *inputs;
    struct ferry_triton_output *outputs;
    uint32_t count, capacity;
    size_t size; /* bytes of in and out that the batch uses */

    ferry_buffer *in, *out; /* as large as the largest batch so far */
    uint8_t *out_bytes;     /* out's contents, where the work is the CPU's */
    uint8_t probe;          /* a byte of out, read to learn when the work is done */
    void *native;           /* work_vulkan.c's own; NULL: none yet */
    struct ferry_external work;
    bool has_work;            /* work was begun, and the sender thread is to do it */
    uint32_t pending;         /* Execute and callbacks that are not through with the slot */
    enum ferry_status status; /* of the whole batch */
    char why[256];            /* if it failed */
    uint64_t exec_start_ns, compute_start_ns, compute_end_ns, exec_end_ns;
};

struct instance {
    TRITONBACKEND_ModelInstance *triton;
    const struct model *model;
    ferry_device *device;
    struct slot *slots; /* model->in_flight */
    pthread_t sender;
    bool sending;

    pthread_mutex_t lock; /* guards what follows, and pending of the slots */
    pthread_cond_t changed;
    struct slot *free, *to_work, *to_send; /* lists, the oldest first but for free */
    uint32_t busy;
    bool stop;

    uint64_t metrics_ns; /* when they were last told; this and the next are the sender's own */
    bool metrics_stale;
};

TRITONSERVER_Error *instance_create(TRITONBACKEND_ModelInstance *triton, const struct model *model,
                                    struct instance **out_instance);

/* Waits for all batches on their way. */
void instance_destroy(struct instance *instance);

/* Waits for a slot, that is for the in-flight bound. Execute and the scatter's callback have to do
 * with it from then on. */
struct slot *instance_take_slot(struct instance *instance);
void instance_give_slot(struct slot *slot);

/* One callback more that will come. */
void instance_expect(struct slot *slot);

/* Execute or a callback is through with the slot. The sender thread does the work when only the
 * scatter is awaited, and answers when nothing is. */
void instance_leave(struct slot *slot);

/* --- a batch (execute.c) ---------------------------------------------------------------------- */

/* Sends the batch to the device. On success the requests are the backend's. */
TRITONSERVER_Error *execute(struct instance *instance, TRITONBACKEND_Request **requests,
                            uint32_t count);

/* Sends the responses, reports statistics, releases the requests. On the sender thread. */
void answer(struct slot *slot);

/* The batch failed, for "WHAT: ferry_last_error()"; the first reason stays. */
void slot_fail(struct slot *slot, enum ferry_status status, const char *what);

/* --- the work (work.c) ------------------------------------------------------------------------ */

/* May this operation be done on this device? */
TRITONSERVER_Error *work_check(ferry_device *device, enum operation operation);

/* How out is to be stored for it. */
enum ferry_storage work_storage(ferry_device *device, enum operation operation);

/* Submits the device-side operation from in to out, as external work. has_work: it is the CPU's,
 * and wants work_run. */
enum ferry_status work_submit(struct slot *slot);

/* Where input i is copied from and to; size 0: nothing. */
struct work_copy {
    ferry_buffer *from;
    size_t from_offset, to_offset, size;
};
struct work_copy work_copy_of(const struct slot *slot, size_t input);

/* Does the external work, and ends it. On the sender thread. */
void work_run(struct slot *slot);

/* --- on Vulkan (work_vulkan.c; work_no_vulkan.c: it is not there) ----------------------------- */

bool vulkan_work_is_there(void);

/* Submits the copies to Ferry's queue: begins, waits, copies, signals, ends. */
enum ferry_status vulkan_work_submit(struct slot *slot);

/* Frees what the slot has. Its work is done. */
void vulkan_work_finish(struct slot *slot);

#endif
