/* A backend that breaks a rule, which its model's name tells: the stand-in must see it. */
#include "standin/standin.h"

#include <stdlib.h>
#include <string.h>

#define TRITON_CALL(returns, name, parameters) STANDIN_API returns name parameters;
#include <ferry/triton_api/backend.inc>
#undef TRITON_CALL

static const char *rule;
static TRITONBACKEND_Request **kept;

TRITONSERVER_Error *TRITONBACKEND_Initialize(TRITONBACKEND_Backend *backend)
{
    (void)backend;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_Finalize(TRITONBACKEND_Backend *backend)
{
    (void)backend;
    return NULL;
}

static bool is_rule(const char *name)
{
    return !strcmp(rule, name);
}

static TRITONSERVER_Error *fail_if(bool fails)
{
    return fails ? TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_UNAVAILABLE, "not today") : NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInitialize(TRITONBACKEND_Model *model)
{
    TRITONSERVER_ErrorDelete(TRITONBACKEND_ModelName(model, &rule));
    return fail_if(is_rule("model_fails"));
}

TRITONSERVER_Error *TRITONBACKEND_ModelFinalize(TRITONBACKEND_Model *model)
{
    (void)model;
    return fail_if(is_rule("model_fails"));
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceInitialize(TRITONBACKEND_ModelInstance *instance)
{
    (void)instance;
    return fail_if(is_rule("instance_fails"));
}

static void answer(TRITONBACKEND_Request *request)
{
    TRITONBACKEND_Response *response = NULL;
    TRITONSERVER_Error *error = TRITONBACKEND_ResponseNew(&response, request);
    if (!error)
        error = TRITONBACKEND_ResponseSend(response, 1, NULL);
    if (is_rule("two_finals") && !error) {
        error = TRITONBACKEND_ResponseNew(&response, request);
        if (!error)
            error = TRITONBACKEND_ResponseSend(response, 1, NULL);
    }
    if (!error)
        error = TRITONBACKEND_RequestRelease(request, 1);
    TRITONSERVER_ErrorDelete(error);
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceExecute(TRITONBACKEND_ModelInstance *instance,
                                                       TRITONBACKEND_Request **requests,
                                                       const uint32_t request_count)
{
    bool cancelled;
    (void)request_count;
    if (kept)
        TRITONSERVER_ErrorDelete(TRITONBACKEND_RequestIsCancelled(kept[0], &cancelled));
    if (is_rule("keeps_array"))
        kept = requests;
    if (is_rule("other_instance"))
        TRITONSERVER_ErrorDelete(
            TRITONBACKEND_ModelInstanceReportStatistics(NULL, requests[0], true, 1, 2, 3, 4));
    if (!is_rule("not_drained") && !is_rule("refuses"))
        answer(requests[0]);
    if (is_rule("late_statistics"))
        TRITONSERVER_ErrorDelete(
            TRITONBACKEND_ModelInstanceReportStatistics(instance, requests[0], true, 1, 2, 3, 4));
    return fail_if(is_rule("refuses") || is_rule("answers_and_fails"));
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceFinalize(TRITONBACKEND_ModelInstance *instance)
{
    (void)instance;
    kept = NULL;
    return fail_if(is_rule("instance_fails"));
}
