/*
 * Triton's C API: our own declarations (ferry/triton_api.h), so that a build needs no Triton. With
 * -DTRITON_INCLUDE_DIR, check.c compares them with the real headers.
 */
#ifndef FERRY_TRITON_TYPES_H
#define FERRY_TRITON_TYPES_H

#ifdef FERRY_TRITON_REAL_HEADERS
/* The real tritonbackend.h uses these names without "struct", which is C++; with the typedefs first
 * it is C as well. real_types.inc lists those of the headers that are compared with. */
#define TRITON_TYPE(name) typedef struct name name;
#include "real_types.inc"
#include <ferry/triton_api/types.inc>
#undef TRITON_TYPE
#include <triton/core/tritonbackend.h>
#include <triton/core/tritonserver.h>
#else
#include <ferry/triton_api.h>
#endif

/* The versions that all this is of: the major ones must be equal, see ferry__triton_find. */
#define FERRY_TRITON_SERVER_MAJOR 1
#define FERRY_TRITON_BACKEND_MAJOR 1

#endif
