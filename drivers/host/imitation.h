/*
 * What makes this driver one for tests: it takes on the limits, ways and failures of other devices,
 * and checks what driver.h promises to a driver. A driver of a real device has nothing of this.
 */
#ifndef FERRY_HOST_IMITATION_H
#define FERRY_HOST_IMITATION_H

#include "driver.h"

#include <stdatomic.h>

struct host_device;
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

/* --- failures and luck (faults.c) ------------------------------------------------------------- */

/* Counts a call: is it the one that this knob makes fail? */
bool ferry__host_fires(struct host_device *device, enum host_knob knob);
uint64_t ferry__host_random(uint64_t *seed);
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

/* --- what driver.h promises to a driver, checked (contract.c) --------------------------------- */

/* Logs a breach of the contract. Returns INTERNAL. */
enum ferry_status ferry__host_breach(const char *why);

/* Looks a submission's commands up and checks them. OK; INTERNAL, with words in why; or
 * OUT_OF_HOST_MEMORY. */
enum ferry_status ferry__host_check(const struct host_queue *queue,
                                    const struct ferry__submission_info *info,
                                    struct host_command *commands, char *why);
/* Do those between two barriers touch nothing of each other's? As above. */
enum ferry_status ferry__host_check_barriers(const struct host_command *commands, size_t count,
                                             char *why);
/* What cannot even end: there is no queue, no result or no value for it. */
bool ferry__host_is_hopeless(struct host_device *device, const struct ferry__submission_info *info,
                             char *why);
/* The waits and the value, which need the lock. NULL: good. */
const char *ferry__host_check_order(struct host_queue *queue, const struct host_submission *s);
/* Does a submission that has not ended wait for it? The lock is held. */
bool ferry__host_is_awaited(struct host_device *device, uint64_t event);
/* At close: how many of them the layers above forgot. */
void ferry__host_check_left(const char *what, uint64_t count, uint64_t bytes);

#endif
