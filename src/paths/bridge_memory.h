/*
 * A copy between two devices, as its files see it. bridge_submit.c: how it is made, and begins.
 * bridge.c: its halves, and what becomes of the chunks. bridge_memory.c: the memory for them, that
 * counts in both devices' staging.
 */
#ifndef FERRY_PATHS_BRIDGE_MEMORY_H
#define FERRY_PATHS_BRIDGE_MEMORY_H

#include "base/list.h"
#include "driver.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdatomic.h>

struct ferry__op;
struct ferry__submission;
struct ferry_device;

enum ferry__bridge_step {
    FERRY__SLOT_NONE, /* no memory yet, or none is needed */
    FERRY__SLOT_FREE,
    FERRY__SLOT_READING,
    FERRY__SLOT_READ,
    FERRY__SLOT_MERGING,
    FERRY__SLOT_MERGED,
    FERRY__SLOT_WRITING,
};

struct ferry__bridge_slot {
    enum ferry__bridge_step state;
    uint64_t at, size;                   /* the chunk, in all that is copied */
    uint64_t src, dst;                   /* where it lies in the native memories */
    const struct ferry__submission *sub; /* that reads, merges or writes it */
    struct ferry__memory near;           /* staging of the source's device */
    struct ferry__memory far;            /* of the destination's, or near, imported */
};

enum { FERRY__BRIDGE_SLOTS = 2 };

/* Waiting for staging, in the list of one device: by ticket, so that of two bridges none waits for
 * the other on both. */
struct ferry__bridge_wait {
    struct ferry__bridge *bridge;
    struct ferry__op *half;  /* on that device */
    struct ferry__link link; /* of device->bridge_waits */
};

enum ferry__bridge_memory {
    FERRY__BRIDGE_NEEDS, /* staging; not before both halves may begin */
    FERRY__BRIDGE_WAITS, /* in both devices' lists */
    FERRY__BRIDGE_ASKS,  /* it has its part of the budgets, and a thread asks the drivers */
    FERRY__BRIDGE_HAS,
    FERRY__BRIDGE_FAILED,
};

struct ferry__bridge {
    _Atomic unsigned refs;
    struct ferry_device *source, *destination;
    struct ferry__op *read, *write;
    uint64_t src, dst, size, chunk; /* offsets in the native memories, or where blocks count from */
    uint64_t edge;                  /* where the words at the ends lie in far */
    uint64_t near_size, far_size;   /* of a slot */
    bool shared, merges;
    bool peer;                    /* the destination's device copies from the source's memory */
    struct ferry__memory foreign; /* which this is, for it */
    bool by_words;                /* the destination copies whole words */
    bool held;                    /* read and write are, by the bridge */
    _Atomic bool alone;           /* the destination's half could not be registered */
    struct ferry__bridge_slot slots[FERRY__BRIDGE_SLOTS];
    _Atomic int memory; /* changed under both devices' locks, or by the thread that asks */
    unsigned reserved;  /* slots that are in the budgets */
    struct ferry__bridge_wait waits[2]; /* under both locks: the source's, the destination's */
    pthread_mutex_t lock;               /* guards the slots' states and all below; a leaf */
    uint64_t read_at, write_at;
    size_t block;        /* of blocks, the one that is read, */
    uint64_t block_done; /* and so many bytes of it have been */
    enum ferry_status status;
    char why[FERRY__WHY_MAX];
};

extern const struct ferry__op_type ferry__bridge_read_type, ferry__bridge_write_type;

void ferry__bridge_fail(struct ferry__bridge *bridge, enum ferry_status status, const char *why);
/* Of make_bridge: how long the chunks are. */
void ferry__bridge_measure(struct ferry__bridge *bridge);
enum { FERRY__BRIDGE_TOKEN = 16 }; /* bytes read of a chunk that peers copy */
/* Has the bridge its memory? Called by a half that is about to work: takes it, if both may begin,
 * and it is there; else the half is resumed when it may be. False also where it failed. Under no
 * lock. */
bool ferry__bridge_memory(struct ferry__op *half);
/* Gives it back. Under no lock, by the last who holds the bridge; both devices may close then. */
void ferry__bridge_memory_give(struct ferry__bridge *bridge);

void ferry__bridge_lock_both(struct ferry__bridge *bridge);
void ferry__bridge_unlock_both(struct ferry__bridge *bridge);
/* Both, when it is the turn of both halves to take their places. */
void ferry__bridge_lock_in_turn(struct ferry__bridge *bridge);

#endif
