/* What a user of Metal does with the shared events of external work. */
#include "metal_events.h"

#include "drivers/metal/objc.h"

#include <unistd.h>

void metal_event_signal(uint64_t event, uint64_t value)
{
    void *pool = mtl_pool_push();
    mtl_event_set((mtl_id)(uintptr_t)event, value);
    mtl_pool_pop(pool);
}

/* By polling: the user's GPU would do the waiting. */
bool metal_event_wait(uint64_t event, uint64_t value)
{
    uint64_t now = 0;
    while (now < value) {
        void *pool = mtl_pool_push();
        now = mtl_event_value((mtl_id)(uintptr_t)event);
        mtl_pool_pop(pool);
        if (now < value)
            usleep(100);
    }
    return true;
}
