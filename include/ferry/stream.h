/*
 * Operations whose host side is a stream: bytes that come from, or go to, something that Ferry does
 * not know, such as a network. A stream fills or drains chunks of staging memory, which the device
 * can reach, so nothing is copied on the way. Read ferry/ferry.h first; docs/streams.md shows a
 * whole stream. Copies from and to files are streams of Ferry's own.
 *
 * A stream is a table of functions and a pointer of yours. Ferry calls the functions from any
 * thread, several at once, and under no lock. They must not block for long, and must not call a
 * function that waits for an operation. Everything else is allowed in them, including the functions
 * below.
 *
 *   receive: begin -> want -> chunk(fill it) -> done -> ... -> end      a source, into a buffer
 *   send:    begin -> want -> chunk(take it) -> done -> ... -> end      a sink, out of a buffer
 */
#ifndef FERRY_STREAM_H
#define FERRY_STREAM_H

#include <ferry/ferry.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One operation whose host side is a stream: valid until end() has returned. */
typedef struct ferry_stream ferry_stream;

/* Staging memory for one part of the operation: yours from chunk() until ferry_stream_done. */
struct ferry_stream_chunk {
    void *memory;
    size_t size;
    uint64_t at; /* where it lies in the operation, counted from 0 */
    /* The memory that contains it, to register once with a device of yours. Another id stands for
     * other memory, even if it has the same address. */
    void *allocation;
    size_t allocation_size;
    uint64_t allocation_id;
    uint64_t reserved[2];
};

#define FERRY_STREAM_VERSION 1

/* All bytes are there from the beginning: chunks come without ferry_stream_want. */
#define FERRY_STREAM_EAGER 1u
/* A chunk may be the buffer's own memory, if the CPU can reach it: allocation is NULL then. */
#define FERRY_STREAM_STRAIGHT 2u

struct ferry_stream_methods {
    uint32_t version; /* FERRY_STREAM_VERSION */
    uint32_t flags;   /* of FERRY_STREAM_ */
    uint32_t depth;   /* the most chunks at once; 0: 2. More than 32 counts as 32 */
    /* A power of two of at most 4096; 0: 1. memory and at have the same remainder modulo block, and
     * the bytes around a chunk, up to the next multiple of block on both sides, are yours too. */
    uint32_t block;
    /* It is this operation's turn on its bytes: ferry_stream_want may be called. Nothing is held
     * before. May be NULL. */
    void (*begin)(void *user, ferry_stream *stream);
    /* A source must fill the chunk, a sink takes its bytes. Answer with ferry_stream_done, in any
     * order, and inside this call if you like. Chunks of a source come in order, those of a sink
     * not always: look at chunk->at. */
    void (*chunk)(void *user, ferry_stream *stream, const struct ferry_stream_chunk *chunk);
    /* The operation will not continue: it was cancelled, or its device is lost or is being closed.
     * Give back all chunks soon, with any status; one more may come while this runs. Not called
     * after ferry_stream_fail. Called at most once, and never before begin. */
    void (*cancel)(void *user, ferry_stream *stream, enum ferry_status status, const char *why);
    /* The last call, exactly once for each operation that got a ticket, even without begin: all
     * chunks are back. It may come before or after the operation's callback. May be NULL. */
    void (*end)(void *user, enum ferry_status status);
    uint64_t reserved[4]; /* zero */
};

/* ---------------------------------------------------------------------------------------------
 * Operations. They are asynchronous: they never wait for the stream. They take their place in the
 * order as any copy does, and hold it until the stream has ended. The methods are read during the
 * call. Closing the device first cancels the operations in flight.
 * --------------------------------------------------------------------------------------------- */

FERRY_CHECK enum ferry_status ferry_stream_receive(ferry_buffer *dst, size_t size, size_t offset,
                                                   const struct ferry_stream_methods *methods,
                                                   void *stream_user, ferry_callback cb, void *user,
                                                   ferry_ticket *out_ticket);
FERRY_CHECK enum ferry_status ferry_stream_send(ferry_buffer *src, size_t size, size_t offset,
                                                const struct ferry_stream_methods *methods,
                                                void *stream_user, ferry_callback cb, void *user,
                                                ferry_ticket *out_ticket);

/* Ends an operation of this device with IO and this message. If it has not begun, it ends at once:
 * its ticket, its callback and end() need not wait for what is before it. Otherwise it ends once
 * its chunks are back. Its bytes keep their place in the order until its turn. OK also if the
 * operation has already ended. INVALID_ARGUMENT: the ticket does not belong to a stream. */
FERRY_CHECK enum ferry_status ferry_stream_cancel(ferry_device *device, ferry_ticket ticket,
                                                  const char *why);

/* ---------------------------------------------------------------------------------------------
 * Functions that a stream calls: from any thread, between begin and end. None of them blocks.
 * --------------------------------------------------------------------------------------------- */

/* Asks for one more chunk, the next in order, of at most size bytes: chunk() is called with it once
 * staging is free, on any thread. It may be shorter. INVALID_ARGUMENT: size is 0. POOL_EXHAUSTED:
 * 64 have been asked for already. Requests beyond the operation's last byte have no effect. */
FERRY_CHECK enum ferry_status ferry_stream_want(ferry_stream *stream, size_t size);

/* The chunk is filled, or its bytes are taken: it belongs to Ferry again. moved: how many bytes
 * from its beginning on. If moved is less than chunk->size, or status is not OK, the operation
 * fails with that status (IO if it is OK) and this message. The operation may be done before this
 * returns; do not close the device until it has. */
FERRY_API void ferry_stream_done(ferry_stream *stream, const struct ferry_stream_chunk *chunk,
                                 size_t moved, enum ferry_status status, const char *why);

/* The rest will not come, or is not wanted: the operation ends with this status once all chunks are
 * back. The first failure counts. Statuses: IO, INVALID_ARGUMENT, OUT_OF_HOST_MEMORY, INTERNAL; any
 * other is reported as INTERNAL. */
FERRY_API void ferry_stream_fail(ferry_stream *stream, enum ferry_status status, const char *why);

/* Has it failed, or was it cancelled? If so, transfers still on the way need not continue. */
FERRY_API bool ferry_stream_over(const ferry_stream *stream);

/* ---------------------------------------------------------------------------------------------
 * For libraries that carry streams.
 * --------------------------------------------------------------------------------------------- */

/* The size in bytes of this device's largest chunk; 0: there was no memory to find out. */
FERRY_API size_t ferry_stream_chunk_max(ferry_device *device);

/* Sets this thread's ferry_last_error(), and returns status. */
FERRY_API enum ferry_status ferry_stream_error(enum ferry_status status, const char *why);

/* OK; in a callback IN_CALLBACK. For functions that wait; the message is "WHAT waits ...". */
FERRY_CHECK enum ferry_status ferry_stream_in_callback(const char *what);

/* What a stream did for an operation, and when: an event of its own on the device's track "streams"
 * of a trace (FERRY_TRACE). name is cut at 15 bytes, words at 111. */
struct ferry_stream_event {
    const char *name, *words;  /* "send", "tag 1 to node-2" */
    uint64_t begin_ns, end_ns; /* CLOCK_MONOTONIC */
    ferry_ticket ticket;       /* 0: none */
    enum ferry_status status;
    uint64_t reserved[4]; /* zero */
};

/* Is there a trace? If not, ferry_stream_trace does nothing. Call both only until end() has
 * returned. */
FERRY_API bool ferry_stream_traced(ferry_device *device);
FERRY_API void ferry_stream_trace(ferry_device *device, const struct ferry_stream_event *event);

/* Sends a message to the user's log function. */
FERRY_API void ferry_stream_log(enum ferry_log_level level, const char *words);

#ifdef __cplusplus
}
#endif

#endif
