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

struct leaving {
    struct sending *sending;
    int fd;
    struct progress *progress;
};

/* The buffer's order by bytes has each slot sent before it is read into again. */
static enum ferry_status start_window(void *user, uint64_t turn, ferry_ticket *out_ticket)
{
    const struct leaving *leaving = user;
    struct wire_end *end = &leaving->sending->end;
    const uint64_t all = leaving->sending->bytes, at = turn * WIRE_WINDOW;
    const size_t size = (size_t)(all - at < WIRE_WINDOW ? all - at : WIRE_WINDOW);
    const size_t slot = (size_t)(turn % WIRE_SLOTS * WIRE_WINDOW);
    enum ferry_status status =
        ferry_copy_from_file_async(end->buffer, leaving->fd, at, size, slot, NULL, NULL, NULL);
    if (!status)
        status =
            ferry_send_async(end->peer, WIRE_TAG, end->buffer, size, slot, NULL, NULL, out_ticket);
    progress_bytes(leaving->progress, at + size, all);
    return status;
}

static enum ferry_status send_windows(struct sending *sending, int fd, struct progress *progress)
{
    struct leaving leaving = {sending, fd, progress};
    const uint64_t windows = (sending->bytes + WIRE_WINDOW - 1) / WIRE_WINDOW;
    const enum ferry_status status = wire_end_buffer(&sending->end, WIRE_SLOTS * WIRE_WINDOW);
    return status ? status
                  : wire_in_turns(&sending->end, windows, WIRE_SLOTS, start_window, &leaving);
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
    if (sending->json) {
        struct ferry_device_info device;
        ferry_device_get_info(sending->end.device, &device);
        cli_json_head(stdout, "send");
        cli_json_device(stdout, &device);
        fputs(" \"file\": ", stdout);
        cli_json_string(stdout, name);
        printf(", \"bytes\": %llu, \"seconds\": %.9f, ", (unsigned long long)sending->bytes,
               (double)sending->ns * 1e-9);
        wire_json_way(&sending->end);
        puts("}");
    } else if (!sending->quiet) {
        printf("%s: sent %s to %s in %s, %.2f GB/s, ", cli_show(shown, name),
               cli_size(bytes, sending->bytes), sending->end.info.address,
               cli_time(time, sending->ns), cli_rate(sending->bytes, sending->ns));
        wire_tell_way(&sending->end);
    }
}

static const char text[] =
    "Sends a file through a private buffer of this machine to a private buffer of the machine "
    "where\n"
    "`ferry receive` listens, at HOST:PORT. The command ends when all of it is in that buffer.";

static const char examples[] = "  ferry send model.bin 127.0.0.1:7700\n"
                               "  ferry send --secret-file key model.bin host:7700\n";

enum cli_exit cli_send(int argc, char **argv)
{
    struct sending sending = {.json = false};
    const struct cli_option options[] = {
        WIRE_OPTIONS(sending.wire),
        {"json", CLI_FLAG, &sending.json, NULL, "print JSON instead of a line"},
        {"quiet", CLI_FLAG, &sending.quiet, NULL, "print only errors and JSON"},
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
