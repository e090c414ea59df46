/*
 * A strict simulator of Metal for Linux: what tests set and ask. docs/metal.md, "The simulator".
 *
 * The library stands in for libobjc, Foundation and Metal: name it in FERRY_METAL_LIBRARIES and the
 * driver loads it in their place. It does the work for real, late and on its own threads, and
 * calls every breach of Metal's rules by its number in the list below.
 *
 * A program that only names it configures it by the environment variable METALSIM, a list like
 * "amd,disorder,fail_exec=3" (sim_knobs.c has the names). At its end live objects are an error.
 */
#ifndef METALSIM_H
#define METALSIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METALSIM_API __attribute__((visibility("default")))

enum metalsim_machine {
    METALSIM_APPLE,       /* Apple GPU: unified memory, 16 KiB pages for imports */
    METALSIM_INTEL,       /* integrated Intel: unified, 4 KiB pages */
    METALSIM_AMD,         /* discrete: no imports of shared memory */
    METALSIM_PARAVIRTUAL, /* a virtual Mac: unified; before macOS 15 imports of files are stale */
    METALSIM_MACHINES
};

/* The rules of Metal that it enforces or imitates. */
enum metalsim_rule {
    METALSIM_ALIGNMENT = 1,   /* copies and fills in multiples of 4 */
    METALSIM_RANGE = 2,       /* not empty, in bounds, ranges as (location, length) */
    METALSIM_TRUNCATION = 3,  /* a copy of 4 GiB or more is cut to 32 bits: imitated, counted */
    METALSIM_OVERLAP = 4,     /* source and destination of a copy overlap */
    METALSIM_STORAGE = 5,     /* contents of private, or synchronising what is not managed */
    METALSIM_MANAGED = 6,     /* two stores for managed memory: imitated; what is lost by that */
    METALSIM_IMPORT = 7,      /* imports in whole pages, mapped for as long as the buffer lives */
    METALSIM_OBJECTS = 8,     /* retain counts, pools on every thread, no message to the dead */
    METALSIM_STATE = 9,       /* the order of calls on command buffers and encoders */
    METALSIM_QUEUE_FULL = 10, /* all command buffers of a queue are out and none is committed */
    METALSIM_ORDER = 11,      /* late, completed in any order; untracked unordered: imitated */
    METALSIM_LIFETIME = 12,   /* a buffer of an unretained command buffer died before its work */
    METALSIM_FAILURE = 13,    /* failed command buffers: partial work, no signal: injected */
    METALSIM_NIL = 14,        /* constructors that give nil: injected */
    METALSIM_DEVICE = 15,     /* objects of another device, methods that this Metal does not have */
    METALSIM_TYPES = 16,      /* encodings, and garbage in the unused part of registers: imitated */
    METALSIM_BLOCK = 17,      /* flags, description and signature of a block */
    METALSIM_COUNTS = 18,     /* how many of what: metalsim_counts */
    METALSIM_THREADS = 19,    /* one thread at a time in a command buffer and its encoders */
    METALSIM_FORK = 20,       /* nothing in a child of the process that loaded Metal */
    METALSIM_BLIT_ONLY = 21,  /* Apple GPUs: no command buffer of blits alone between kernels' */
    METALSIM_RESIDENCY = 22,  /* what a residency set is told takes effect at its commit */
    METALSIM_UNSIGNALLED = 23, /* an MTLEvent is waited for after its signal was committed: else a
                                  command buffer waits for what the host does, or reads, before */
    METALSIM_RULES
};

/* An option of newBufferWithLength: that only the simulator has: the buffer is a heap's. */
#define METALSIM_OPTION_HEAP 0x10000u

enum metalsim_import {
    METALSIM_IMPORT_AS_MACHINE,
    METALSIM_IMPORT_NIL,
    METALSIM_IMPORT_LENGTH_0,
    METALSIM_IMPORT_STALE,       /* accepted; the GPU reads what it read first, for ever */
    METALSIM_IMPORT_LOST,        /* accepted; what the GPU writes never comes to the host */
    METALSIM_IMPORT_STALE_FILES, /* STALE, but only of mapped files */
};

struct metalsim_config {
    enum metalsim_machine machine;
    unsigned devices;     /* 0: 1 */
    bool record;          /* breaches are counted; else the first one aborts */
    bool loose_alignment; /* Apple GPUs as they are: any offset and size */
    bool no_shared;       /* discrete: shared buffers are nil */
    bool loose_blits;     /* blits alone between kernels, and no hang: who measures, or has luck */
    bool no_residency;    /* residency sets are nil */
    unsigned macos;       /* its major version; 0: 15 */
    bool disorder;        /* command buffers of a queue complete in any order */
    enum metalsim_import import;
    uint64_t memory;       /* recommendedMaxWorkingSetSize, and all there is; 0: 8 GiB */
    uint64_t max_buffer;   /* maxBufferLength; 0: 4 GiB */
    uint64_t resources;    /* live buffers at most: the next is nil; 0: any number */
    unsigned delay_us;     /* at most before a command buffer runs; 0: 50 */
    uint64_t seed;         /* 0: 1 */
    const char *hidden[4]; /* selectors that this Metal does not have */
    const char *retyped;   /* this selector has encoding in place of its own */
    const char *encoding;
    bool bad_kernels;    /* newLibraryWithSource fails */
    bool hung_compiler;  /* newLibraryWithSource does not return before metalsim_end_hang */
    bool twins;          /* all devices are one GPU, seen through several objects */
    bool foreign_errors; /* of failing command buffers, in a domain that is not their own */
};

/* Since the last reset. */
struct metalsim_counts {
    uint64_t messages, constructors, command_buffers, commits, blit_encoders, compute_encoders;
    uint64_t copies, fills, synchronizes, dispatches, waits, signals, imports, did_modifies;
    uint64_t plain_signals, plain_waits; /* of events that are not shared; not among signals */
    uint64_t libraries;                  /* that the compiler was asked for */
    uint64_t residency_sets, residency_commits, resident; /* resident: buffers, now */
    uint64_t bytes, truncations, lowered, handlers, disposed, kernel_threads;
    uint64_t most_out; /* command buffers of one queue, made and not completed, at once */
    uint64_t live_objects, live_buffers; /* now, without the devices */
    uint64_t breaches[METALSIM_RULES];
};

/* Starts anew: nothing of Metal's may be in use. Returns the number of objects that were alive. */
METALSIM_API uint64_t metalsim_reset(const struct metalsim_config *config);
METALSIM_API void metalsim_get_counts(struct metalsim_counts *out);
METALSIM_API const char *metalsim_last_breach(void);

/* The n-th constructor from now on (1: the next) gives nil, once. 0: none. */
METALSIM_API void metalsim_fail_constructor(uint64_t n);

/* The n-th command buffer committed from now on ends with this NSError code after a part of its
 * work, and so do the next victims ones. */
METALSIM_API void metalsim_fail_commands(uint64_t n, int code, unsigned victims);

METALSIM_API void metalsim_end_hang(void);

/* From now on who retains an object naps for so long first. 0: nobody does. */
METALSIM_API void metalsim_slow_retain(unsigned us);

/* Writes a line for each live object to stderr. */
METALSIM_API void metalsim_print_live(void);

/* As if a thread were inside a method of this command buffer or encoder, until leave. */
METALSIM_API void metalsim_enter(void *object);
METALSIM_API void metalsim_leave(void *object);

/* The GPU's own view of a buffer, to look at private memory in tests. Call close after it. */
METALSIM_API unsigned char *metalsim_open(void *buffer);
METALSIM_API void metalsim_close(void *buffer);

#endif
