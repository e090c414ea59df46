/* What the files of the host driver share. */
#ifndef FERRY_HOST_INTERNAL_H
#define FERRY_HOST_INTERNAL_H

#include "base/base.h"
#include "base/list.h"
#include "host.h"
#include "imitation.h"

/* --- objects ---------------------------------------------------------------------------------- */

/* A value that only grows. Its handle is its address. */
struct host_event {
    struct host_event *next;
    struct host_device *device;
    _Atomic uint64_t value; /* written under the device's lock */
    uint64_t submitted;     /* of a queue: the value of its last submission */
    bool of_queue;
    bool dead; /* destroyed while a submission waited for it: freed at close */
};

struct host_memory {
    struct ferry__link link;
    unsigned char *bytes; /* what the device reads and writes */
    unsigned char *view;  /* what the host reads and writes, where that is not bytes; else NULL */
    uint64_t size;
    uint64_t mapped;     /* bytes of each mapping */
    uint64_t references; /* its owner and the commands in flight */
    struct host_device *device;
    _Atomic uint64_t borrowed;   /* by commands in flight on peers */
    pthread_mutex_t borrow_lock; /* guards borrows; a leaf */
    struct ferry__list borrows;  /* those commands */
    bool imported;
    bool has_fd; /* it is shared with others */
    int fd;
    bool read_only; /* an import that no command may write */
    bool budgeted;  /* counts against the device's memory */
    char label[32];
};

/* A command with its addresses looked up. */
struct host_command {
    struct host_memory *dst, *src, *list; /* src: NULL for a fill; list: of blocks, else NULL */
    unsigned char *to;
    const unsigned char *from; /* NULL for a fill */
    const struct ferry__block_entry *blocks;
    uint32_t block_count, block_first; /* which is done first */
    uint64_t to_span, from_span;       /* what is touched there at most */
    struct ferry__link borrow;         /* of src->borrows, where src is a peer's */
    uint64_t size;
    bool barrier;
    uint8_t pattern_size;
    uint8_t pattern[FERRY__PATTERN_MAX];
};

struct host_submission {
    struct host_submission *next; /* in its queue */
    uint64_t number;              /* counts the submissions of the device, from 1 on */
    uint64_t value;
    struct ferry__result *result;
    uint64_t delay_ns;
    uint64_t stop_after; /* bytes; then it has failed, or the device is lost */
    enum ferry_status outcome;
    char why[FERRY__WHY_MAX];
    struct ferry_sync *waits; /* behind the commands, in the same allocation */
    size_t wait_count;
    size_t count;
    struct host_command commands[];
};

struct host_queue {
    struct host_device *device;
    struct host_event event;
    unsigned roles;
    uint64_t random;                      /* of the thread that submits */
    struct host_submission *head, **tail; /* head is the one at work */
    pthread_cond_t work;                  /* there is a head, or the thread is to end */
    pthread_t thread;
    bool started;
};

struct host_device {
    struct host_knobs knobs;
    struct ferry__limits limits;
    bool map_private;
    unsigned process; /* that opened it: a forked child has no threads to join */
    _Atomic uint64_t random;

    pthread_mutex_t lock;   /* guards all below, the queues' lists, and the values of events */
    pthread_cond_t changed; /* an event, a loss, a wake; with out_of_order also a submission */
    struct host_event *events;
    struct ferry__list memories;
    uint64_t used;        /* bytes of budgeted memory */
    uint64_t submissions; /* how many there were */
    unsigned running;     /* queues that copy now, without the lock */
    uint64_t wakes, wakes_seen;
    bool closing;
    atomic_bool losing; /* copies stop as soon as they notice */
    atomic_bool lost;   /* none runs any more, all submissions have ended */
    struct host_queue queues[FERRY__QUEUES_MAX];
};

/* --- entries of the driver, by file ----------------------------------------------------------- */

/* memory.c */
unsigned char *ferry__host_map(uint64_t size); /* zeros; NULL: the system has none */
struct host_memory *ferry__host_memory_make(uint64_t size, const char *label);
void ferry__host_memory_release(struct host_memory *memory); /* what it has of it */
enum ferry_status ferry__host_memory_alloc(void *state, enum ferry__memory_kind use, uint64_t size,
                                           const char *label, struct ferry__memory *out_memory,
                                           char *why);
void ferry__host_memory_free(void *state, struct ferry__memory *memory);
enum ferry_status ferry__host_import(void *state, void *host, uint64_t size, bool read_only,
                                     struct ferry__memory *out_memory, char *why);
extern const struct ferry__sharing ferry__host_sharing; /* share_linux.c, share_macos.c */

/* event.c */
uint64_t ferry__host_completed(void *state, uint64_t event);
void ferry__host_wait_any(void *state, const struct ferry_sync *points, size_t count,
                          uint64_t timeout_ns);
void ferry__host_wake(void *state);

static inline struct host_event *ferry__host_event(uint64_t event)
{
    return (struct host_event *)(uintptr_t)event;
}

/* A value never falls: what is behind it already changes nothing. The lock is held. */
void ferry__host_event_raise_to(struct host_event *event, uint64_t value);

/* Have all been reached? The lock is held. */
bool ferry__host_reached(const struct ferry_sync *points, size_t count);

/* queue.c: a queue's submissions and its thread */
enum ferry_status ferry__host_submit(void *state, const struct ferry__submission_info *info,
                                     char *why);
void ferry__host_queues_finish(struct host_device *device); /* ends the threads */

/* Takes the head off its queue; its result is written, but for the close of a device. The lock is
 * held. */
void ferry__host_end_head(struct host_queue *queue, enum ferry_status status, uint64_t device_ns,
                          const char *why);

/* kernel.c: does a submission's bytes, or as many as it is to do; stops when the device is lost */
void ferry__host_carry_out(struct host_device *device, const struct host_submission *s);

/* list.c */
enum ferry_status ferry__host_list(struct ferry_device_info *infos, size_t capacity,
                                   size_t *out_count, char *why);

#endif
