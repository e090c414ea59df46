#include "wire.h"

#include "peer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void ferry_wire_get_stats(ferry_wire *wire, struct ferry_wire_stats *out_stats, size_t size)
{
    struct ferry_wire_stats stats = {0};
    if (!wire || !out_stats)
        return;
#define FERRY_WIRE_STAT(field, kind, help) \
    stats.field = atomic_load_explicit(&wire->counters.field, memory_order_relaxed);
#include <ferry/wire_stats.inc>
#undef FERRY_WIRE_STAT
    memcpy(out_stats, &stats, size < sizeof stats ? size : sizeof stats);
}

static const struct scalar {
    const char *name, *type, *help;
    size_t offset;
} scalars[] = {
#define NAME_COUNTER(field) "ferry_wire_" #field "_total", "counter"
#define NAME_GAUGE(field) "ferry_wire_" #field, "gauge"
#define FERRY_WIRE_STAT(field, kind, help) \
    {NAME_##kind(field), help, offsetof(struct ferry_wire_stats, field)},
#include <ferry/wire_stats.inc>
#undef FERRY_WIRE_STAT
};

struct text {
    char *out;
    size_t capacity, length;
};

static void put(struct text *text, const char *format, ...) FERRY_WIRE_PRINTF(2, 3);

static void put(struct text *text, const char *format, ...)
{
    const size_t left = text->length < text->capacity ? text->capacity - text->length : 0;
    va_list arguments;
    va_start(arguments, format);
    const int size = vsnprintf(left ? text->out + text->length : NULL, left, format, arguments);
    va_end(arguments);
    text->length += size > 0 ? (size_t)size : 0;
}

/* Each peer that the user has, by where it is and what carries its bytes. */
static void put_peers(struct text *text, ferry_wire *wire, const char *name, const char *help,
                      size_t offset)
{
    put(text, "# HELP %s %s\n# TYPE %s counter\n", name, help, name);
    pthread_mutex_lock(&wire->lock);
    for (ferry_peer *peer = wire->handles; peer; peer = peer->handle_next)
        put(text, "%s{peer=\"%s\",transports=\"%s\"} %llu\n", name, peer->info.address,
            peer->info.transports,
            (unsigned long long)atomic_load((_Atomic uint64_t *)(void *)((char *)peer + offset)));
    pthread_mutex_unlock(&wire->lock);
}

enum ferry_status ferry_wire_metrics(ferry_wire *wire, char *out, size_t capacity, size_t *out_size)
{
    struct text text = {.out = out, .capacity = capacity};
    struct ferry_wire_stats stats;
    if (!wire || (!out && capacity))
        return ferry__wire_fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_wire_metrics: %s is NULL",
                                wire ? "out" : "the wire");
    ferry_wire_get_stats(wire, &stats, sizeof stats);
    if (capacity)
        out[0] = '\0';
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++) {
        uint64_t value;
        memcpy(&value, (const char *)&stats + scalars[i].offset, sizeof value);
        put(&text, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", scalars[i].name, scalars[i].help,
            scalars[i].name, scalars[i].type, scalars[i].name, (unsigned long long)value);
    }
    put_peers(&text, wire, "ferry_wire_peer_sent_bytes_total", "Bytes that a peer has acknowledged",
              offsetof(ferry_peer, bytes_sent));
    put_peers(&text, wire, "ferry_wire_peer_received_bytes_total", "Bytes that came from a peer",
              offsetof(ferry_peer, bytes_received));
    if (out_size)
        *out_size = text.length;
    return FERRY_OK;
}
