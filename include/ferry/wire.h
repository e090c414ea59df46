/*
 * Ferry's wire: private buffers to and from other machines. Read ferry/ferry.h first; its rules hold
 * here. Link libferry_wire. docs/wire.md is the guide, and has every frame of the protocol.
 *
 * UCX moves the bytes: over TCP, shared memory, or RDMA where there is some. Its library, and
 * OpenSSL's libcrypto, are opened when a wire is; where they are missing that is UNSUPPORTED. Bytes go
 * between staging memory of both devices, so that every driver's buffers can be sent and received.
 *
 * What a secret does, and what it does not: whoever connects has to prove that he knows it, but what
 * is sent is neither encrypted nor signed. Use a network that you trust, or WireGuard. SECURITY.md
 * says more.
 */
#ifndef FERRY_WIRE_H
#define FERRY_WIRE_H

#include <ferry/ferry.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A place on the network: it listens, connects, and has a thread of its own. */
typedef struct ferry_wire ferry_wire;

/* Another wire that this one is connected with. */
typedef struct ferry_peer ferry_peer;

/* A slower transport than asked for is an error, where it is else counted and logged. */
#define FERRY_WIRE_NO_FALLBACK 1u

struct ferry_wire_params {
    /* "HOST:PORT", "[IPv6]:PORT"; port 0: any. NULL: it does not listen. */
    const char *listen;
    /* A file (also /dev/fd/3) whose bytes are the secret: 16 to 4096, one line feed at the end not
     * counted. NULL: none; then only addresses of this machine's loopback can be listened on or
     * connected to. */
    const char *secret_file;
    /* UCX's names, with commas: "tcp", "posix", "rc". NULL: whatever UCX finds, but for what needs
     * rights over other processes. */
    const char *transports;
    /* UCX's name of the network devices for the bytes, with commas: "eth0", "mlx5_0:1". NULL: the
     * interface that the connection came by. */
    const char *interface;
    unsigned flags;     /* of FERRY_WIRE_ */
    unsigned max_peers; /* 0: 1024 */
    /* Staging that peers' bytes may come into at once; each peer has two chunks beyond it. 0: 64
     * MiB. */
    uint64_t staging_budget;
    /* A peer that is silent for five of these is lost. 0: one second. */
    uint64_t heartbeat_ns;
    /* A transfer that both sides are ready for fails after so long without progress. 0: 30 s. */
    uint64_t stall_ns;
    /* A send fails that the peer does not receive for so long. 0: 60 s; UINT64_MAX: never. */
    uint64_t match_ns;
    /* "FIRST-LAST": the TCP ports that UCX listens on for bytes. NULL: any. */
    const char *data_ports;
    uint64_t reserved[7]; /* zero */
};

/* NULL params: all zero. UNSUPPORTED: no UCX or libcrypto, or a setuid process. IO: the address cannot
 * be listened on. */
FERRY_CHECK enum ferry_status ferry_wire_open(const struct ferry_wire_params *params,
                                              ferry_wire **out_wire);

/*
 * Says goodbye to all peers, ends what is in flight with IO, and waits for that, for a second or
 * so. Handles of its peers are closed with it. NULL is allowed. No other call on the wire or its peers
 * may be running. In a callback it does not wait.
 */
FERRY_API void ferry_wire_close(ferry_wire *wire);

/* The address that it listens on, with the port that was chosen. Like snprintf: writes at most
 * capacity bytes with the 0, and the length without it to *out_size. "" where it does not listen. */
FERRY_CHECK enum ferry_status ferry_wire_address(ferry_wire *wire, char *out, size_t capacity,
                                                 size_t *out_size);

/*
 * Connects to a wire that listens, and waits until the way for the bytes is open. TIMEOUT: not within
 * timeout_ns. IO: nobody is there, or the other side is another program, or refuses, which it says
 * why. In a callback: IN_CALLBACK. A peer is closed by ferry_peer_close.
 */
FERRY_CHECK enum ferry_status ferry_wire_connect(ferry_wire *wire, const char *address,
                                                 uint64_t timeout_ns, ferry_peer **out_peer);

/* The next peer that has connected, and waits for one. TIMEOUT; in a callback IN_CALLBACK. */
FERRY_CHECK enum ferry_status ferry_wire_accept(ferry_wire *wire, uint64_t timeout_ns,
                                                ferry_peer **out_peer);

/* Says goodbye, and ends what is in flight with IO. Does not wait. NULL is allowed. */
FERRY_API void ferry_peer_close(ferry_peer *peer);

struct ferry_peer_info {
    char address[64];     /* of the other side */
    char interface[64];   /* UCX's network devices */
    char transports[128]; /* that carry the bytes: "posix", "tcp" */
    char reason[256];     /* why it is gone; "" while it is there */
    bool there;
    bool fallback;    /* the transport is a slower one than asked for */
    uint32_t version; /* of the protocol */
    uint64_t bytes_sent, bytes_received;
    uint64_t reserved[8];
};

FERRY_API void ferry_peer_get_info(ferry_peer *peer, struct ferry_peer_info *out_info);

/* ---------------------------------------------------------------------------------------------
 * Sends and receives
 *
 * A send meets the peer's receive of the same tag, the first the first; other tags pass each other.
 * Their sizes must be equal: else both fail with INVALID_ARGUMENT. Either may come first: a send
 * waits for match_ns, a receive until it is cancelled. Each takes its place in the order of its buffer
 * as any operation does, and what touches the same bytes waits until it has ended. A send is done
 * when the bytes are in the peer's buffer. Each piece has a CRC32C, and one that came in wrong is sent
 * again. A transfer fails with IO when its peer is lost or closed, when it is cancelled, when nobody
 * receives it or it makes no progress, and with IO and the other side's words where that failed.
 *
 * 4096 sends may wait for a peer's receives: POOL_EXHAUSTED beyond.
 * --------------------------------------------------------------------------------------------- */

FERRY_CHECK enum ferry_status ferry_send(ferry_peer *peer, uint64_t tag, ferry_buffer *src,
                                         size_t size, size_t offset);
FERRY_CHECK enum ferry_status ferry_receive(ferry_peer *peer, uint64_t tag, ferry_buffer *dst,
                                            size_t size, size_t offset);

/* The ticket and the callback are of the buffer's device. */
FERRY_CHECK enum ferry_status ferry_send_async(ferry_peer *peer, uint64_t tag, ferry_buffer *src,
                                               size_t size, size_t offset, ferry_callback cb,
                                               void *user, ferry_ticket *out_ticket);
FERRY_CHECK enum ferry_status ferry_receive_async(ferry_peer *peer, uint64_t tag, ferry_buffer *dst,
                                                  size_t size, size_t offset, ferry_callback cb,
                                                  void *user, ferry_ticket *out_ticket);

/* Ends a send or receive of this device with IO, on both sides, within a second of its turn. OK also
 * where it has ended already. INVALID_ARGUMENT: the ticket is none of theirs. Does not wait. */
FERRY_CHECK enum ferry_status ferry_wire_cancel(ferry_device *device, ferry_ticket ticket);

/* ---------------------------------------------------------------------------------------------
 * Metrics
 * --------------------------------------------------------------------------------------------- */

struct ferry_wire_stats {
#define FERRY_WIRE_STAT(field, kind, help) uint64_t field;
#include <ferry/wire_stats.inc>
#undef FERRY_WIRE_STAT
};

/* Copies at most size bytes: a program built against an older header gets what it knows. */
FERRY_API void ferry_wire_get_stats(ferry_wire *wire, struct ferry_wire_stats *out_stats,
                                    size_t size);

/* The same as Prometheus reads it, and the bytes of each peer by its transport. Like snprintf. */
FERRY_CHECK enum ferry_status ferry_wire_metrics(ferry_wire *wire, char *out, size_t capacity,
                                                 size_t *out_size);

#ifdef __cplusplus
}
#endif

#endif
