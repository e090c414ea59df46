/* ferry triton: a Triton server in this process, driven and checked. */
#ifndef FERRY_CLI_TRITON_H
#define FERRY_CLI_TRITON_H

#include "cli.h"

#include <ferry/triton.h>
#include <ferry/triton_api.h>

#define TRITON_MODEL "ferry_identity"

struct triton_options {
    const char *server, *backends; /* the library's file; the folder of the folder "ferry" */
    const char *device;            /* NULL: the best */
    const char *kind;              /* of the model's instance: cpu, model or gpu */
    uint64_t requests, concurrency, bytes;
    bool private_outputs, json;
};

/* The server's functions, once triton_server_open has found them. */
extern struct triton_calls {
#define TRITON_CALL(returns, name, parameters) returns(*name) parameters;
#define TRITON_OPTIONAL TRITON_CALL
#include <ferry/triton_api/calls.inc>
#include <ferry/triton_api/host.inc>
#undef TRITON_CALL
#undef TRITON_OPTIONAL
} triton;

/* --- the server (triton_server.c) ------------------------------------------------------------- */

enum { REPOSITORY_MAX = 512 };

struct triton_server {
    TRITONSERVER_Server *server;
    uint32_t major, minor;           /* of the TRITONSERVER API */
    char repository[REPOSITORY_MAX]; /* a folder in TMPDIR or /tmp; "": none was made */
    bool loaded;
};

/* Opens the library and finds its functions. */
bool triton_server_open(struct triton_server *server, const char *path, char *why);

/* Writes the repository, starts the server and loads the model; device_id: ferry_triton_device_id,
 * which KIND_GPU tells. */
bool triton_server_start(struct triton_server *server, const struct triton_options *options,
                         int64_t device_id, char *why);

/* To be called whatever came of the two. */
bool triton_server_close(struct triton_server *server, char *why);

/* True: no error. False: it is in why, behind what, and was deleted. */
bool triton_good(TRITONSERVER_Error *error, const char *what, char *why);

/* The model's statistics as JSON, the caller's to free; NULL: the server keeps none. */
bool triton_statistics(const struct triton_server *server, char **out_text, char *why);

/* The server's metrics as text; NULL: it has none. The caller's to free. */
char *triton_metrics(const struct triton_server *server);

/* --- the requests (triton_drive.c) ------------------------------------------------------------ */

struct triton_result {
    uint64_t done, time_ns;       /* requests that were answered well, and their time together */
    uint64_t median_ns, worst_ns; /* of one request */
};

/* Sends all requests, options->concurrency at a time, and compares every byte. */
enum cli_exit triton_drive(const struct triton_server *server, const struct triton_options *options,
                           ferry_device *device, struct triton_result *out_result, char *why);

#endif
