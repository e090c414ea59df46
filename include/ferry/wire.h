/*
 * Ferry's wire: sends private buffers to other machines and receives them. Read ferry/ferry.h
 * first; its rules apply here. Link libferry_wire. docs/wire.md is the guide and describes every
 * frame of the protocol.
 *
 * UCX moves the bytes: over TCP, over shared memory, or over RDMA if there is any. UCX's library
 * and OpenSSL's libcrypto are loaded when a wire is opened; if one is missing, that is UNSUPPORTED.
 * On each side the bytes go through staging memory, or straight through a buffer that the CPU
 * reaches, so the buffers of every driver can be sent and received.
 *
 * What a secret does and does not do: a connecting program must prove that it knows the secret, but
 * what is sent is neither encrypted nor signed. Use a network that you trust, or WireGuard.
 * SECURITY.md says more.
 */
#ifndef FERRY_WIRE_H
#define FERRY_WIRE_H

#include <ferry/ferry.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An endpoint on the network: it listens, connects, and has its own thread. */
typedef struct ferry_wire ferry_wire;

/* Another wire that this one is connected to. */
typedef struct ferry_peer ferry_peer;

/* A slower transport than you asked for is an error; without this flag it is counted and logged. */
#define FERRY_WIRE_NO_FALLBACK 1u

struct ferry_wire_params {
    /* "HOST:PORT" or "[IPv6]:PORT"; port 0: any free port. NULL: the wire does not listen. */
    const char *listen;
    /* A file (also /dev/fd/3) whose bytes are the secret: 16 to 4096 bytes, not counting one line
     * feed at the end. NULL: no secret; then the wire listens on and connects to loopback addresses
     * of this machine only. */
    const char *secret_file;
    /* UCX's transport names, separated by commas: "tcp", "posix", "rc". NULL: all that UCX finds,
     * except those that need rights over other processes. */
    const char *transports;
    /* UCX's names of the network devices for the bytes, separated by commas: "eth0", "mlx5_0:1".
     * NULL: the interface of the control connection. */
    const char *interface;
    unsigned flags;     /* FERRY_WIRE_ flags */
    unsigned max_peers; /* 0: 1024 */
    /* The most staging that bytes from all peers may occupy at once; each peer has two chunks on
     * top of it. 0: 64 MiB. */
    uint64_t staging_budget;
    /* A peer that is silent for five heartbeats is lost. 0: one second. */
    uint64_t heartbeat_ns;
    /* A transfer that both sides are ready for fails after this long without progress. 0: 30 s. */
    uint64_t stall_ns;
    /* A send fails if the peer does not receive it for this long. 0: 60 s; UINT64_MAX: never. */
    uint64_t match_ns;
    /* "FIRST-LAST": the TCP ports that UCX listens on for the bytes. NULL: any. */
    const char *data_ports;
    uint64_t reserved[7]; /* zero */
};

/* NULL params: all zero. UNSUPPORTED: UCX or libcrypto is missing, or the process is setuid. IO:
 * the wire cannot listen on the address. */
FERRY_CHECK enum ferry_status ferry_wire_open(const struct ferry_wire_params *params,
                                              ferry_wire **out_wire);

/*
 * Says goodbye to all peers, ends everything in flight with IO, and waits about a second for it to
 * end. Closes the handles of the wire's peers too. NULL is allowed. No other call on the wire or
 * its peers may be running. In a callback it does not wait.
 */
FERRY_API void ferry_wire_close(ferry_wire *wire);

/* The address that the wire listens on, with the port that was chosen. Like snprintf: writes at
 * most capacity bytes, the terminating 0 included, and the length without it to *out_size. "" if
 * the wire does not listen. */
FERRY_CHECK enum ferry_status ferry_wire_address(ferry_wire *wire, char *out, size_t capacity,
                                                 size_t *out_size);

/*
 * Connects to a wire that listens, and waits until bytes can be sent. TIMEOUT: this took longer
 * than timeout_ns. IO: nobody is there, or the other side is another program or refuses, and the
 * message says why. In a callback: IN_CALLBACK. Close the peer with ferry_peer_close.
 */
FERRY_CHECK enum ferry_status ferry_wire_connect(ferry_wire *wire, const char *address,
                                                 uint64_t timeout_ns, ferry_peer **out_peer);

/* Returns the next peer that has connected, and waits until there is one. TIMEOUT: none came in
 * time. In a callback: IN_CALLBACK. */
FERRY_CHECK enum ferry_status ferry_wire_accept(ferry_wire *wire, uint64_t timeout_ns,
                                                ferry_peer **out_peer);

/* Says goodbye and ends everything in flight with IO. Does not wait. NULL is allowed. */
FERRY_API void ferry_peer_close(ferry_peer *peer);

struct ferry_peer_info {
    char address[64];     /* of the other side */
    char interface[64];   /* UCX's network devices */
    char transports[128]; /* those that carry the bytes: "posix", "tcp" */
    char reason[256];     /* why the peer is gone; "" while it is there */
    bool there;
    bool fallback;    /* the transport is slower than the one asked for */
    uint32_t version; /* of the protocol */
    uint64_t bytes_sent, bytes_received;
    uint64_t reserved[8];
};

FERRY_API void ferry_peer_get_info(ferry_peer *peer, struct ferry_peer_info *out_info);

/* ---------------------------------------------------------------------------------------------
 * Sends and receives
 *
 * A send meets the peer's receive of the same tag: the first send meets the first receive.
 * Different tags are independent. The sizes must be equal, else both fail with INVALID_ARGUMENT.
 * Either may come first: a send waits for match_ns, a receive until it is cancelled. Each takes its
 * place in the order of its buffer like any operation, and what touches the same bytes waits until
 * it has ended. A send is done when the bytes are in the peer's buffer. Each piece has a CRC32C,
 * and a damaged piece is sent again. A transfer fails with IO if its peer is lost or closed, if it
 * is cancelled, if nobody receives it, or if it makes no progress. If the other side failed, it
 * fails with IO and the other side's message.
 *
 * At most 4096 sends may wait for a peer's receives; the next one gets POOL_EXHAUSTED.
 * --------------------------------------------------------------------------------------------- */

FERRY_CHECK enum ferry_status ferry_send(ferry_peer *peer, uint64_t tag, ferry_buffer *src,
                                         size_t size, size_t offset);
FERRY_CHECK enum ferry_status ferry_receive(ferry_peer *peer, uint64_t tag, ferry_buffer *dst,
                                            size_t size, size_t offset);

/* The ticket and the callback belong to the buffer's device. */
FERRY_CHECK enum ferry_status ferry_send_async(ferry_peer *peer, uint64_t tag, ferry_buffer *src,
                                               size_t size, size_t offset, ferry_callback cb,
                                               void *user, ferry_ticket *out_ticket);
FERRY_CHECK enum ferry_status ferry_receive_async(ferry_peer *peer, uint64_t tag, ferry_buffer *dst,
                                                  size_t size, size_t offset, ferry_callback cb,
                                                  void *user, ferry_ticket *out_ticket);

/* Ends a send or receive of this device with IO, on both sides, within a second of its turn. OK
 * even if it has already ended. INVALID_ARGUMENT: the ticket is not of a send or receive. Does not
 * wait. */
FERRY_CHECK enum ferry_status ferry_wire_cancel(ferry_device *device, ferry_ticket ticket);

/* ---------------------------------------------------------------------------------------------
 * Metrics
 * --------------------------------------------------------------------------------------------- */

struct ferry_wire_stats {
#define FERRY_WIRE_STAT(field, kind, help) uint64_t field;
#include <ferry/wire_stats.inc>
#undef FERRY_WIRE_STAT
};

/* Copies at most size bytes: a program built against an older header gets the fields it knows. */
FERRY_API void ferry_wire_get_stats(ferry_wire *wire, struct ferry_wire_stats *out_stats,
                                    size_t size);

/* The same in Prometheus format, with the bytes of each peer by transport. Like snprintf. */
FERRY_CHECK enum ferry_status ferry_wire_metrics(ferry_wire *wire, char *out, size_t capacity,
                                                 size_t *out_size);

#ifdef __cplusplus
}
#endif

#endif
