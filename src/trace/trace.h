/* FERRY_TRACE. */
#ifndef FERRY_TRACE_TRACE_H
#define FERRY_TRACE_TRACE_H

#include <stdbool.h>
#include <stddef.h>

struct ferry__event;
struct ferry__trace;

/* The trace that the environment asks for, which is told how a device and its queues are called;
 * NULL: none. What is wrong with it is logged. */
struct ferry__trace *ferry__trace_open(const struct ferry__event *names);
void ferry__trace_close(struct ferry__trace *trace); /* NULL: nothing */

/* Under the lock; keep: so many more must fit behind it. False: it is lost. */
bool ferry__trace_add_locked(struct ferry__trace *trace, const struct ferry__event *event,
                             size_t keep);
void ferry__trace_add(struct ferry__trace *trace, const struct ferry__event *event);
/* Events that belong together are added between these two. */
void ferry__trace_lock(struct ferry__trace *trace);
void ferry__trace_unlock(struct ferry__trace *trace);

#endif
