/* ferry send: files to a `ferry receive` of another machine, through private memory. */
#include "progress.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct sending {
    struct wire_options wire;
    bool json, quiet;
    struct wire_end end;
    uint64_t bytes, ns;
    char why[CLI_WHY_MAX];
};

static enum ferry_status send_window(struct sending *sending, int fd, uint64_t at, uint64_t size,
                                     ferry_ticket *out_ticket)
{
    struct wire_end *end = &sending->end;
    const size_t slot = (size_t)(at / WIRE_WINDOW % WIRE_SLOTS * WIRE_WINDOW);
    enum ferry_status status =
        ferry_copy_from_file_async(end->buffer, fd, at, (size_t)size, slot, NULL, NULL, NULL);
    if (!status)
        status = ferry_send_async(end->peer, WIRE_TAG, end->buffer, (size_t)size, slot, NULL, NULL,
                                  out_ticket);
    return status;
}

/* The buffer's order by bytes has each slot sent before it is read into again. */
static enum ferry_status send_windows(struct sending *sending, int fd, struct progress *progress)
{
    struct wire_end *end = &sending->end;
    ferry_ticket tickets[WIRE_SLOTS] = {0};
    enum ferry_status status = wire_end_buffer(end, WIRE_SLOTS * WIRE_WINDOW);
    uint64_t windows = 0;
    for (uint64_t at = 0; at < sending->bytes && !status; windows++) {
        const uint64_t left = sending->bytes - at;
        ferry_ticket *ticket = &tickets[windows % WIRE_SLOTS];
        status = ferry_wait(end->device, *ticket, UINT64_MAX);
        if (!status)
            status = send_window(sending, fd, at, left < WIRE_WINDOW ? left : WIRE_WINDOW, ticket);
        at += left < WIRE_WINDOW ? left : WIRE_WINDOW;
        progress_bytes(progress, at, sending->bytes);
    }
    for (int i = 0; i < WIRE_SLOTS && !status; i++)
        status = ferry_wait(end->device, tickets[i], UINT64_MAX);
    return status;
}

static enum cli_exit send_file(struct sending *sending, const char *name)
{
    struct progress progress;
    struct stat about;
    const int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        snprintf(sending->why, sizeof sending->why, "%s: %s", name,
                 fd < 0 ? strerror(errno) : "not a regular file");
        if (fd >= 0)
            close(fd);
        return CLI_DEVICE;
    }
    sending->bytes = (uint64_t)about.st_size;
    const struct wire_header header = {WIRE_FILE, sending->bytes, WIRE_WINDOW, 0};
    const uint64_t began_ns = cli_now_ns();
    progress_start(&progress, name, sending->quiet);
    enum ferry_status status = wire_send_header(&sending->end, &header);
    if (!status)
        status = send_windows(sending, fd, &progress);
    progress_stop(&progress);
    sending->ns = cli_now_ns() - began_ns;
    if (status)
        cli_why(sending->why, name);
    close(fd);
    return !status ? CLI_DONE : CLI_DEVICE;
}

static void tell(const struct sending *sending, const char *name)
{
    char bytes[CLI_TEXT_MAX], time[CLI_TEXT_MAX], shown[CLI_SHOWN_MAX];
    const struct ferry_peer_info *info = &sending->end.info;
    if (sending->json) {
        struct ferry_device_info device;
        ferry_device_get_info(sending->end.device, &device);
        cli_json_head(stdout, "send");
        cli_json_device(stdout, &device);
        fputs(" \"file\": ", stdout);
        cli_json_string(stdout, name);
        printf(", \"bytes\": %llu, \"seconds\": %.9f, \"peer\": \"%s\", \"transports\": \"%s\", "
               "\"interface\": \"%s\", \"fallback\": %s}\n",
               (unsigned long long)sending->bytes, (double)sending->ns * 1e-9, info->address,
               info->transports, info->interface, info->fallback ? "true" : "false");
    } else if (!sending->quiet) {
        printf("%s: sent %s to %s in %s, %.2f GB/s, by %s on %s\n", cli_show(shown, name),
               cli_size(bytes, sending->bytes), info->address, cli_time(time, sending->ns),
               cli_rate(sending->bytes, sending->ns), info->transports, info->interface);
    }
}

static const char text[] =
    "Sends a file through a private buffer of this machine to a private buffer of the machine "
    "where\n"
    "`ferry receive` listens, at HOST:PORT. It is sent when all of it is in that buffer.";

static const char examples[] = "  ferry send model.bin 127.0.0.1:7700\n"
                               "  ferry send --secret-file key model.bin host:7700\n";

enum cli_exit cli_send(int argc, char **argv)
{
    struct sending sending = {.json = false};
    const struct cli_option options[] = {
        WIRE_OPTIONS(sending.wire),
        {"json", CLI_FLAG, &sending.json, NULL, "print JSON instead of a line"},
        {"quiet", CLI_FLAG, &sending.quiet, NULL, "print errors, and JSON, only"},
    };
    const struct cli_manual manual = {.name = "send",
                                      .operands = "FILE HOST:PORT",
                                      .text = text,
                                      .examples = examples,
                                      .options = options,
                                      .option_count = CLI_COUNT(options)};
    int first = 0;
    enum cli_exit end = CLI_DONE;
    if (!cli_options(&manual, argc, argv, &first, &end))
        return end;
    if (argc - first != 2) {
        cli_complain("send: it takes a file and the address where ferry receive listens");
        return CLI_USAGE;
    }
    end = wire_end_open(&sending.end, "send", &sending.wire, NULL);
    if (end == CLI_DONE)
        end = wire_end_connect(&sending.end, "send", argv[first + 1]);
    if (end == CLI_DONE && (end = send_file(&sending, argv[first])) != CLI_DONE)
        cli_complain("send: %s", sending.why);
    const struct wire_header last = {WIRE_END, 0, 0, 0};
    if (end == CLI_DONE && wire_send_header(&sending.end, &last)) {
        cli_complain("send: %s", ferry_last_error());
        end = CLI_DEVICE;
    }
    if (end == CLI_DONE)
        tell(&sending, argv[first]);
    wire_end_close(&sending.end);
    return end;
}
