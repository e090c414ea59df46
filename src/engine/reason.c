#include "engine/reason.h"

#include "base/alloc.h"

#include <stdatomic.h>
#include <string.h>

/* Counted by many threads: an op lets its reason go under no lock, and the halves of a copy between
 * two devices share one. */
struct ferry__reason {
    _Atomic unsigned refs;
    char text[];
};

struct ferry__reason *ferry__reason_make(const char *text)
{
    const size_t size = strlen(text) + 1;
    struct ferry__reason *reason = ferry__alloc(sizeof *reason + size);
    if (!reason)
        return NULL;
    atomic_init(&reason->refs, 1);
    memcpy(reason->text, text, size);
    return reason;
}

struct ferry__reason *ferry__reason_ref(struct ferry__reason *reason)
{
    if (reason)
        atomic_fetch_add_explicit(&reason->refs, 1, memory_order_relaxed);
    return reason;
}

void ferry__reason_unref(struct ferry__reason *reason)
{
    if (reason && atomic_fetch_sub_explicit(&reason->refs, 1, memory_order_acq_rel) == 1)
        ferry__free(reason);
}

const char *ferry__reason_text(const struct ferry__reason *reason)
{
    return reason ? reason->text : "it failed, and there was no host memory to keep the reason";
}
