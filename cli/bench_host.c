#include "bench.h"

#include "compare.h"

#include <stdlib.h>
#include <string.h>

enum { HOST_ODD = 1, PAGE = 4096, GAP = 256 };

const unsigned char bench_pattern[PEER_PATTERN] = {0xfe, 0x44, 0x59, 0x0a};

static void *take(size_t size)
{
    void *bytes = NULL;
    return posix_memalign(&bytes, PAGE, size) == 0 ? bytes : NULL;
}

bool bench_host_take(struct bench_host *host, size_t size, size_t places, bool odd)
{
    struct bench_ground *ground = &host->ground;
    *ground = (struct bench_ground){.size = size, .places = places, .odd = odd};
    /* The gap keeps neighbours apart: what is not adjacent cannot be joined to one copy. */
    ground->stride =
        (size + FERRY_BUFFER_ALIGNMENT - 1) / FERRY_BUFFER_ALIGNMENT * FERRY_BUFFER_ALIGNMENT + GAP;
    host->bytes = places * ground->stride + GAP;
    host->source = take(host->bytes);
    host->yard = take(host->bytes);
    if (!host->source || !host->yard)
        return false;
    memset(host->yard, 0, host->bytes);
    uint32_t *words = host->source;
    for (size_t i = 0; i < host->bytes / sizeof *words; i++)
        words[i] = ((uint32_t)i * 2654435761u ^ (uint32_t)(i >> 7)) | 1;
    ground->source = (unsigned char *)host->source + (odd ? HOST_ODD : 0);
    ground->yard = (unsigned char *)host->yard + (odd ? HOST_ODD : 0);
    return true;
}

void bench_host_give(struct bench_host *host)
{
    free(host->source);
    free(host->yard);
}

/* --- a contestant's own ----------------------------------------------------------------------- */

static const char *take_registered(ferry_device *device, size_t size, void **out_bytes)
{
    void *bytes = take(size);
    if (!bytes)
        return "out of host memory";
    memset(bytes, 0, size);
    if (ferry_host_register(device, bytes, size, 0)) {
        free(bytes);
        return ferry_last_error();
    }
    *out_bytes = bytes;
    return NULL;
}

static const char *take_own(const struct bench_own *own, size_t size, void **out_bytes)
{
    if (own->memory == BENCH_REGISTERED)
        return take_registered(own->device, size, out_bytes);
    if (own->device)
        return !ferry_host_alloc(own->device, size, out_bytes) ? NULL : ferry_last_error();
    if (!own->peer->host_alloc)
        return "it has no memory of its own for the host";
    return own->peer->host_alloc(own->peer_device, size, out_bytes);
}

/* In place of the group's bytes, with the same in it. */
static const char *replace(const struct bench_own *own, const void *bytes, size_t size, bool odd,
                           void **out_bytes, unsigned char **out_place)
{
    const char *why = take_own(own, size, out_bytes);
    if (why)
        return why;
    memcpy(*out_bytes, bytes, size);
    *out_place = (unsigned char *)*out_bytes + (odd ? HOST_ODD : 0);
    return NULL;
}

const char *bench_own_take(struct bench_own *own, const struct bench_spec *spec,
                           const struct bench_host *host, struct bench_ground *ground)
{
    const bool both = spec->mode == BENCH_BOTH, down = spec->operation == FERRY_OPERATION_DOWNLOAD;
    const char *why = NULL;
    own->memory = spec->memory;
    if (own->memory == BENCH_PAGEABLE)
        return NULL;
    if (both || !down)
        why = replace(own, host->source, host->bytes, ground->odd, &own->source, &ground->source);
    if (!why && (both || down))
        why = replace(own, host->yard, host->bytes, ground->odd, &own->yard, &ground->yard);
    return why;
}

static void give_own(const struct bench_own *own, void *bytes)
{
    if (!bytes)
        return;
    if (own->memory == BENCH_REGISTERED) {
        if (!ferry_host_unregister(own->device, bytes))
            free(bytes);
    } else if (own->device) {
        ferry_host_free(own->device, bytes);
    } else {
        own->peer->host_free(own->peer_device, bytes);
    }
}

void bench_own_give(struct bench_own *own)
{
    give_own(own, own->source);
    give_own(own, own->yard);
}

/* --- what arrived ----------------------------------------------------------------------------- */

enum cli_exit bench_compare(const struct bench_ground *ground, enum ferry_operation operation,
                            size_t place, char *why)
{
    const unsigned char *arrived = ground->yard + place, *sent = ground->source + place;
    size_t wrong = 0;
    if (operation == FERRY_OPERATION_FILL) {
        while (wrong < ground->size &&
               arrived[wrong] == bench_pattern[wrong % sizeof bench_pattern])
            wrong++;
        if (wrong < ground->size)
            snprintf(why, CLI_WHY_MAX, "byte %zu of a fill is 0x%02x", wrong, arrived[wrong]);
    } else {
        wrong = compare_bytes(sent, arrived, ground->size);
        if (wrong < ground->size)
            compare_why(why, sent, arrived, wrong, 0);
    }
    return wrong < ground->size ? CLI_CHECK : CLI_DONE;
}
