/*
 * UCX as the wire uses it: opened at run time; a context for each interface that peers come by; for
 * each peer a worker and an endpoint of its own, so that closing a peer takes from UCX all that it
 * knows of it, memory that bytes are on their way into above all. Touched by the wire's thread
 * alone.
 */
#ifndef FERRY_WIRE_UCP_H
#define FERRY_WIRE_UCP_H

#include "handshake.h"
#include "ucp_api.h"

#include <ferry/ferry.h>

enum { FERRY_WIRE_DEVICES_MAX = 64 };

/* What a context is made with. */
struct ferry__wire_ucp_settings {
    const char *transports, *data_ports; /* NULL: as UCX likes */
    char devices[FERRY_WIRE_DEVICES_MAX];
    bool ipv6;
};

/* An allocation that is made known to UCX. */
struct ferry__wire_known {
    uint64_t id;
    ucp_mem *memory;
    unsigned users;
    struct ferry__wire_known *next; /* a newer one */
};

struct ferry__wire_context {
    struct ferry__wire_ucp_settings settings;
    ucp_context *handle;
    size_t links;
    struct ferry__wire_known *known;
    size_t knows;
    struct ferry__wire_context *next;
};

/* Bytes on their way: a member of what they belong to. */
struct ferry__wire_request {
    struct ferry__wire_link *link; /* NULL: UCX does not have it */
    struct ferry__wire_known *known;
    void *memory;
    size_t size;
    uint8_t header[FERRY_WIRE_PIECE]; /* UCX reads it until the request is done */
    /* Its allocation: */
    void *allocation;
    size_t allocation_size;
    uint64_t allocation_id;
};

/* What a link tells whose it is, inside ferry__wire_link_progress, _send and _close. */
struct ferry__wire_link_events {
    /* A piece has come: where its bytes go, with memory and size set; NULL: they are dropped. */
    struct ferry__wire_request *(*piece)(void *user, const struct ferry__wire_piece_header *piece,
                                         size_t size);
    void (*received)(void *user, struct ferry__wire_request *request, bool good);
    void (*sent)(void *user, struct ferry__wire_request *request, bool good);
};

struct ferry__wire_link {
    struct ferry__wire_context *context;
    const struct ferry__wire_link_events *events;
    void *user;
    ucp_worker *worker;
    ucp_ep *ep;
    int fd;         /* readable when there is something to progress, once it is armed; -1: nothing
                       is progressed, see ferry__wire_link_connect */
    bool armed;     /* and nothing was progressed since */
    bool registers; /* what carries the bytes registers memory, as RDMA does */
    ucs_status error;
    unsigned requests; /* that UCX has */
    ucs_pointer flush;
    char transports[128];
};

/* UNSUPPORTED: there is no UCX, or it is too old. Signal handlers stay as they are. */
enum ferry_status ferry__wire_ucp_start(void);
const char *ferry__wire_ucp_version(void);

enum ferry_status ferry__wire_context_open(const struct ferry__wire_ucp_settings *settings,
                                           struct ferry__wire_context **out_context);
void ferry__wire_context_close(struct ferry__wire_context *context);

/* Makes the worker. Its address: *out_address, to be given back by
 * ferry__wire_link_address_free. */
enum ferry_status ferry__wire_link_open(struct ferry__wire_link *link,
                                        struct ferry__wire_context *context,
                                        const struct ferry__wire_link_events *events, void *user,
                                        void **out_address, size_t *out_size);
void ferry__wire_link_address_free(struct ferry__wire_link *link, void *address);

/*
 * Begins to connect with the worker of this address. Nothing of a link is progressed before, nor
 * after it has failed, and while it is closed only until UCX has let go of all requests: a
 * connection that the other side began, and that comes when UCX has no endpoint of ours, gets one of
 * UCX's own. Where the other side is gone by then, that one fails in the middle of connecting, and
 * UCX aborts the process (uct_tcp_ep_connect; 1.13 to 1.19, at least).
 */
enum ferry_status ferry__wire_link_connect(struct ferry__wire_link *link, const void *address);
/* 1: connected, and link->transports say how; 0: not yet; -1: it failed. */
int ferry__wire_link_connected(struct ferry__wire_link *link);

const char *ferry__wire_link_why(const struct ferry__wire_link *link); /* it failed */

unsigned ferry__wire_link_progress(struct ferry__wire_link *link);
/* False: there is something to progress first. */
bool ferry__wire_link_arm(struct ferry__wire_link *link);

/* Sends request's memory. events->sent is called for it, perhaps inside this call. */
void ferry__wire_link_send(struct ferry__wire_link *link,
                           const struct ferry__wire_piece_header *piece,
                           struct ferry__wire_request *request);

/* UCX lets go of all memory: sent and received are called for what was on its way. */
void ferry__wire_link_close(struct ferry__wire_link *link);

#endif
