#include "bench.h"

#include "reference.h"

#include <stdlib.h>
#include <string.h>

enum { WAKE_SIZE = 16 << 20 };

/* Ferry's copying threads are made by the first large copy: made pinned they would stay so. */
static bool wake_copiers(ferry_device *device)
{
    ferry_buffer *buffer = NULL;
    void *bytes = calloc(1, WAKE_SIZE);
    bool good =
        bytes &&
        !ferry_buffer_create(device, &(struct ferry_buffer_params){.size = WAKE_SIZE}, &buffer) &&
        !ferry_copy_from_host(buffer, bytes, WAKE_SIZE, 0);
    ferry_buffer_destroy(buffer);
    free(bytes);
    return good;
}

static const char *open_peer(struct bench_session *session, enum peer_id peer, bool pinned)
{
    struct peer_wish wish = {.cpu = session->info.kind == FERRY_DEVICE_HOST ||
                                    session->info.kind == FERRY_DEVICE_SOFTWARE};
    memcpy(wish.uuid, session->info.uuid, sizeof wish.uuid);
    bench_peer_current(bench_peers[peer]);
    const char *why = bench_peers[peer]->open(&wish, &session->peers[pinned][peer]);
    bench_peer_current(NULL);
    return why;
}

static void open_peers(struct bench_session *session, bool wanted)
{
    for (enum peer_id peer = 0; peer < PEER_COUNT; peer++) {
        const char *why = wanted ? open_peer(session, peer, false) : "not asked for";
        snprintf(session->peer_why[peer], PEER_WHY_MAX, "%s", why ? why : "");
    }
}

bool bench_session_open(struct bench_session *session, const char *device_name, bool peers)
{
    *session = (struct bench_session){.device_name = device_name};
    ferry_device *device = bench_session_device(
        session, &(struct bench_spec){.kind = BENCH_FERRY, .path = FERRY_PATH_AUTO}, false);
    if (!device) {
        cli_complain("bench: cannot open the device: %s", ferry_last_error());
        return false;
    }
    ferry_device_get_info(device, &session->info);
    session->device_name = session->info.name;
    /* A device too small for it has no use for several copiers either. */
    (void)wake_copiers(device);
    session->pins = bench_pin();
    bench_unpin();
    open_peers(session, peers);
    return true;
}

void bench_session_close(struct bench_session *session)
{
    for (int pinned = 0; pinned < 2; pinned++) {
        for (enum peer_id peer = 0; peer < PEER_COUNT; peer++)
            if (session->peers[pinned][peer])
                bench_peers[peer]->close(session->peers[pinned][peer]);
        ferry_device_close(session->plain[pinned]);
        for (size_t path = 0; path < CLI_COUNT(session->devices[pinned]); path++)
            ferry_device_close(session->devices[pinned][path]);
    }
}

ferry_device *bench_session_device(struct bench_session *session, const struct bench_spec *spec,
                                   bool pinned)
{
    if (spec->kind == BENCH_SEED) {
        ferry_device **plain = &session->plain[pinned];
        if (!*plain && reference_open_plain(session->devices[0][0], plain))
            return NULL;
        return *plain;
    }
    ferry_device **device = &session->devices[pinned][spec->path];
    const struct ferry_device_params params = {.name = session->device_name,
                                               .path = spec->path,
                                               .no_fallback = spec->path != FERRY_PATH_AUTO};
    if (!*device && ferry_device_open(&params, device))
        return NULL;
    return *device;
}

void *bench_session_peer(struct bench_session *session, enum peer_id peer, bool pinned,
                         const char **out_why)
{
    *out_why = NULL;
    if (session->peer_why[peer][0] != 0)
        *out_why = session->peer_why[peer];
    else if (!session->peers[pinned][peer])
        *out_why = open_peer(session, peer, pinned);
    return session->peers[pinned][peer];
}
