/* macOS has no memory by descriptors alone. */
#include "host_internal.h"

#include "base/sharing.h"

const struct ferry__sharing ferry__host_sharing = {.reaches = ferry__host_reaches};
