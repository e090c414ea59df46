/* The user's own Metal. */
#include "schedule.h"

#include "metal_events.h"

void metal_work(const struct ferry_external *external)
{
    for (size_t i = 0; i < external->wait_count; i++)
        metal_event_wait(external->waits[i].event, external->waits[i].value);
    metal_event_signal(external->signal.event, external->signal.value);
}
