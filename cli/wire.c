/* One end of a wire, as the command has it. */
#include "wire.h"

#include <string.h>

#define CONNECT_NS UINT64_C(10000000000)

static const char *label = "wire";

enum cli_exit wire_end_open(struct wire_end *end, const char *command,
                            const struct wire_options *options, const char *listen)
{
    const struct ferry_device_params device = {.name = options->device_name};
    const struct ferry_wire_params wire = {.listen = listen,
                                           .secret_file = options->secret_file,
                                           .transports = options->transports,
                                           .interface = options->interface,
                                           .data_ports = options->data_ports,
                                           .flags =
                                               options->no_fallback ? FERRY_WIRE_NO_FALLBACK : 0};
    *end = (struct wire_end){.device = NULL};
    if (ferry_device_open(&device, &end->device)) {
        cli_complain("%s: cannot open the device: %s", command, ferry_last_error());
        return CLI_DEVICE;
    }
    if (ferry_wire_open(&wire, &end->wire)) {
        cli_complain("%s: %s", command, ferry_last_error());
        ferry_device_close(end->device);
        end->device = NULL;
        return CLI_DEVICE;
    }
    return CLI_DONE;
}

enum cli_exit wire_end_connect(struct wire_end *end, const char *command, const char *address)
{
    if (ferry_wire_connect(end->wire, address, CONNECT_NS, &end->peer)) {
        cli_complain("%s: %s", command, ferry_last_error());
        return CLI_DEVICE;
    }
    ferry_peer_get_info(end->peer, &end->info);
    return CLI_DONE;
}

void wire_end_close(struct wire_end *end)
{
    ferry_peer_close(end->peer);
    ferry_wire_close(end->wire);
    ferry_buffer_destroy(end->buffer);
    if (end->device)
        ferry_device_close(end->device);
    *end = (struct wire_end){.device = NULL};
}

enum ferry_status wire_end_buffer(struct wire_end *end, uint64_t size)
{
    const struct ferry_buffer_params params = {.size = (size_t)size, .label = label};
    if (end->buffer && ferry_buffer_size(end->buffer) >= size)
        return FERRY_OK;
    ferry_buffer_destroy(end->buffer);
    end->buffer = NULL;
    return ferry_buffer_create(end->device, &params, &end->buffer);
}

enum ferry_status wire_send_header(struct wire_end *end, const struct wire_header *header)
{
    const uint64_t values[] = {header->kind, header->size, header->window, header->count};
    unsigned char bytes[WIRE_HEADER];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(values[i / 8] >> (8 * (i % 8)));
    enum ferry_status status = wire_end_buffer(end, WIRE_HEADER);
    if (!status)
        status = ferry_copy_from_host(end->buffer, bytes, sizeof bytes, 0);
    if (!status)
        status = ferry_send(end->peer, WIRE_HEADER_TAG, end->buffer, sizeof bytes, 0);
    return status;
}

enum ferry_status wire_receive_header(struct wire_end *end, struct wire_header *header)
{
    uint64_t values[4] = {0};
    unsigned char bytes[WIRE_HEADER] = {0};
    enum ferry_status status = wire_end_buffer(end, WIRE_HEADER);
    if (!status)
        status = ferry_receive(end->peer, WIRE_HEADER_TAG, end->buffer, sizeof bytes, 0);
    if (!status)
        status = ferry_copy_to_host(end->buffer, bytes, sizeof bytes, 0);
    for (size_t i = 0; i < sizeof bytes; i++)
        values[i / 8] |= (uint64_t)bytes[i] << (8 * (i % 8));
    if (!status)
        *header = (struct wire_header){values[0], values[1], values[2], values[3]};
    return status;
}

enum ferry_status wire_in_turns(struct wire_end *end, uint64_t count, uint64_t at_once,
                                wire_start start, void *user)
{
    ferry_ticket tickets[WIRE_AT_ONCE_MAX] = {0};
    enum ferry_status status = FERRY_OK;
    for (uint64_t turn = 0; turn < count && !status; turn++) {
        status = ferry_wait(end->device, tickets[turn % at_once], UINT64_MAX);
        if (!status)
            status = start(user, turn, &tickets[turn % at_once]);
    }
    for (uint64_t i = 0; i < at_once && !status; i++)
        status = ferry_wait(end->device, tickets[i], UINT64_MAX);
    return status;
}

void wire_tell_way(const struct wire_end *end)
{
    printf("by %s on %s\n", end->info.transports, end->info.interface);
}

void wire_json_way(const struct wire_end *end)
{
    const struct ferry_peer_info *info = &end->info;
    fputs("\"peer\": ", stdout);
    cli_json_string(stdout, info->address);
    fputs(", \"transports\": ", stdout);
    cli_json_string(stdout, info->transports);
    fputs(", \"interface\": ", stdout);
    cli_json_string(stdout, info->interface);
    printf(", \"fallback\": %s", info->fallback ? "true" : "false");
}
