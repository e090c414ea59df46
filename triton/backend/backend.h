/*
 * The backend "ferry": the inputs of a batch go to private memory in one submission, something is
 * done with them on the device, the outputs go back in one submission. What a backend of your own
 * takes from here: execute.c, with your work in the place of work.c's.
 *
 *   backend.c    what the server calls
 *   model.c      a model's configuration, read and checked
 *   instance.c   an instance: its slots, its sender thread, what it reports
 *   slot.c       the memory of a batch
 *   execute.c    a batch on its way to the device and back
 *   work.c       what is done on the device; work_vulkan.c: by a queue of Vulkan's
 */
#ifndef FERRY_BACKEND_H
#define FERRY_BACKEND_H

#include "calls.h"

#include <ferry/triton.h>
#include <pthread.h>
#include <stdatomic.h>

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

/* How it is done (work.c). */
enum work {
    WORK_NONE,  /* there is nothing to do: the outputs are where the inputs are */
    WORK_COPY,  /* Ferry copies in to out */
    WORK_CPU,   /* the CPU does it in out, as external work */
    WORK_QUEUE, /* a queue of Vulkan's does it */
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

/* A buffer as large as the largest batch of late. */
struct room {
    ferry_buffer *buffer; /* NULL: none was needed */
    size_t peak;          /* the largest of the batches that left most of it unused */
    uint32_t small;       /* how many of those there were, one after the other */
};

/* One batch on its way. One thread at a time has to do with it: Execute's, and, if it goes the long
 * way, then the sender; the gather's callback notes the time, and that it came. */
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
    size_t *sizes;         /* of each input: the bytes of all requests */
    const void **in_place; /* of each input: where the request's own bytes are; NULL: in in */
    /* Of each input: the buffer round the request's own CUDA memory, or NULL. */
    ferry_buffer **wrapped;
    uint32_t count, capacity;
    size_t size;      /* bytes of in and out that the batch uses */
    size_t from_host; /* bytes of the inputs that are in host memory */

    struct room in, out;
    uint8_t *out_bytes; /* out's contents, where the work is the CPU's */
    void *native;       /* work_vulkan.c's own; NULL: none yet */
    struct ferry_external work;
    ferry_ticket copied;      /* of Ferry's copy, where that is the work */
    ferry_batch *batch;       /* where gather and scatter are one submission; NULL: none yet */
    bool is_long;             /* it goes the long way (execute.c) */
    bool at_once;             /* its gather and its scatter are one submission */
    bool has_work;            /* the work was begun, and work_finish is to end it */
    bool awaits_gather;       /* its callback has not come. Under the instance's lock */
    bool failed;              /* the whole batch did, at whatever step */
    enum ferry_status status; /* of what was under way */
    char why[256];            /* if it failed */
    uint64_t exec_start_ns, compute_start_ns, compute_end_ns, exec_end_ns;
};

struct instance {
    TRITONBACKEND_ModelInstance *triton;
    const struct model *model;
    ferry_device *device;
    enum work work;
    bool by_cpu;       /* the CPU reaches all memory and does the work: nothing is waited for */
    bool at_once;      /* there is no work: gather and scatter may be one submission */
    int64_t memory_id; /* what is reported of its memory */
    TRITONSERVER_MemoryType memory_type;
    struct slot *slots; /* model->in_flight */
    pthread_t sender;
    bool sending;

    pthread_mutex_t lock;          /* guards what follows, and awaits_gather of the slots */
    pthread_cond_t changed, to_do; /* a slot or a gather; something for the sender */
    struct slot *free, *to_send;   /* lists, to_send the oldest first */
    uint32_t busy, waiting;        /* slots not free; threads that wait for changed */
    uint64_t memory;               /* bytes of the slots' buffers */
    bool stop;

    atomic_bool metrics_stale; /* the sender is to tell them in a while */
};

TRITONSERVER_Error *instance_create(TRITONBACKEND_ModelInstance *triton, const struct model *model,
                                    struct instance **out_instance);

/* Waits for all batches on their way. */
void instance_destroy(struct instance *instance);

/* Waits for a slot, that is for the in-flight bound. */
struct slot *instance_take_slot(struct instance *instance);
void instance_give_slot(struct slot *slot);

/* Gives the slot to the sender thread, which finishes the batch (the long way). */
void instance_send_later(struct slot *slot);

/* The gather's callback is to come; came; is waited for. */
void instance_expect_gather(struct slot *slot);
void instance_note_gather(struct slot *slot);
void instance_await_gather(struct slot *slot);

/* Metrics have changed: they are told within METRICS_INTERVAL_NS. */
void instance_touch_metrics(struct instance *instance);

/* The slots' buffers grew or shrank by so many bytes: tells the server. */
void instance_count_memory(struct instance *instance, int64_t bytes);

/* --- a batch (execute.c) ---------------------------------------------------------------------- */

/* Carries the batch out or sends it on its way. On success the requests are the backend's. */
TRITONSERVER_Error *execute(struct instance *instance, TRITONBACKEND_Request **requests,
                            uint32_t count);

/* What is left of a batch after its gather and the begin of its work: waits for them, scatters,
 * sends the responses, reports statistics, releases the requests. */
void finish(struct slot *slot);

/* --- a slot's memory (slot.c) ----------------------------------------------------------------- */

/* The batch failed, for "WHAT: ferry_last_error()"; the first reason stays. OK: it did not. */
void slot_fail(struct slot *slot, enum ferry_status status, const char *what);

/* Room in the arrays for so many requests; false: no memory. */
bool slot_reserve(struct slot *slot, uint32_t count);

/* Buffers of at least these sizes; larger ones only for a while. */
enum ferry_status slot_make_buffers(struct slot *slot, size_t in, size_t out);

void slot_drop_buffers(struct slot *slot);
void slot_free(struct slot *slot);

/* --- the work (work.c) ------------------------------------------------------------------------ */

/* How this operation is done on this device; an error: it is not. */
TRITONSERVER_Error *work_choose(ferry_device *device, bool is_reached, enum operation operation,
                                enum work *out_work);

/* Begins it, on what the gather wrote. Does not wait for the gather. */
enum ferry_status work_begin(struct slot *slot);

/* Waits until it is done, or does it. */
void work_finish(struct slot *slot);

/* Where input i is copied from and to; size 0: nothing. */
struct work_copy {
    ferry_buffer *from;
    size_t from_offset, to_offset, size;
};
struct work_copy work_copy_of(const struct slot *slot, size_t input);

/* --- on Vulkan (work_vulkan.c; work_no_vulkan.c: it is not there) ----------------------------- */

bool vulkan_work_is_there(void);

/* Submits the copies to Ferry's queue: begins, waits, copies, signals, ends. */
enum ferry_status vulkan_work_submit(struct slot *slot);

/* Frees what the slot has. Its work is done. */
void vulkan_work_finish(struct slot *slot);

#endif
