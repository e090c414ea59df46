#include "ucp.h"

#include "memory.h"
#include "ucp_library.h"
#include "words.h"

#include <stdlib.h>
#include <string.h>

#define ucp ferry__wire_ucp

enum {
    PIECE_MESSAGE = 0,     /* the active message that pieces are */
    EAGER_MAX = 8 << 10,   /* bytes of a piece that go with its header */
    KNOWN_MAX = 64,        /* allocations that stay known when they are not in use */
    CLOSING_ROUNDS = 1000, /* of progress, until an endpoint is taken from UCX with the worker */
};

/* --- contexts --------------------------------------------------------------------------------- */

/* Without what needs rights over the other process, and without what looks for GPUs: the bytes are
 * always in host memory. */
static const char default_transports[] =
    "^cma,knem,xpmem,sysv,cuda_copy,cuda_ipc,gdr_copy,rocm_copy,rocm_ipc,rocm_gdr,ze_copy,ze_ipc";

/* Bytes that UCX gives to a socket at once, and takes from it: with 8 and 64 KiB, as it has by
 * itself, the rate is 15 % lower. Those of a segment of shared memory, and how many there are at
 * first: in as much memory as UCX has by itself, with 8256 bytes each, the rate is 6 % lower. */
#define SOCKET_SEGMENT "256k"
#define SHARED_SEGMENT "32k"
#define SHARED_SEGMENTS "128"

static enum ferry_status configure(ucp_config *config,
                                   const struct ferry__wire_ucp_settings *settings)
{
    /* The interface of a network, not the port of an adapter for RDMA, "mlx5_0:1". */
    const bool sockets = settings->devices[0] && !strchr(settings->devices, ':');
    const char *ports = settings->data_ports;
    const char *families = settings->ipv6 ? "inet6,inet" : "inet,inet6";
    const char *segment = sockets ? SOCKET_SEGMENT : NULL;
    const struct {
        const char *name, *value;
        bool needed; /* by a name that each version knows */
    } values[] = {
        {"TLS", settings->transports ? settings->transports : default_transports, true},
        {"NET_DEVICES", settings->devices[0] ? settings->devices : NULL, true},
        /* Without it shared memory is left out in silence, since peers' failures are to be told. */
        {"MM_ERROR_HANDLING", "y", false},
        {"MM_SEG_SIZE", SHARED_SEGMENT, false},
        {"MM_RX_BUFS_GROW", SHARED_SEGMENTS, false},
        /* Over a socket UCX copies, in large segments: where the peer resets the connection while
         * bytes go straight from the caller's memory, UCX ends that send twice and aborts the
         * process (uct_tcp_ep_sendv; 1.13 to 1.19, at least). */
        {"ZCOPY_THRESH", sockets ? "inf" : NULL, true},
        /* TCP's own, by their names to 1.16 and from 1.17 on. A connection is waited for where all
         * else is, not by the wire's thread inside connect(). */
        {"CONN_NB", "y", false},
        {"TCP_CONN_NB", "y", false},
        {"TX_SEG_SIZE", segment, false},
        {"TCP_TX_SEG_SIZE", segment, false},
        {"RX_SEG_SIZE", segment, false},
        {"TCP_RX_SEG_SIZE", segment, false},
        {"PORT_RANGE", ports, false},
        {"TCP_PORT_RANGE", ports, false},
        {"AF_PRIO", families, false},
        {"TCP_AF_PRIO", families, false},
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const ucs_status status =
            values[i].value ? ucp.ucp_config_modify(config, values[i].name, values[i].value)
                            : UCS_OK;
        if (status && values[i].needed)
            return ferry__wire_fail(FERRY_ERROR_INVALID_ARGUMENT, "UCX refuses %s=%s: %s",
                                    values[i].name, values[i].value, ucp.ucs_status_string(status));
    }
    return FERRY_OK;
}

/* UCX takes names that it does not know, too: what counts is what it says that it has. */
static bool has_taken(const ucp_config *config, const char *name, const char *value)
{
    char *text = NULL, line[256];
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return false;
    ucp.ucp_config_print(config, out, NULL, 1);
    fclose(out);
    snprintf(line, sizeof line, "UCX_%s=%s\n", name, value);
    const bool found = text && strstr(text, line);
    free(text);
    return found;
}

enum ferry_status ferry__wire_context_open(const struct ferry__wire_ucp_settings *settings,
                                           struct ferry__wire_context **out_context)
{
    const struct ucp_params params = {.field_mask = UCP_PARAM_FIELD_FEATURES,
                                      .features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP};
    ucp_config *config = NULL;
    struct ferry__wire_context *context = ferry__wire_alloc(sizeof *context);
    if (!context)
        return ferry__wire_fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no host memory for a network");
    context->settings = *settings;
    ucs_status ucs = ucp.ucp_config_read("FERRY", NULL, &config);
    enum ferry_status status = FERRY_OK;
    if (!ucs) {
        status = configure(config, settings);
        if (!status && settings->devices[0] && !has_taken(config, "NET_DEVICES", settings->devices))
            status = ferry__wire_fail(FERRY_ERROR_UNSUPPORTED,
                                      "UCX %s does not keep to the network devices it is given",
                                      ferry__wire_ucp_version());
        if (!status)
            ucs = ucp.ucp_init_version(UCP_API_MAJOR, UCP_API_MINOR, &params, config,
                                       &context->handle);
        ucp.ucp_config_release(config);
    }
    if (ucs && !status)
        status = ferry__wire_fail(FERRY_ERROR_IO,
                                  "UCX cannot start with transports \"%s\" on \"%s\": %s",
                                  settings->transports ? settings->transports : "all",
                                  settings->devices, ucp.ucs_status_string(ucs));
    if (status) {
        free(context);
        return status;
    }
    *out_context = context;
    return FERRY_OK;
}

static void forget(struct ferry__wire_context *context, struct ferry__wire_known **at)
{
    struct ferry__wire_known *known = *at;
    *at = known->next;
    ucp.ucp_mem_unmap(context->handle, known->memory);
    free(known);
    context->knows--;
}

void ferry__wire_context_close(struct ferry__wire_context *context)
{
    if (!context)
        return;
    while (context->known)
        forget(context, &context->known);
    ucp.ucp_cleanup(context->handle);
    free(context);
}

/* Memory is made known once an allocation; the oldest that is not in use gives way to it. RDMA needs
 * it, and so does the end of a peer: for memory that UCX makes known by itself, 1.19 looks in a cache
 * that it has not without its hooks, and crashes. NULL: short of memory, UCX does it by itself. */
static struct ferry__wire_known *know(struct ferry__wire_context *context,
                                      const struct ferry__wire_request *request)
{
    const struct ucp_mem_map_params params = {.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS |
                                                            UCP_MEM_MAP_PARAM_FIELD_LENGTH,
                                              .address = request->allocation,
                                              .length = request->allocation_size};
    struct ferry__wire_known *known, **idle = NULL, **at = &context->known;
    for (; (known = *at); at = &known->next) {
        if (known->id == request->allocation_id)
            return known;
        if (!known->users && !idle)
            idle = at;
    }
    if (!request->allocation || !(known = ferry__wire_alloc(sizeof *known)))
        return NULL;
    if (ucp.ucp_mem_map(context->handle, &params, &known->memory)) {
        free(known);
        return NULL;
    }
    known->id = request->allocation_id;
    *at = known;
    context->knows++;
    if (idle && context->knows > KNOWN_MAX)
        forget(context, idle);
    return known;
}

/* --- requests --------------------------------------------------------------------------------- */

static void begin_request(struct ferry__wire_link *link, struct ferry__wire_request *request,
                          struct ucp_request_param *param)
{
    request->link = link;
    link->requests++;
    param->op_attr_mask |=
        UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_MEMORY_TYPE;
    param->user_data = request;
    param->memory_type = UCS_MEMORY_TYPE_HOST;
    request->known = know(link->context, request);
    if (!request->known)
        return;
    request->known->users++;
    param->op_attr_mask |= UCP_OP_ATTR_FIELD_MEMH;
    param->memh = request->known->memory;
}

static struct ferry__wire_link *end_request(struct ferry__wire_request *request)
{
    struct ferry__wire_link *link = request->link;
    request->link = NULL;
    link->requests--;
    if (request->known)
        request->known->users--;
    return link;
}

static void when_sent(void *ucp_request, ucs_status status, void *user)
{
    struct ferry__wire_link *link = end_request(user);
    link->events->sent(link->user, user, !status);
    ucp.ucp_request_free(ucp_request);
}

static void when_received(void *ucp_request, ucs_status status, size_t length, void *user)
{
    struct ferry__wire_request *request = user;
    struct ferry__wire_link *link = end_request(request);
    link->events->received(link->user, request, !status && length == request->size);
    ucp.ucp_request_free(ucp_request);
}

/* What a function that takes a callback has returned: NULL and errors have called nothing. */
static void see(ucs_pointer pointer, struct ferry__wire_request *request,
                void (*tell)(void *user, struct ferry__wire_request *request, bool good))
{
    if (pointer && !ucs_is_error(pointer))
        return;
    struct ferry__wire_link *link = end_request(request);
    tell(link->user, request, !pointer);
}

void ferry__wire_link_send(struct ferry__wire_link *link,
                           const struct ferry__wire_piece_header *piece,
                           struct ferry__wire_request *request)
{
    struct ucp_request_param param = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
                                      .flags = request->size <= EAGER_MAX ? UCP_AM_SEND_FLAG_EAGER
                                                                          : UCP_AM_SEND_FLAG_RNDV,
                                      .cb.send = when_sent};
    ferry__wire_piece_put(request->header, piece);
    begin_request(link, request, &param);
    link->armed = false;
    see(ucp.ucp_am_send_nbx(link->ep, PIECE_MESSAGE, request->header, sizeof request->header,
                            request->memory, request->size, &param),
        request, link->events->sent);
}

/* A piece: small ones with their bytes, of others a promise of them. */
static ucs_status when_piece(void *arg, const void *header, size_t header_size, void *data,
                             size_t size, const struct ucp_am_recv_param *am)
{
    struct ferry__wire_link *link = arg;
    struct ferry__wire_piece_header piece;
    if (!ferry__wire_piece_get(header, header_size, &piece))
        return UCS_OK;
    struct ferry__wire_request *request = link->events->piece(link->user, &piece, size);
    if (!request)
        return UCS_OK;
    if (!(am->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV)) {
        memcpy(request->memory, data, size);
        link->events->received(link->user, request, true);
        return UCS_OK;
    }
    struct ucp_request_param param = {.cb.recv_am = when_received};
    begin_request(link, request, &param);
    see(ucp.ucp_am_recv_data_nbx(link->worker, data, request->memory, size, &param), request,
        link->events->received);
    return UCS_INPROGRESS;
}

/* --- links ------------------------------------------------------------------------------------ */

static void when_failed(void *arg, ucp_ep *ep, ucs_status status)
{
    struct ferry__wire_link *link = arg;
    (void)ep;
    link->error = status;
}

static ucs_status begin_worker(struct ferry__wire_link *link, void **out_address, size_t *out_size)
{
    const struct ucp_worker_params params = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE |
                                                           UCP_WORKER_PARAM_FIELD_EVENTS |
                                                           UCP_WORKER_PARAM_FIELD_FLAGS,
                                             .thread_mode = UCS_THREAD_MODE_SINGLE,
                                             .events = UCP_WAKEUP_TX | UCP_WAKEUP_RX,
                                             .flags = UCP_WORKER_FLAG_IGNORE_REQUEST_LEAK};
    const struct ucp_am_handler_param handler = {
        .field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS |
                      UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG,
        .id = PIECE_MESSAGE,
        .flags = UCP_AM_FLAG_WHOLE_MSG,
        .cb = when_piece,
        .arg = link};
    ucs_status ucs = ucp.ucp_worker_create(link->context->handle, &params, &link->worker);
    if (ucs)
        return ucs;
    ucs = ucp.ucp_worker_set_am_recv_handler(link->worker, &handler);
    if (!ucs)
        ucs = ucp.ucp_worker_get_address(link->worker, out_address, out_size);
    if (ucs) {
        ucp.ucp_worker_destroy(link->worker);
        link->worker = NULL;
    }
    return ucs;
}

enum ferry_status ferry__wire_link_open(struct ferry__wire_link *link,
                                        struct ferry__wire_context *context,
                                        const struct ferry__wire_link_events *events, void *user,
                                        void **out_address, size_t *out_size)
{
    *link = (struct ferry__wire_link){.context = context, .events = events, .user = user, .fd = -1};
    const ucs_status ucs = begin_worker(link, out_address, out_size);
    if (ucs)
        return ferry__wire_fail(FERRY_ERROR_IO, "UCX has no worker on \"%s\": %s",
                                context->settings.devices, ucp.ucs_status_string(ucs));
    context->links++;
    return FERRY_OK;
}

void ferry__wire_link_address_free(struct ferry__wire_link *link, void *address)
{
    ucp.ucp_worker_release_address(link->worker, address);
}

enum ferry_status ferry__wire_link_connect(struct ferry__wire_link *link, const void *address)
{
    const struct ucp_ep_params params = {.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS |
                                                       UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                                                       UCP_EP_PARAM_FIELD_ERR_HANDLER,
                                         .address = address,
                                         .err_mode = UCP_ERR_HANDLING_MODE_PEER,
                                         .err_handler = {.cb = when_failed, .arg = link}};
    const struct ucp_request_param param = {.op_attr_mask = 0};
    int fd = -1;
    ucs_status ucs = ucp.ucp_worker_get_efd(link->worker, &fd);
    if (!ucs)
        ucs = ucp.ucp_ep_create(link->worker, &params, &link->ep);
    if (ucs)
        return ferry__wire_fail(
            FERRY_ERROR_IO, "UCX finds no transport among \"%s\" on \"%s\": %s",
            link->context->settings.transports ? link->context->settings.transports : "all",
            link->context->settings.devices, ucp.ucs_status_string(ucs));
    link->fd = fd;
    link->flush = ucp.ucp_ep_flush_nbx(link->ep, &param);
    return FERRY_OK;
}

/* The transports of all lanes, each once: "posix, tcp". UCX says them in its description of an
 * endpoint: "lane[0]:  1:tcp/eth0.0 md[1] ...". */
static void read_transports(struct ferry__wire_link *link)
{
    char *text = NULL, *at;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return;
    ucp.ucp_ep_print_info(link->ep, out);
    fclose(out);
    for (at = text; at && (at = strstr(at, "lane["));) {
        char name[24];
        const char *colon = strstr(at, "]:");
        at += strlen("lane[");
        if (!colon || sscanf(colon, "]: %*d:%23[^/ ]", name) != 1)
            continue;
        const size_t length = strlen(link->transports);
        if (!strstr(link->transports, name))
            snprintf(link->transports + length, sizeof link->transports - length, "%s%s",
                     length ? "," : "", name);
        if (strncmp(name, "tcp", 3) && strcmp(name, "posix") && strcmp(name, "sysv"))
            link->registers = true;
    }
    free(text);
}

int ferry__wire_link_connected(struct ferry__wire_link *link)
{
    if (link->flush && !ucs_is_error(link->flush)) {
        const ucs_status status = ucp.ucp_request_check_status(link->flush);
        if (status == UCS_INPROGRESS)
            return link->error ? -1 : 0;
        ucp.ucp_request_free(link->flush);
        link->flush = NULL;
        if (status && !link->error)
            link->error = status;
    } else if (link->flush) {
        link->error = ucs_status_of(link->flush);
        link->flush = NULL;
    }
    if (link->error)
        return -1;
    read_transports(link);
    return 1;
}

const char *ferry__wire_link_why(const struct ferry__wire_link *link)
{
    return ucp.ucs_status_string(link->error);
}

unsigned ferry__wire_link_progress(struct ferry__wire_link *link)
{
    if (link->error)
        return 0;
    link->armed = false;
    const unsigned progress = ucp.ucp_worker_progress(link->worker);
    if (link->error)
        link->fd = -1;
    return progress;
}

bool ferry__wire_link_arm(struct ferry__wire_link *link)
{
    if (!link->armed)
        link->armed = ucp.ucp_worker_arm(link->worker) != UCS_ERR_BUSY;
    return link->armed;
}

/* Without progress where nothing is on its way: see ferry__wire_link_connect. */
void ferry__wire_link_close(struct ferry__wire_link *link)
{
    const struct ucp_request_param param = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
                                            .flags = UCP_EP_CLOSE_FLAG_FORCE};
    if (!link->worker)
        return;
    if (link->ep) {
        ucs_pointer closing = ucp.ucp_ep_close_nbx(link->ep, &param);
        for (int i = 0; link->requests && i < CLOSING_ROUNDS; i++)
            ucp.ucp_worker_progress(link->worker);
        if (closing && !ucs_is_error(closing))
            ucp.ucp_request_free(closing);
    }
    if (link->flush && !ucs_is_error(link->flush))
        ucp.ucp_request_free(link->flush);
    ucp.ucp_worker_destroy(link->worker);
    link->context->links--;
    *link = (struct ferry__wire_link){.fd = -1};
}
