/* Threads that wait: they do the engine's work meanwhile, and one of them waits in the driver. */
#ifndef FERRY_ENGINE_WAITER_H
#define FERRY_ENGINE_WAITER_H

#include <stdbool.h>
#include <stdint.h>

struct ferry_device;
struct ferry__op;

/* Waits, helping, until done(arg) under device->lock. False: the deadline came first. */
bool ferry__wait_until(struct ferry_device *device, bool (*done)(void *arg), void *arg,
                       uint64_t deadline_ns);

/* Until op is done, which is registered. leaves: another thread that polls may submit it. */
void ferry__wait_for_op(struct ferry_device *device, struct ferry__op *op, bool leaves);

/* Waits in the driver, as the one thread that does. False: there is nothing to wait for. */
bool ferry__poll_driver(struct ferry_device *device, bool (*done)(void *arg), void *arg,
                        uint64_t deadline_ns);

#endif
