/*
 * The host driver: host memory, and a thread for each queue as the copy engine. It is the
 * executable specification of driver.h: it checks what the contract promises, and imitates the
 * limits and failures of other devices by the knobs of docs/host-driver.md (environment:
 * FERRY_HOST).
 *
 * This is for tests, and for the table of drivers. state is what open gave.
 */
#ifndef FERRY_HOST_H
#define FERRY_HOST_H

#include "driver.h"

extern const struct ferry__driver ferry__host_driver;

/* Sets a knob that counts (fail_alloc, import_fail, fail_submit, fail_exec, fail_every, lose_at,
 * delay_us) on an open device: n counts from now, 0 switches it off, UINT64_MAX is "all". false: no
 * such knob, or one that is fixed at open. Any thread. */
bool ferry__host_set(void *state, const char *knob, uint64_t n);

/* The device is lost: at once, or when the copies that run now have stopped. Any thread. */
void ferry__host_lose(void *state);

/*
 * What the user's own GPU interface would do with the events that are handed out under the knob
 * "events": external work of tests. event is a handle of an open device; any thread.
 */
uint64_t ferry__host_event_value(uint64_t event);
bool ferry__host_event_wait(uint64_t event, uint64_t value); /* false: the device was lost */
void ferry__host_event_signal(uint64_t event, uint64_t value);

#endif
