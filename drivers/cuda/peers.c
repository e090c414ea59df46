/*
 * Which devices reach each other's memory without the host's. CUDA says which may; the first time
 * that two devices are asked about a page goes both ways and is compared, since there are machines
 * where CUDA says so and the bytes are others.
 */
#include "cuda_internal.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

enum { PAGE = 4096 };

static _Atomic uint64_t serials;

int ferry__cuda_peers_init(struct cuda *c)
{
    c->serial = atomic_fetch_add(&serials, 1) + 1;
    return pthread_mutex_init(&c->peers.lock, NULL);
}

void ferry__cuda_peers_finish(struct cuda *c)
{
    pthread_mutex_destroy(&c->peers.lock);
}

/* What a trial takes: page-locked memory for what goes and comes, memory on both devices. */
struct trial {
    unsigned char *host;
    cu_address here, there;
    cu_stream stream;
};

static cu_result wait_for(struct cuda *c, cu_stream stream)
{
    cu_result result;
    while ((result = c->cu.StreamQuery(stream)) == CU_ERROR_NOT_READY)
        sched_yield();
    return result;
}

/* Has the current context reach the peer's memory. */
static cu_result enable(struct cuda *c, cu_context peer)
{
    const cu_result result = c->cu.CtxEnablePeerAccess(peer, 0);
    return result == CU_ERROR_PEER_ACCESS_ALREADY_ENABLED ? CU_SUCCESS : result;
}

/* What a trial finds. Without memory for it nothing: it comes again. */
enum trial_end { TRIAL_NONE, TRIAL_GOOD, TRIAL_BAD };

/* A page there and back again, in this device's stream. */
static enum trial_end goes_round(struct cuda *c, const struct cuda *peer, struct trial *t)
{
    const cu_address host = (cu_address)(uintptr_t)t->host;
    for (size_t i = 0; i < PAGE; i++)
        t->host[i] = (unsigned char)(i * 31 + (i >> 8) + 1);
    memset(t->host + PAGE, 0, PAGE);
    cu_result result = c->cu.MemcpyAsync(t->here, host, PAGE, t->stream);
    if (!result)
        result =
            c->cu.MemcpyPeerAsync(t->there, peer->context, t->here, c->context, PAGE, t->stream);
    if (!result)
        result = c->cu.MemsetD8Async(t->here, 0, PAGE, t->stream);
    if (!result)
        result =
            c->cu.MemcpyPeerAsync(t->here, c->context, t->there, peer->context, PAGE, t->stream);
    if (!result)
        result = c->cu.MemcpyAsync(host + PAGE, t->here, PAGE, t->stream);
    const cu_result ended = wait_for(c, t->stream);
    const bool same = !result && !ended && memcmp(t->host, t->host + PAGE, PAGE) == 0;
    return same ? TRIAL_GOOD : TRIAL_BAD;
}

/* Within this device's context, but for the peer's page. */
static enum trial_end try_out(struct cuda *c, struct cuda *peer, cu_address there)
{
    struct trial t = {.there = there};
    void *host = NULL;
    enum trial_end end = TRIAL_NONE;
    if (enable(c, peer->context) || c->cu.MemHostAlloc(&host, 2 * PAGE, CU_HOST_ALLOC_PORTABLE))
        return TRIAL_NONE;
    t.host = host;
    if (!c->cu.MemAlloc(&t.here, PAGE)) {
        if (!c->cu.StreamCreate(&t.stream, CU_STREAM_DOES_NOT_BLOCK)) {
            end = goes_round(c, peer, &t);
            (void)c->cu.StreamDestroy(t.stream);
        }
        (void)c->cu.MemFree(t.here);
    }
    (void)c->cu.MemFreeHost(host);
    return end;
}

static bool may_reach(struct cuda *c, const struct cuda *peer)
{
    int there = 0, back = 0;
    return !c->cu.DeviceCanAccessPeer(&there, c->device, peer->device) && there &&
           !c->cu.DeviceCanAccessPeer(&back, peer->device, c->device) && back;
}

static enum trial_end find_out(struct cuda *c, struct cuda *peer)
{
    struct cuda_scope scope;
    cu_address there = 0;
    enum trial_end end = TRIAL_NONE;
    if (!may_reach(c, peer))
        return TRIAL_BAD;
    if (ferry__cuda_enter(peer, &scope, NULL))
        return TRIAL_NONE;
    const bool got = !enable(peer, c->context) && !peer->cu.MemAlloc(&there, PAGE);
    ferry__cuda_leave(peer, &scope);
    if (!got)
        return TRIAL_NONE;
    if (!ferry__cuda_enter(c, &scope, NULL)) {
        end = try_out(c, peer, there);
        ferry__cuda_leave(c, &scope);
    }
    if (!ferry__cuda_enter(peer, &scope, NULL)) {
        (void)peer->cu.MemFree(there);
        ferry__cuda_leave(peer, &scope);
    }
    if (end == TRIAL_BAD)
        ferry__log(FERRY_LOG_WARN,
                   "cuda: devices %d and %d say that they reach each other, and a page that went "
                   "both ways did not come back: their copies go by the host",
                   c->ordinal, peer->ordinal);
    return end;
}

/* Two contexts of one device are not peers: they have one memory, and any copy goes there. */
bool ferry__cuda_reaches(void *state, void *other)
{
    struct cuda *c = state, *peer = other;
    if (c->device == peer->device || peer->ordinal >= CUDA__DEVICES_MAX || ferry__cuda_forked(c))
        return false;
    pthread_mutex_lock(&c->peers.lock);
    if (c->peers.serials[peer->ordinal] != peer->serial) {
        const enum trial_end end = find_out(c, peer);
        c->peers.reached[peer->ordinal] = end == TRIAL_GOOD;
        c->peers.serials[peer->ordinal] = end == TRIAL_NONE ? 0 : peer->serial;
    }
    const bool reached = c->peers.reached[peer->ordinal];
    pthread_mutex_unlock(&c->peers.lock);
    return reached;
}
