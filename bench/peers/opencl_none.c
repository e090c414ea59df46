#include "peer.h"

static const char *none_open(const struct peer_wish *wish, void **out_device)
{
    (void)wish;
    (void)out_device;
    return "this build was made without OpenCL's headers";
}

const struct peer peer_opencl = {.name = "opencl", .open = none_open};
