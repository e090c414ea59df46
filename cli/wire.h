/* What `ferry send`, `ferry receive` and `ferry bench --wire` share: the wire's options, and how a
 * sender tells a receiver what comes. */
#ifndef FERRY_CLI_WIRE_H
#define FERRY_CLI_WIRE_H

#include "cli.h"

#include <ferry/wire.h>

struct wire_options {
    const char *device_name, *secret_file, *transports, *interface, *data_ports;
    bool no_fallback;
};

/* The rows of an option table, to stand in it. */
#define WIRE_OPTIONS(wire)                                                                         \
    {"device", CLI_TEXT, &(wire).device_name, "NAME", "the device (ferry devices)"},               \
        {"secret-file", CLI_TEXT, &(wire).secret_file, "FILE", "the secret that both ends share"}, \
        {"transports", CLI_TEXT, &(wire).transports, "LIST", "UCX's transports: tcp, posix, rc"},  \
        {"interface", CLI_TEXT, &(wire).interface, "LIST", "UCX's network devices"},               \
        {"data-ports", CLI_TEXT, &(wire).data_ports, "RANGE", "UCX's TCP ports: 7701-7800"},       \
    {                                                                                              \
        "no-fallback", CLI_FLAG, &(wire).no_fallback, NULL, "fail rather than go a slower way"     \
    }

/* One end of a wire: open, and with a peer. */
struct wire_end {
    ferry_device *device;
    ferry_wire *wire;
    ferry_peer *peer;
    ferry_buffer *buffer;
    struct ferry_peer_info info;
};

enum { WIRE_SLOTS = 4, WIRE_HEADER = 32, WIRE_TAG = 1, WIRE_AT_ONCE_MAX = 256 };
#define WIRE_HEADER_TAG UINT64_MAX
#define WIRE_WINDOW (UINT64_C(16) << 20)   /* bytes of a message of a file */
#define WIRE_BENCH_MAX (UINT64_C(1) << 30) /* bytes of a message that is measured */

/* What comes next. In a message of 32 bytes, four little-endian numbers. */
enum wire_kind {
    WIRE_FILE = 1,  /* size bytes, in messages of window bytes */
    WIRE_BENCH = 2, /* count messages of size bytes, window of them at once */
    WIRE_END = 3,
};
struct wire_header {
    uint64_t kind, size, window, count;
};

/* Opens a device and a wire; listen: its own address, or NULL. Complains, of command. */
enum cli_exit wire_end_open(struct wire_end *end, const char *command,
                            const struct wire_options *options, const char *listen);
enum cli_exit wire_end_connect(struct wire_end *end, const char *command, const char *address);
void wire_end_close(struct wire_end *end);

/* A buffer of at least so many bytes. */
enum ferry_status wire_end_buffer(struct wire_end *end, uint64_t size);

enum ferry_status wire_send_header(struct wire_end *end, const struct wire_header *header);
enum ferry_status wire_receive_header(struct wire_end *end, struct wire_header *header);

/* Starts count operations, the first at_once of them together, each later one when the one before it
 * by at_once is done; and waits for all. */
typedef enum ferry_status (*wire_start)(void *user, uint64_t turn, ferry_ticket *out_ticket);
enum ferry_status wire_in_turns(struct wire_end *end, uint64_t count, uint64_t at_once,
                                wire_start start, void *user);

/* What carried the bytes: "by tcp on eth0"; as members of a JSON object. */
void wire_tell_way(const struct wire_end *end);
void wire_json_way(const struct wire_end *end);

/* Measures the way to a `ferry receive` that listens there: one size (0: several), for about
 * time_ns (0: as long as it likes). */
enum cli_exit wire_bench(const struct wire_options *options, const char *address, uint64_t size,
                         uint64_t time_ns, bool json);

#endif
