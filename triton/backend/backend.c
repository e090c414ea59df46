#include "backend.h"
#include "common/show.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#define TRITON_CALL(returns, name, parameters) EXPORT returns name parameters;
#include <ferry/triton_api/backend.inc>
#undef TRITON_CALL

TRITONSERVER_Error *backend_fail(TRITONSERVER_Error_Code code, const char *format, ...)
{
    char message[1024], shown[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    ferry__show_text(shown, sizeof shown, message);
    return ferry__triton.TRITONSERVER_ErrorNew(code, shown);
}

void backend_log(TRITONSERVER_LogLevel level, const char *what, TRITONSERVER_Error *error)
{
    char message[1280], shown[1280];
    if (!error)
        return;
    snprintf(message, sizeof message, "ferry: %s: %s", what,
             ferry__triton.TRITONSERVER_ErrorMessage(error));
    ferry__triton.TRITONSERVER_ErrorDelete(error);
    ferry__show_text(shown, sizeof shown, message);
    ferry__triton.TRITONSERVER_ErrorDelete(
        ferry__triton.TRITONSERVER_LogMessage(level, "triton_ferry", 0, shown));
}

uint64_t backend_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- what the server calls -------------------------------------------------------------------- */

TRITONSERVER_Error *TRITONBACKEND_Initialize(TRITONBACKEND_Backend *backend)
{
    const char *problem = ferry__triton_find();
    (void)backend;
    if (problem)
        return backend_fail(TRITONSERVER_ERROR_UNSUPPORTED, "%s", problem);
    return ferry_triton_log(FERRY_LOG_WARN);
}

TRITONSERVER_Error *TRITONBACKEND_Finalize(TRITONBACKEND_Backend *backend)
{
    (void)backend;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInitialize(TRITONBACKEND_Model *triton)
{
    struct model *model = NULL;
    TRITONSERVER_Error *error = model_create(triton, &model);
    if (!error)
        error = ferry__triton.TRITONBACKEND_ModelSetState(triton, model);
    if (error)
        model_destroy(model);
    return error;
}

TRITONSERVER_Error *TRITONBACKEND_ModelFinalize(TRITONBACKEND_Model *triton)
{
    void *model = NULL;
    TRITONSERVER_Error *error = ferry__triton.TRITONBACKEND_ModelState(triton, &model);
    if (!error)
        model_destroy(model);
    return error;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceInitialize(TRITONBACKEND_ModelInstance *triton)
{
    struct instance *instance = NULL;
    TRITONBACKEND_Model *of = NULL;
    void *model = NULL;
    TRITONSERVER_Error *error = ferry__triton.TRITONBACKEND_ModelInstanceModel(triton, &of);
    if (!error)
        error = ferry__triton.TRITONBACKEND_ModelState(of, &model);
    if (!error)
        error = instance_create(triton, model, &instance);
    if (error)
        return error;
    error = ferry__triton.TRITONBACKEND_ModelInstanceSetState(triton, instance);
    if (error)
        instance_destroy(instance);
    return error;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceFinalize(TRITONBACKEND_ModelInstance *triton)
{
    void *instance = NULL;
    TRITONSERVER_Error *error = ferry__triton.TRITONBACKEND_ModelInstanceState(triton, &instance);
    if (!error && instance)
        instance_destroy(instance);
    return error;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceExecute(TRITONBACKEND_ModelInstance *triton,
                                                       TRITONBACKEND_Request **requests,
                                                       const uint32_t request_count)
{
    void *instance = NULL;
    TRITONSERVER_Error *error = ferry__triton.TRITONBACKEND_ModelInstanceState(triton, &instance);
    return error ? error : execute(instance, requests, request_count);
}
