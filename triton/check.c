/* Compiles only where our own declarations of Triton's C API say what the real headers say. */
#define FERRY_TRITON_REAL_HEADERS
#include "types.h"

#include <assert.h>

#define TRITON_ENUM(type)
#define TRITON_ENUM_END(type)
#define TRITON_VALUE(name, value) static_assert((int)name == (value), #name);
#include <ferry/triton_api/enums.inc>

#define TRITON_CALL(returns, name, parameters) \
    static_assert(_Generic(&name, returns(*) parameters : 1, default : 0), #name);
/* A second declaration: an error where it differs from the first, harmless where there is none. */
#define TRITON_OPTIONAL(returns, name, parameters) returns name parameters;
#include <ferry/triton_api/backend.inc>
#include <ferry/triton_api/calls.inc>
#include <ferry/triton_api/host.inc>

static_assert(TRITONSERVER_API_VERSION_MAJOR == FERRY_TRITON_SERVER_MAJOR,
              "another major version of the TRITONSERVER API");
static_assert(TRITONBACKEND_API_VERSION_MAJOR == FERRY_TRITON_BACKEND_MAJOR,
              "another major version of the TRITONBACKEND API");
