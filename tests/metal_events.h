/* What a user of Metal does with the shared events of external work. */
#ifndef METAL_EVENTS_H
#define METAL_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

void metal_event_signal(uint64_t event, uint64_t value);
bool metal_event_wait(uint64_t event, uint64_t value); /* true, when it is reached */

#endif
