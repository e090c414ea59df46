/* What a device does, told to its trace. Only where device->trace is not NULL. */
#ifndef FERRY_ENGINE_TRACED_H
#define FERRY_ENGINE_TRACED_H

#include <ferry/ferry.h>

struct ferry__call;
struct ferry__transfer;
struct ferry__op;
struct ferry__submission;
struct ferry_device;
struct ferry_stream_event;

/* One event each; those without an end end now. */
void ferry__trace_transfer(const struct ferry_device *device,
                           const struct ferry__transfer *transfer, ferry_ticket ticket,
                           uint64_t begin_ns);
void ferry__trace_op(struct ferry__op *op, uint64_t end_ns); /* and each transfer of it */
void ferry__trace_submission(const struct ferry_device *device, const struct ferry__submission *sub,
                             uint64_t end_ns);
void ferry__trace_wait(struct ferry__op *op);    /* from op->starved_us on, which becomes 0 */
void ferry__trace_starved(struct ferry__op *op); /* now */
void ferry__trace_callback(const struct ferry_device *device, const struct ferry__call *call,
                           uint64_t begin_ns);

void ferry__trace_stream(const struct ferry_device *device,
                         const struct ferry_stream_event *stream);

/* Sets device->trace where the environment asks for one. */
void ferry__device_trace(struct ferry_device *device);

#endif
