/*
 * A strict libcuda on the CPU: what tests set and ask.
 *
 * The library stands in for libcuda.so.1: name it in FERRY_CUDA_LIBRARY and the driver loads it. It
 * does the work for real, late and on a thread for each stream, keeps device memory out of the
 * host's reach, and calls every breach of CUDA's rules, or of Ferry's promises about CUDA, by its
 * number in the list below.
 *
 * STRICTCUDA holds its options, read whenever a primary context is retained, such as
 * "devices=2,delay=20,fail_alloc=3" (config.c has the names).
 */
#ifndef STRICTCUDA_H
#define STRICTCUDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STRICTCUDA_API __attribute__((visibility("default")))

/* IMITATED: it does what CUDA may do. All others are breaches. */
enum strictcuda_rule {
    STRICTCUDA_INIT = 1,         /* nothing before cuInit, nothing in a forked child */
    STRICTCUDA_CONTEXT = 2,      /* a context is current; what is used belongs to it */
    STRICTCUDA_RETAIN = 3,       /* it is retained, and released no more often than that */
    STRICTCUDA_BALANCE = 4,      /* pops match pushes; none is current when the last is released */
    STRICTCUDA_CAPTURE = 5,      /* while others capture, unsafe calls only in relaxed mode; nothing
                                    is put into a stream that captures */
    STRICTCUDA_MODE = 6,         /* a thread leaves its context with the mode it came with */
    STRICTCUDA_HANDLE = 7,       /* streams, events, modules and functions are alive */
    STRICTCUDA_RANGE = 8,        /* device addresses lie in one live allocation, all their bytes */
    STRICTCUDA_PAGEABLE = 9,     /* asynchronous copies use page-locked memory; else they read at
                                    the call or late: IMITATED */
    STRICTCUDA_READ_ONLY = 10,   /* memory registered for reading only is not written */
    STRICTCUDA_BUSY_MEMORY = 11, /* memory in use is not freed, unregistered or unmapped */
    STRICTCUDA_BUSY_OBJECT = 12, /* nor are streams with work, nor events that are waited for */
    STRICTCUDA_LEGACY = 13,      /* no work in the legacy stream, no stream that blocks on it */
    STRICTCUDA_UNRECORDED = 14,  /* no event is waited for or asked that was never recorded */
    STRICTCUDA_TIMING = 15,      /* times are asked of two ended events that have them */
    STRICTCUDA_RACE = 16,        /* work on the same bytes, one writing, is ordered */
    STRICTCUDA_BATCH = 17,       /* batches: at most 4096, attributes right, nothing overlaps */
    STRICTCUDA_LAUNCH = 18,      /* launches: a known kernel, sizes that devices have */
    STRICTCUDA_EMPTY = 19,       /* nothing of 0 bytes, no NULL where there must be none */
    STRICTCUDA_LEAK = 20,        /* at the last release nothing is left */
    STRICTCUDA_ALIGNMENT = 21,   /* fills with words at multiples of words */
    STRICTCUDA_FREE_WAITS = 22,  /* freeing waits for all work, the user's too: IMITATED */
    STRICTCUDA_STICKY = 23,  /* after a fault every call says so; its events never come: IMITATED */
    STRICTCUDA_VIRTUAL = 24, /* mapped, reached and unmapped whole, in whole granules; the
                                   address is given back after that */
    STRICTCUDA_DESCRIPTOR = 25, /* descriptors are open, and CUDA's from an import of external
                                   memory on, whose buffers go before it */
    STRICTCUDA_PEER = 26, /* copies between devices are of those that were let reach each other */
    STRICTCUDA_RULES
};

/* Breaches are counted from now on (true), or the first one aborts. */
STRICTCUDA_API void strictcuda_record(bool record);
STRICTCUDA_API uint64_t strictcuda_breaches(enum strictcuda_rule rule);
STRICTCUDA_API void strictcuda_forget(void); /* counts begin at 0 again */
STRICTCUDA_API const char *strictcuda_last_breach(void);

/* The n-th call of a function from now on (1: the next) fails with this error, once. */
STRICTCUDA_API void strictcuda_fail(const char *function, unsigned error, uint64_t n);
/* Whether it has come to that. */
STRICTCUDA_API bool strictcuda_failed(void);
/* How often it was called, all in all. */
STRICTCUDA_API uint64_t strictcuda_calls(const char *function);

/* Registrations that ended when their memory, or a part of it, was unmapped already. */
STRICTCUDA_API uint64_t strictcuda_unmapped(void);

/* The current context's work faults now: this error sticks. */
STRICTCUDA_API void strictcuda_fault(unsigned error);

/* As if a kernel of the user's ran, until false: freeing waits for it. */
STRICTCUDA_API void strictcuda_hold(bool hold);
/* Frees that wait now. */
STRICTCUDA_API unsigned strictcuda_waiting(void);
/* Streams do no work, until false. */
STRICTCUDA_API void strictcuda_pause(bool pause);

/* As if another thread captured a graph in global mode. */
STRICTCUDA_API void strictcuda_capture(bool capture);

/* As if this stream of the user's captured a graph. */
STRICTCUDA_API void strictcuda_capture_stream(void *stream, bool capture);

/* Memory of the user's own, on the first device. Device and managed memory: by address. */
enum strictcuda_memory { STRICTCUDA_DEVICE, STRICTCUDA_HOST, STRICTCUDA_MANAGED };
STRICTCUDA_API uint64_t strictcuda_alloc(enum strictcuda_memory kind, size_t size);
/* Several of the device's, which lie end to end and yet are allocations of their own, in whole pages
 * each. */
STRICTCUDA_API void strictcuda_alloc_row(size_t size, uint64_t *out_addresses, size_t count);
STRICTCUDA_API void strictcuda_free(uint64_t address);
/* The store of device memory, to look at. */
STRICTCUDA_API unsigned char *strictcuda_bytes(uint64_t address);

/* A descriptor of another API's memory of this device, as Vulkan exports it. */
STRICTCUDA_API int strictcuda_external(size_t size);

/* Forgets all that is left, as a new process would: nothing of it may be in use. */
STRICTCUDA_API void strictcuda_reset(void);

/* Live allocations, registrations, streams, events and modules. */
STRICTCUDA_API size_t strictcuda_live(void);

#endif
