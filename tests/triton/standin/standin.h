/*
 * A stand-in for the Triton server: the part of its C API that Ferry uses, in this process, with
 * the API's rules enforced. A breach is written down and told by standin_violations; objects are
 * kept after their end, so that using them is a breach and no crash. Host memory that requests and
 * responses point to is the test's and is really freed: that is for the address sanitizer.
 */
#ifndef STANDIN_H
#define STANDIN_H

#include "triton/types.h"

#include <stdio.h>

#define STANDIN_API __attribute__((visibility("default")))

#define TRITON_CALL(returns, name, parameters) STANDIN_API returns name parameters;
#define TRITON_OPTIONAL TRITON_CALL
#include <ferry/triton_api/calls.inc>
#include <ferry/triton_api/host.inc>
#undef TRITON_CALL
#undef TRITON_OPTIONAL

/* --- for tests -------------------------------------------------------------------------------- */

/* How often a rule was broken since the last standin_reset; the words of the last breach go to
 * stderr, and are told by standin_last_violation. */
STANDIN_API unsigned standin_violations(void);
STANDIN_API const char *standin_last_violation(void);

/* Errors that were made and not deleted. */
STANDIN_API long standin_live_errors(void);

/* Frees what was kept, forgets violations. No request may be under way. */
STANDIN_API void standin_reset(void);

/* The server is one without metrics: they return UNSUPPORTED. */
STANDIN_API void standin_without_metrics(bool absent);

/* The value of a metric, by family and by the labels' text, as in device="host",path="direct"; -1:
 * there is none. */
STANDIN_API double standin_metric(const char *family, const char *labels);

/* Messages logged so far that contain text. */
STANDIN_API unsigned standin_logged(const char *text);

/* --- a backend's side without a server: as if Execute had been called with the request -------- */

/* The request is with the backend now. It was made by TRITONSERVER_InferenceRequestNew with a NULL
 * server. */
STANDIN_API TRITONBACKEND_Request *standin_hand_over(TRITONSERVER_InferenceRequest *request);
STANDIN_API void standin_cancel(TRITONBACKEND_Request *request);

/* InputProperties says this many bytes, whatever the buffers hold. */
STANDIN_API void standin_claim_size(TRITONBACKEND_Request *request, const char *input,
                                    uint64_t byte_size);

/* --- a server --------------------------------------------------------------------------------- */

/* The server takes KIND_GPU, as some cores do. Or: STANDIN_GPU in the environment. */
STANDIN_API void standin_with_gpu(bool there);

/* Requests that were given to a backend and are not released. */
STANDIN_API unsigned standin_outstanding(void);

/* The most requests that one Execute was called with since this was last asked. */
STANDIN_API unsigned standin_largest_batch(void);

/* How often Execute was called. */
STANDIN_API unsigned standin_executions(void);

/* The most batches of one model that were under way at a time, after their Execute had returned and
 * before all their requests were released, since this was last asked. */
STANDIN_API unsigned standin_most_in_flight(void);

/* The next requests, so many, are cancelled when they are given to a backend. */
STANDIN_API void standin_cancel_next(unsigned count);

/* Waits until all models are gone that were unloaded. A host cannot: the server does not tell. */
STANDIN_API void standin_wait_unloaded(TRITONSERVER_Server *server);

#endif
