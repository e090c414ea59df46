/*
 * What makes this driver one for tests: it takes on the limits, ways and failures of other devices,
 * and checks what driver.h promises to a driver. A driver of a real device has nothing of this.
 */
#ifndef FERRY_HOST_IMITATION_H
#define FERRY_HOST_IMITATION_H

#include "driver.h"

#include <stdatomic.h>

struct host_device;
struct host_event;
struct host_memory;
struct host_queue;
struct host_submission;
struct host_command;

/* --- knobs (knobs.c) -------------------------------------------------------------------------- */

enum host_knob {
    HOST_ALIGN,
    HOST_FILL_PATTERN,
    HOST_KERNEL,
    HOST_LATE_KERNEL,
    HOST_KERNEL_FROM,
    HOST_BLOCKS,
    HOST_BLOCK_SIZE,
    HOST_BLOCKS_COPY_FROM,
    HOST_MAX_COPY,
    HOST_MAX_ALLOCATION,
    HOST_NO_IMPORT,
    HOST_IMPORT_COSTLY,
    HOST_IMPORT_FAIL,
    HOST_NO_MAP,
    HOST_NONCOHERENT,
    HOST_ZERO_OFF,
    HOST_MEMORY,
    HOST_QUEUES,
    HOST_DELAY_US,
    HOST_OUT_OF_ORDER,
    HOST_FAIL_ALLOC,
    HOST_FAIL_SUBMIT,
    HOST_FAIL_EXEC,
    HOST_FAIL_EVERY,
    HOST_LOSE_AT,
    HOST_SEED,
    HOST_DEVICES,
    HOST_EVENTS,
    HOST_PEERS,
    HOST_KNOB_COUNT
};

/* Those that count may be changed on an open device. */
struct host_knobs {
    _Atomic uint64_t value[HOST_KNOB_COUNT];
};

void ferry__host_knobs_default(struct host_knobs *knobs);

static inline uint64_t ferry__host_knob(const struct host_knobs *knobs, enum host_knob which)
{
    return atomic_load(&knobs->value[which]);
}

/* Reads a list such as "align=4,no_map"; NULL: nothing. false: why says what is wrong with it. */
bool ferry__host_knobs_parse(struct host_knobs *knobs, const char *text, char *why);

/* The number of a knob that may change on an open device; HOST_KNOB_COUNT: there is none. */
enum host_knob ferry__host_knob_live(const char *name);

/* Are both devices to be peers? (knobs.c) */
bool ferry__host_reaches(void *state, void *other);

/* --- failures and luck (faults.c) ------------------------------------------------------------- */

/* Counts a call: is it the one that this knob makes fail? */
bool ferry__host_fires(struct host_device *device, enum host_knob knob);
uint64_t ferry__host_random(uint64_t *seed);
enum ferry_status ferry__host_submit_admit(struct host_device *device, size_t count, char *why);
void ferry__host_fail_later(struct host_device *device, struct host_submission *s);

/* The lock is held: begins the loss; and ends all submissions, once no thread copies any more. */
void ferry__host_lose_locked(struct host_device *device);
void ferry__host_finish_loss(struct host_device *device);

/* --- other devices' limits and ways (imitation.c) --------------------------------------------- */

uint64_t ferry__host_memory_of(const struct host_knobs *knobs);
uint64_t ferry__host_allocation_max(const struct host_knobs *knobs);
uint32_t ferry__host_queues_of(const struct host_knobs *knobs);
enum ferry_status ferry__host_limits(struct host_device *device,
                                     const struct ferry__open_params *params, char *why);

/* Kernels that are there after they were asked for often enough, or waited for. */
bool ferry__host_kernels(void *state, uint64_t timeout_ns);
void ferry__host_hold_back(struct host_queue *queue);
void ferry__host_imitate(struct host_queue *queue, struct host_submission *s);

/* --- what is allocated (account.c) ------------------------------------------------------------ */

/* May so much be had, or imported, at all? */
enum ferry_status ferry__host_memory_admit(struct host_device *device, uint64_t size, char *why);
enum ferry_status ferry__host_import_admit(struct host_device *device, const void *host,
                                           uint64_t size, char *why);
/* Enters it in the device's account. false: it is over what is free. */
bool ferry__host_memory_enter(struct host_device *device, struct host_memory *memory, char *why);
/* Its owner's reference; it is released with the last. */
void ferry__host_memory_leave(struct host_device *device, struct host_memory *memory);
/* Those of a submission's commands; the lock is held. */
void ferry__host_memory_hold(struct host_submission *s);
void ferry__host_memory_let_go(struct host_device *device, struct host_submission *s);
uint64_t ferry__host_memory_available(void *state);
void ferry__host_memory_finish(struct host_device *device); /* frees what was forgotten */

/* --- what peers read (borrow.c) --------------------------------------------------------------- */

/* command reads a peer's memory, from now on until it gives it back. */
void ferry__host_borrow(struct host_command *command);
void ferry__host_give_back(struct host_command *command);
/* Does it write what a peer is reading? NULL: no; else it is to end with these words. */
const char *ferry__host_check_borrowed(const struct host_submission *s);
/* Does it read of a peer what that is writing? Likewise; under no lock. */
const char *ferry__host_check_owners(const struct host_submission *s);

/* --- memory that is not coherent, or not zeroed (views.c) ------------------------------------- */

/* What the knobs add to memory: a view for the host, if it may have one. false: no memory. */
bool ferry__host_view_make(struct host_device *device, struct host_memory *memory, bool may);
enum ferry_status ferry__host_flush(void *state, const struct ferry__memory *memory,
                                    uint64_t offset, uint64_t size);
enum ferry_status ferry__host_invalidate(void *state, const struct ferry__memory *memory,
                                         uint64_t offset, uint64_t size);

/* --- events for external work (external.c) ---------------------------------------------------- */

enum ferry_status ferry__host_event_create(void *state, uint64_t *out_event, char *why);
void ferry__host_event_destroy(void *state, uint64_t event);
void ferry__host_event_raise(void *state, uint64_t event, uint64_t value);
void ferry__host_events_finish(struct host_device *device);
/* The event of this handle, or NULL; the lock is held. */
struct host_event *ferry__host_event_find(struct host_device *device, uint64_t event);

/* --- what driver.h promises to a driver, checked (contract.c) --------------------------------- */

uint64_t ferry__host_address(const struct ferry__memory *handle);

/* Logs a breach of the contract. Returns INTERNAL. */
enum ferry_status ferry__host_breach(const char *why);

/* Looks a submission's commands up, checks them, and decides what the knobs do to it. One that
 * breaks the contract is to end at once, with words. OK, or OUT_OF_HOST_MEMORY. */
enum ferry_status ferry__host_take_in(struct host_queue *queue,
                                      const struct ferry__submission_info *info,
                                      struct host_submission *s, char *why);
/* Do those between two barriers touch nothing of each other's? As above. */
enum ferry_status ferry__host_check_barriers(const struct host_command *commands, size_t count,
                                             char *why);
/* What cannot even end: there is no queue, no result or no value for it. */
bool ferry__host_is_hopeless(struct host_device *device, const struct ferry__submission_info *info,
                             char *why);
/* The waits and the value, which need the lock. NULL: good; else it is to end with these words. */
const char *ferry__host_check_order(struct host_queue *queue, struct host_submission *s);
/* Does a submission that has not ended wait for it? The lock is held. */
bool ferry__host_is_awaited(struct host_device *device, uint64_t event);
/* At close: how many of them the layers above forgot. */
void ferry__host_check_left(const char *what, uint64_t count, uint64_t bytes);

#endif
