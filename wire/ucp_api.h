/*
 * What libferry_wire uses of UCX (ucp 1.13 and newer), declared here, so that building needs no
 * UCX: the library is opened at run time. UCX's structs say by a mask which fields are set, and
 * only grow at their ends. Where UCX's own headers are, tests/wire/test_ucp_api.c compares.
 */
#ifndef FERRY_WIRE_UCP_API_H
#define FERRY_WIRE_UCP_API_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

typedef struct ucp_config ucp_config;
typedef struct ucp_context ucp_context;
typedef struct ucp_worker ucp_worker;
typedef struct ucp_ep ucp_ep;
typedef struct ucp_mem ucp_mem;

/* enum ucs_status_t is one byte. */
typedef int8_t ucs_status;
enum { UCS_OK = 0, UCS_INPROGRESS = 1, UCS_ERR_BUSY = -15, UCS_ERR_LAST = -100 };

/* A pointer that may also be a status. */
typedef void *ucs_pointer;
static inline int ucs_is_error(ucs_pointer pointer)
{
    return (uintptr_t)pointer >= (uintptr_t)(intptr_t)UCS_ERR_LAST;
}
static inline ucs_status ucs_status_of(ucs_pointer pointer)
{
    return (ucs_status)(intptr_t)pointer;
}

enum {
    UCP_API_MAJOR = 1,
    UCP_API_MINOR = 13,
    UCP_PARAM_FIELD_FEATURES = 1 << 0,
    UCP_FEATURE_WAKEUP = 1 << 4,
    UCP_FEATURE_AM = 1 << 6,
    UCP_WORKER_PARAM_FIELD_THREAD_MODE = 1 << 0,
    UCP_WORKER_PARAM_FIELD_EVENTS = 1 << 2,
    UCP_WORKER_PARAM_FIELD_FLAGS = 1 << 5,
    UCP_WORKER_FLAG_IGNORE_REQUEST_LEAK = 1 << 0,
    UCS_THREAD_MODE_SINGLE = 0,
    UCP_WAKEUP_TX = 1 << 10,
    UCP_WAKEUP_RX = 1 << 11,
    UCP_EP_PARAM_FIELD_REMOTE_ADDRESS = 1 << 0,
    UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE = 1 << 1,
    UCP_EP_PARAM_FIELD_ERR_HANDLER = 1 << 2,
    UCP_ERR_HANDLING_MODE_PEER = 1,
    UCP_EP_CLOSE_FLAG_FORCE = 1 << 0,
    UCP_OP_ATTR_FIELD_CALLBACK = 1 << 1,
    UCP_OP_ATTR_FIELD_USER_DATA = 1 << 2,
    UCP_OP_ATTR_FIELD_FLAGS = 1 << 4,
    UCP_OP_ATTR_FIELD_MEMORY_TYPE = 1 << 6,
    UCP_OP_ATTR_FIELD_MEMH = 1 << 8,
    UCP_OP_ATTR_FLAG_NO_IMM_CMPL = 1 << 16,
    UCS_MEMORY_TYPE_HOST = 0,
    UCP_AM_SEND_FLAG_EAGER = 1 << 1,
    UCP_AM_SEND_FLAG_RNDV = 1 << 2,
    UCP_AM_HANDLER_PARAM_FIELD_ID = 1 << 0,
    UCP_AM_HANDLER_PARAM_FIELD_FLAGS = 1 << 1,
    UCP_AM_HANDLER_PARAM_FIELD_CB = 1 << 2,
    UCP_AM_HANDLER_PARAM_FIELD_ARG = 1 << 3,
    UCP_AM_FLAG_WHOLE_MSG = 1 << 0,
    UCP_AM_RECV_ATTR_FLAG_RNDV = 1 << 17,
    UCP_MEM_MAP_PARAM_FIELD_ADDRESS = 1 << 0,
    UCP_MEM_MAP_PARAM_FIELD_LENGTH = 1 << 1,
};

struct ucp_params {
    uint64_t field_mask, features;
    size_t request_size;
    void (*request_init)(void *request);
    void (*request_cleanup)(void *request);
    uint64_t tag_sender_mask;
    int mt_workers_shared;
    size_t estimated_num_eps, estimated_num_ppn;
    const char *name;
};

struct ucp_worker_params {
    uint64_t field_mask;
    int thread_mode;
    unsigned long cpu_mask[1024 / (8 * sizeof(unsigned long))];
    unsigned events;
    void *user_data;
    int event_fd;
    uint64_t flags;
    const char *name;
    size_t am_alignment;
    uint64_t client_id;
};

typedef void (*ucp_error_callback)(void *arg, ucp_ep *ep, ucs_status status);

struct ucp_sock_addr {
    const struct sockaddr *addr;
    socklen_t addrlen;
};

struct ucp_ep_params {
    uint64_t field_mask;
    const void *address;
    int err_mode;
    struct {
        ucp_error_callback cb;
        void *arg;
    } err_handler;
    void *user_data;
    unsigned flags;
    struct ucp_sock_addr sockaddr;
    void *conn_request;
    const char *name;
    struct ucp_sock_addr local_sockaddr;
};

struct ucp_request_param {
    uint32_t op_attr_mask, flags;
    void *request;
    union {
        void (*send)(void *request, ucs_status status, void *user);
        void (*recv_am)(void *request, ucs_status status, size_t length, void *user);
    } cb;
    uint64_t datatype;
    void *user_data, *reply_buffer;
    int memory_type;
    void *recv_info;
    ucp_mem *memh;
};

struct ucp_am_recv_param {
    uint64_t recv_attr;
    ucp_ep *reply_ep;
};

typedef ucs_status (*ucp_am_callback)(void *arg, const void *header, size_t header_length,
                                      void *data, size_t length,
                                      const struct ucp_am_recv_param *param);

struct ucp_am_handler_param {
    uint64_t field_mask;
    unsigned id;
    uint32_t flags;
    ucp_am_callback cb;
    void *arg;
};

struct ucp_mem_map_params {
    uint64_t field_mask;
    void *address;
    size_t length;
    unsigned flags, prot;
    int memory_type;
};

/* FERRY_UCP(result, name, parameters): ucp's functions. */
#define FERRY_UCP_FUNCTIONS                                                                        \
    FERRY_UCP(ucs_status, ucp_config_read, (const char *prefix, const char *file, ucp_config **))  \
    FERRY_UCP(void, ucp_config_release, (ucp_config *))                                            \
    FERRY_UCP(ucs_status, ucp_config_modify, (ucp_config *, const char *name, const char *value))  \
    FERRY_UCP(void, ucp_config_print, (const ucp_config *, FILE *, const char *title, int flags))  \
    FERRY_UCP(void, ucp_get_version, (unsigned *major, unsigned *minor, unsigned *release))        \
    FERRY_UCP(ucs_status, ucp_init_version,                                                        \
              (unsigned major, unsigned minor, const struct ucp_params *, const ucp_config *,      \
               ucp_context **))                                                                    \
    FERRY_UCP(void, ucp_cleanup, (ucp_context *))                                                  \
    FERRY_UCP(ucs_status, ucp_worker_create,                                                       \
              (ucp_context *, const struct ucp_worker_params *, ucp_worker **))                    \
    FERRY_UCP(void, ucp_worker_destroy, (ucp_worker *))                                            \
    FERRY_UCP(ucs_status, ucp_worker_get_address, (ucp_worker *, void **, size_t *))               \
    FERRY_UCP(void, ucp_worker_release_address, (ucp_worker *, void *))                            \
    FERRY_UCP(unsigned, ucp_worker_progress, (ucp_worker *))                                       \
    FERRY_UCP(ucs_status, ucp_worker_get_efd, (ucp_worker *, int *))                               \
    FERRY_UCP(ucs_status, ucp_worker_arm, (ucp_worker *))                                          \
    FERRY_UCP(ucs_status, ucp_worker_set_am_recv_handler,                                          \
              (ucp_worker *, const struct ucp_am_handler_param *))                                 \
    FERRY_UCP(ucs_status, ucp_ep_create, (ucp_worker *, const struct ucp_ep_params *, ucp_ep **))  \
    FERRY_UCP(ucs_pointer, ucp_ep_close_nbx, (ucp_ep *, const struct ucp_request_param *))         \
    FERRY_UCP(ucs_pointer, ucp_ep_flush_nbx, (ucp_ep *, const struct ucp_request_param *))         \
    FERRY_UCP(ucs_pointer, ucp_worker_flush_nbx, (ucp_worker *, const struct ucp_request_param *)) \
    FERRY_UCP(void, ucp_ep_print_info, (ucp_ep *, FILE *))                                         \
    FERRY_UCP(ucs_pointer, ucp_am_send_nbx,                                                        \
              (ucp_ep *, unsigned id, const void *header, size_t header_size, const void *,        \
               size_t, const struct ucp_request_param *))                                          \
    FERRY_UCP(ucs_pointer, ucp_am_recv_data_nbx,                                                   \
              (ucp_worker *, void *descriptor, void *, size_t, const struct ucp_request_param *))  \
    FERRY_UCP(void, ucp_request_free, (void *))                                                    \
    FERRY_UCP(ucs_status, ucp_request_check_status, (void *))                                      \
    FERRY_UCP(ucs_status, ucp_mem_map,                                                             \
              (ucp_context *, const struct ucp_mem_map_params *, ucp_mem **))                      \
    FERRY_UCP(ucs_status, ucp_mem_unmap, (ucp_context *, ucp_mem *))                               \
    FERRY_UCP(const char *, ucs_status_string, (ucs_status))

#endif
