/* ferry receive: what `ferry send` and `ferry bench --wire` of other machines send, into private
 * memory, and from there to a file. */
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct receiving {
    struct wire_options wire;
    const char *listen, *out;
    bool keep, json, quiet;
    struct wire_end end;
    uint64_t files, bytes, ns;
};

struct arriving {
    struct wire_end *end;
    const struct wire_header *header;
    int fd;
};

/* A window comes into its slot once what was there before is in the file: by the order of bytes. */
static enum ferry_status start_window(void *user, uint64_t turn, ferry_ticket *out_ticket)
{
    const struct arriving *arriving = user;
    struct wire_end *end = arriving->end;
    const uint64_t window = arriving->header->window, at = turn * window;
    const uint64_t left = arriving->header->size - at;
    const size_t size = (size_t)(left < window ? left : window);
    const size_t slot = (size_t)(turn % WIRE_SLOTS * window);
    enum ferry_status status =
        ferry_receive_async(end->peer, WIRE_TAG, end->buffer, size, slot, NULL, NULL, out_ticket);
    if (!status && arriving->fd >= 0)
        status = ferry_copy_to_file_async(end->buffer, arriving->fd, at, size, slot, NULL, NULL,
                                          out_ticket);
    return status;
}

static enum ferry_status receive_file(struct receiving *receiving, const struct wire_header *header,
                                      int fd)
{
    struct arriving arriving = {&receiving->end, header, fd};
    const uint64_t window = header->window;
    const uint64_t windows = header->size / window + (header->size % window != 0);
    const enum ferry_status status = wire_end_buffer(&receiving->end, WIRE_SLOTS * window);
    return status ? status
                  : wire_in_turns(&receiving->end, windows, WIRE_SLOTS, start_window, &arriving);
}

static enum ferry_status start_message(void *user, uint64_t turn, ferry_ticket *out_ticket)
{
    const struct arriving *arriving = user;
    const struct wire_header *header = arriving->header;
    return ferry_receive_async(arriving->end->peer, WIRE_TAG, arriving->end->buffer,
                               (size_t)header->size, (size_t)(turn % header->window * header->size),
                               NULL, NULL, out_ticket);
}

static enum ferry_status receive_bench(struct receiving *receiving,
                                       const struct wire_header *header)
{
    struct arriving arriving = {&receiving->end, header, -1};
    const enum ferry_status status =
        wire_end_buffer(&receiving->end, header->window * header->size);
    return status ? status
                  : wire_in_turns(&receiving->end, header->count, header->window, start_message,
                                  &arriving);
}

/* What a header says comes from the other machine. */
static bool is_sane(const struct wire_header *header)
{
    if (header->kind == WIRE_FILE)
        return header->window > 0 && header->window <= WIRE_WINDOW && header->size <= INT64_MAX;
    return header->kind == WIRE_BENCH && header->window > 0 && header->window <= WIRE_AT_ONCE_MAX &&
           header->size > 0 && header->size <= WIRE_BENCH_MAX;
}

static void tell(const struct receiving *receiving)
{
    char bytes[CLI_TEXT_MAX], time[CLI_TEXT_MAX];
    if (receiving->json) {
        struct ferry_device_info device;
        ferry_device_get_info(receiving->end.device, &device);
        cli_json_head(stdout, "receive");
        cli_json_device(stdout, &device);
        printf(" \"files\": %llu, \"bytes\": %llu, \"seconds\": %.9f, ",
               (unsigned long long)receiving->files, (unsigned long long)receiving->bytes,
               (double)receiving->ns * 1e-9);
        wire_json_way(&receiving->end);
        puts("}");
    } else if (!receiving->quiet && receiving->files > 0) {
        printf("received %s from %s in %s, %.2f GB/s, ", cli_size(bytes, receiving->bytes),
               receiving->end.info.address, cli_time(time, receiving->ns),
               cli_rate(receiving->bytes, receiving->ns));
        wire_tell_way(&receiving->end);
    }
    fflush(stdout);
}

/* All that one peer sends. */
static enum ferry_status serve(struct receiving *receiving, int fd)
{
    struct wire_header header;
    for (;;) {
        enum ferry_status status = wire_receive_header(&receiving->end, &header);
        if (status || header.kind == WIRE_END)
            return status;
        if (!is_sane(&header)) {
            cli_complain("receive: the peer announces what this version does not know");
            return FERRY_ERROR_IO;
        }
        const uint64_t began_ns = cli_now_ns();
        status = header.kind == WIRE_FILE ? receive_file(receiving, &header, fd)
                                          : receive_bench(receiving, &header);
        if (status)
            return status;
        receiving->files += header.kind == WIRE_FILE;
        receiving->bytes += header.kind == WIRE_FILE ? header.size : 0;
        receiving->ns += header.kind == WIRE_FILE ? cli_now_ns() - began_ns : 0;
    }
}

static enum cli_exit serve_next(struct receiving *receiving, int fd)
{
    struct wire_end *end = &receiving->end;
    receiving->files = receiving->bytes = receiving->ns = 0;
    enum ferry_status status = ferry_wire_accept(end->wire, UINT64_MAX, &end->peer);
    if (!status) {
        ferry_peer_get_info(end->peer, &end->info);
        status = serve(receiving, fd);
    }
    if (!status)
        tell(receiving);
    else
        cli_complain("receive: %s", ferry_last_error());
    ferry_peer_close(end->peer);
    end->peer = NULL;
    return !status ? CLI_DONE : CLI_DEVICE;
}

static enum cli_exit run(struct receiving *receiving)
{
    char address[80];
    int fd = -1;
    enum cli_exit end =
        wire_end_open(&receiving->end, "receive", &receiving->wire, receiving->listen);
    if (end != CLI_DONE)
        return end;
    if (receiving->out) {
        fd = open(receiving->out, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (fd < 0) {
            cli_complain("receive: %s: %s", receiving->out, strerror(errno));
            end = CLI_DEVICE;
        }
    }
    if (end == CLI_DONE && !receiving->quiet &&
        !ferry_wire_address(receiving->end.wire, address, sizeof address, NULL))
        fprintf(stderr, "listening on %s\n", address);
    while (end == CLI_DONE) {
        end = serve_next(receiving, fd);
        if (!receiving->keep)
            break;
        end = CLI_DONE;
    }
    if (fd >= 0 && close(fd) != 0 && end == CLI_DONE) {
        cli_complain("receive: %s: %s", receiving->out, strerror(errno));
        end = CLI_DEVICE;
    }
    return end;
}

static const char text[] =
    "Listens at HOST:PORT (port 0: any). Receives from one `ferry send` or `ferry bench --wire`\n"
    "into a private buffer, and writes the bytes to a file if --out names one. It prints the\n"
    "address to stderr. Without --secret-file it listens on this machine's loopback only.";

static const char examples[] = "  ferry receive --listen 127.0.0.1:7700 --out model.bin\n"
                               "  ferry receive --listen 0.0.0.0:7700 --secret-file key --keep\n";

enum cli_exit cli_receive(int argc, char **argv)
{
    struct receiving receiving = {.listen = "127.0.0.1:0"};
    const struct cli_option options[] = {
        {"listen", CLI_TEXT, &receiving.listen, "ADDR", "where (127.0.0.1, any port)"},
        {"out", CLI_TEXT, &receiving.out, "FILE", "write what is received to this file"},
        {"keep", CLI_FLAG, &receiving.keep, NULL, "then serve the next sender"},
        WIRE_OPTIONS(receiving.wire),
        {"json", CLI_FLAG, &receiving.json, NULL, "print JSON instead of a line"},
        {"quiet", CLI_FLAG, &receiving.quiet, NULL, "print only errors and JSON"},
    };
    const struct cli_manual manual = {.name = "receive",
                                      .text = text,
                                      .examples = examples,
                                      .options = options,
                                      .option_count = CLI_COUNT(options)};
    int first = 0;
    enum cli_exit end = CLI_DONE;
    if (!cli_options(&manual, argc, argv, &first, &end))
        return end;
    end = run(&receiving);
    wire_end_close(&receiving.end);
    return end;
}
