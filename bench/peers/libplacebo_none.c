#include "peer.h"

static const char *none_open(const struct peer_wish *wish, void **out_device)
{
    (void)wish;
    (void)out_device;
    return "this build was made without libplacebo's headers";
}

const struct peer peer_libplacebo = {.name = "libplacebo", .open = none_open};
const struct peer peer_libplacebo_staged = {.name = "libplacebo staged", .open = none_open};
