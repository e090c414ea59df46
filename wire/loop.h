/* The thread of a wire. */
#ifndef FERRY_WIRE_LOOP_H
#define FERRY_WIRE_LOOP_H

#include "wire.h"

/* False: no memory. */
bool ferry__wire_loop_prepare(ferry_wire *wire);
void *ferry__wire_run(void *wire);
/* Under wire->lock: the thread looks at what is new. */
void ferry__wire_wake(ferry_wire *wire);

#endif
