/* Inside the simulator: objects, classes, buffers, queues, command buffers, events. */
#ifndef METALSIM_SIM_H
#define METALSIM_SIM_H

#include "../../drivers/metal/objc.h"
#include "metalsim.h"

#include <pthread.h>
#include <stdatomic.h>

/* --- objects (sim_runtime.c) ------------------------------------------------------------------ */

enum sim_kind {
    SIM_STRING,
    SIM_ARRAY,
    SIM_ERROR,
    SIM_DEVICE,
    SIM_BUFFER,
    SIM_QUEUE,
    SIM_COMMANDS,
    SIM_BLIT,
    SIM_COMPUTE,
    SIM_EVENT,
    SIM_PLAIN_EVENT,
    SIM_LISTENER,
    SIM_PROCESS,
    SIM_DESCRIPTOR,
    SIM_RESIDENCY,
    SIM_LIBRARY,
    SIM_FUNCTION,
    SIM_PIPELINE,
    SIM_KINDS
};

/* Begins every object. A dead one is kept for a while, so that a late message is noticed. */
struct sim_object {
    void *isa;
    uint32_t magic;
    enum sim_kind kind;
    atomic_int references;
    atomic_int users; /* threads inside its methods, where one at a time is the rule */
    struct sim_object *next, *previous;
};

struct sim_method {
    enum mtl_selector_index selector;
    void (*function)(void);
};

struct sim_class {
    const char *name;
    const struct sim_method *methods; /* ended by a NULL function */
    const struct sim_method *class_methods;
    void (*dealloc)(struct sim_object *object); /* frees what it holds, not itself */
    size_t size;
};

/* The prototypes that the list demands: SIM_METHOD does not compile with another. */
#define SIM_TYPE(name, R, ...) typedef R (*sim_type_##name)(__VA_ARGS__);
#define SEND0(on, name, s, e, o, v, n, R) SIM_TYPE(name, R, mtl_id, mtl_sel)
#define SEND1(on, name, s, e, o, v, n, R, A) SIM_TYPE(name, R, mtl_id, mtl_sel, A)
#define SEND2(on, name, s, e, o, v, n, R, A, B) SIM_TYPE(name, R, mtl_id, mtl_sel, A, B)
#define SEND3(on, name, s, e, o, v, n, R, A, B, C) SIM_TYPE(name, R, mtl_id, mtl_sel, A, B, C)
#define SEND4(on, name, s, e, o, v, n, R, A, B, C, D) SIM_TYPE(name, R, mtl_id, mtl_sel, A, B, C, D)
#define SEND5(on, name, s, e, o, v, n, R, A, B, C, D, E) \
    SIM_TYPE(name, R, mtl_id, mtl_sel, A, B, C, D, E)
#include "../../drivers/metal/selectors.inc"
#include "../../drivers/metal/selectors_end.inc"

#define SIM_METHOD(name, function)                                            \
    {                                                                         \
        MTL_SEL_##name, (void (*)(void))(1 ? (function) : (sim_type_##name)0) \
    }

/* Methods that give a BOOL leave garbage in the rest of the register, as Apple's may. */
typedef uint64_t sim_dirty_bool;
#define SIM_BOOL(value) ((sim_dirty_bool)0xdeadbeefdeadbe00u | !!(value))
#define SIM_BOOL_METHOD(name, function)            \
    {                                              \
        MTL_SEL_##name, (void (*)(void))(function) \
    }

extern const struct sim_class sim_classes[SIM_KINDS];

void *sim_make(enum sim_kind kind);          /* references 1 */
void *sim_make_constant(enum sim_kind kind); /* lives as long as the process, and is not counted */
void *sim_check(void *object, enum sim_kind kind); /* NULL, and a breach, if it is not one */
bool sim_is_alive(const void *object);
void sim_count_live(uint64_t *objects, uint64_t *buffers); /* locked */
void *sim_retain(void *object);
void sim_release(void *object);
void *sim_autorelease(void *object);
void *sim_own_pool_push(void); /* for the simulator's own releases, on any thread */
void sim_own_pool_pop(void *pool);
extern atomic_bool sim_forked; /* this is a child of the process that loaded Metal */
void sim_breach(enum metalsim_rule rule, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

void sim_check_process(const char *what);

/* Round each method of a single-threaded object. */
void sim_enter(void *object);
void sim_leave(void *object);

/* --- the one state (sim_device.c); lock guards all of it ------------------------- */

struct sim_state {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a slot, an event, handlers that were called */
    struct metalsim_config config;
    struct metalsim_counts counts;
    struct sim_device *devices[4];
    unsigned device_count;
    uint64_t fail_constructor, fail_commands;
    uint64_t fail_buffer, fail_new_commands, fail_import, fail_every; /* METALSIM only */
    int fail_code;
    unsigned fail_victims;
    bool loses, removed; /* METALSIM only: the one that fails takes the device along */
    uint64_t random;
    char last_breach[256];
    struct sim_worker *workers;
};

extern struct sim_state sim;
extern _Atomic uint64_t sim_messages;

void sim_lock(void);
void sim_unlock(void);
uint64_t sim_random_locked(void);
bool sim_constructor_fails(void); /* counts it */
void sim_start(void);             /* the state from the environment, once */

/* The environment variable METALSIM (sim_knobs.c). */
void sim_knobs_machine(struct metalsim_config *out);
void sim_knobs_faults(bool armed);
bool sim_counts_down(uint64_t *count); /* true once, when it reaches 0; always for UINT64_MAX */

/* --- strings, arrays, errors (sim_foundation.c) ----------------------------------------------- */

struct sim_string {
    struct sim_object object;
    char *text;
};

struct sim_array {
    struct sim_object object;
    uint64_t count;
    void *items[4];
};

struct sim_error {
    struct sim_object object;
    int64_t code;
    const char *domain;
    char text[96];
};

void sim_make_constants(void);
mtl_id sim_string(const char *text);                /* +0 */
struct sim_error *sim_error_make(int code);         /* +1, of a command buffer */
struct sim_error *sim_error_text(const char *text); /* +1, of anything else */
extern const struct sim_method sim_string_methods[], sim_string_class_methods[];
extern const struct sim_method sim_array_methods[], sim_error_methods[];
void sim_string_dealloc(struct sim_object *object);
void sim_array_dealloc(struct sim_object *object);

/* --- devices ---------------------------------------------------------------------------------- */

struct sim_device {
    struct sim_object object;
    unsigned index;
    uint64_t allocated, buffers;
};

extern const struct sim_method sim_device_methods[];
void sim_device_dealloc(struct sim_object *object);
uint64_t sim_page_size(void);
bool sim_same_device(const struct sim_device *a, const struct sim_device *b);

/* --- buffers (sim_buffer.c) ------------------------------------------------------------------- */

struct sim_buffer {
    struct sim_object object;
    struct sim_device *device;
    uint64_t length, mapped, options, storage;
    unsigned char *gpu, *cpu; /* one and the same unless managed; cpu NULL: private */
    unsigned char *told;      /* managed: what the CPU's bytes were when Metal last knew of them */
    unsigned char
        *then; /* imports that are stale: what was there; that are lost: what is written */
    bool imported, lost, seen;
    int opened;  /* commands that run on it */
    int writers; /* commands that write it now */
    int synchronizing;
    mtl_block deallocator;
    bool tracked, in_heap;
};

extern const struct sim_method sim_buffer_methods[];
void sim_buffer_dealloc(struct sim_object *object);
mtl_id sim_buffer_new(struct sim_device *device, uint64_t length, uint64_t options);
mtl_id sim_buffer_import(struct sim_device *device, void *bytes, uint64_t length, uint64_t options,
                         mtl_block deallocator);
/* The GPU's bytes, until closed. */
unsigned char *sim_buffer_open(struct sim_buffer *buffer, bool to_write);
/* The bytes of an opened one: of an import that is stale or lost, not what the host has. */
unsigned char *sim_buffer_view(const struct sim_buffer *buffer, bool to_write);
void sim_buffer_close(struct sim_buffer *buffer, bool to_write);
void sim_buffer_synchronize(struct sim_buffer *buffer);

/* --- queues, command buffers, encoders (sim_commands.c) --------------------------------------- */

enum { SIM_BINDINGS = 8, SIM_BYTES = 128 };

struct sim_dispatch {
    struct sim_pipeline *pipeline;
    struct sim_buffer *buffer[SIM_BINDINGS];
    uint64_t offset[SIM_BINDINGS];
    unsigned char bytes[SIM_BINDINGS][SIM_BYTES];
    uint64_t bytes_size[SIM_BINDINGS];
    uint64_t threads;
};

enum sim_item_kind { SIM_COPY, SIM_FILL, SIM_SYNCHRONIZE, SIM_DISPATCH, SIM_WAIT, SIM_SIGNAL };

/* One thing to carry out. Commands of one encoder have one number. */
struct sim_item {
    enum sim_item_kind kind;
    unsigned encoder;
    void *dst, *src; /* buffers; the event */
    uint64_t dst_offset, src_offset, size, value;
    struct sim_dispatch *dispatch;
};

struct sim_queue {
    struct sim_object object;
    struct sim_device *device;
    struct sim_worker *worker;
    uint64_t maximum, out, uncommitted;
    bool computed, blit_only; /* what was committed: kernels; blits alone, since the kernels */
};

enum sim_status {
    SIM_NOT_ENQUEUED = 0,
    SIM_COMMITTED = 2,
    SIM_SCHEDULED = 3,
    SIM_COMPLETED = 4,
    SIM_FAILED = 5
};

enum { SIM_HANDLERS = 4 };

struct sim_commands {
    struct sim_object object;
    struct sim_queue *queue;
    enum sim_status status;
    bool retains, handlers_done;
    void **kept; /* what a command buffer that retains holds until its work is done */
    size_t kept_count;
    void *open_encoder;
    unsigned encoders;
    struct sim_item *items;
    size_t item_count, item_capacity;
    mtl_block handlers[SIM_HANDLERS];
    unsigned handler_count;
    struct sim_error *error;
    int fail_code; /* to fail with; 0: none */
    bool last;     /* and the device is gone then */
    double start, end;
    struct sim_commands *next; /* in a worker's list, or that of the completed */
};

struct sim_encoder {
    struct sim_object object;
    struct sim_commands *commands;
    unsigned number;
    bool ended;
    struct sim_dispatch bound; /* compute */
};

extern const struct sim_method sim_queue_methods[], sim_commands_methods[];
extern const struct sim_method sim_blit_methods[], sim_compute_methods[];
void sim_queue_dealloc(struct sim_object *object);
void sim_commands_dealloc(struct sim_object *object);
void sim_encoder_dealloc(struct sim_object *object);
mtl_id sim_queue_new(struct sim_device *device, uint64_t maximum);
void *sim_block_copy(mtl_block block, const char *signature); /* NULL, and a breach: a bad one */

/* Appends to the command buffer; also the encoders' files use it. */
struct sim_item *sim_append(struct sim_commands *commands, enum sim_item_kind kind);
struct sim_commands *sim_encoding(struct sim_encoder *encoder, const char *what);
void sim_keep(struct sim_commands *commands, void *object);

struct sim_event;
struct sim_listener;

/* --- carrying out (sim_execute.c) ------------------------------------------------------------- */

struct sim_worker *sim_worker_start(void);
void sim_worker_stop(struct sim_worker *worker);
void sim_commit(struct sim_commands *commands);
bool sim_on_handler_thread(void);
void sim_notify_later(mtl_block block, struct sim_listener *listener, struct sim_event *event,
                      uint64_t value); /* locked */
void sim_stop_threads(void);           /* all work is done */

/* --- events (sim_event.c) --------------------------------------------------------------------- */

struct sim_event {
    struct sim_object object;
    struct sim_device *device;
    uint64_t value, promised; /* promised: the highest whose signal is committed */
};

/* What is asked for waits at the listener's port, also when its event is gone. */
struct sim_listener {
    struct sim_object object;
    struct sim_notification *notifications;
    unsigned pending; /* those, and the ones on their way */
    struct sim_listener *next;
};

extern const struct sim_method sim_listener_class_methods[];
void sim_listener_dealloc(struct sim_object *object);
mtl_id sim_plain_event_new(struct sim_device *device);
extern const struct sim_method sim_plain_event_methods[];

extern const struct sim_method sim_event_methods[];
void sim_event_dealloc(struct sim_object *object);
mtl_id sim_event_new(struct sim_device *device);
void sim_event_raise(struct sim_event *event, uint64_t value);

/* --- residency sets, the process (sim_residency.c) --------------------------------------------- */

struct sim_residency {
    struct sim_object object;
    struct sim_device *device;
    struct sim_buffer **now, **next; /* each retained: as committed, and as told since */
    size_t now_count, next_count;
};

extern const struct sim_method sim_descriptor_class_methods[], sim_residency_methods[];
extern const struct sim_method sim_process_class_methods[], sim_process_methods[];
mtl_id sim_residency_new(struct sim_device *device, mtl_id descriptor, mtl_id *error);
void sim_residency_dealloc(struct sim_object *object);

/* --- kernels (sim_kernel.c) ------------------------------------------------------------------- */

struct sim_pipeline {
    struct sim_object object;
    struct sim_device *device;
    int kernel;
};

void sim_run_dispatch(const struct sim_dispatch *dispatch);

extern const struct sim_method sim_library_methods[], sim_pipeline_methods[];
mtl_id sim_library_new(struct sim_device *device, mtl_id source, mtl_id *error);
mtl_id sim_pipeline_new(struct sim_device *device, mtl_id function, mtl_id *error);
void sim_owned_dealloc(struct sim_object *object); /* of what holds only its device, at its start */

#endif
