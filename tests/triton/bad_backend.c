/* A backend that breaks a rule, which its model's name tells: the stand-in must see it. */
#include "standin/standin.h"

#include <stdlib.h>
#include <string.h>

#define TRITON_CALL(returns, name, parameters) STANDIN_API returns name parameters;
#include "triton/backend.inc"
#undef TRITON_CALL

static const char *rule;
static TRITONBACKEND_Request **kept;

TRITONSERVER_Error *TRITONBACKEND_Initialize(TRITONBACKEND_Backend *backend) {
    (void)backend;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_Finalize(TRITONBACKEND_Backend *backend) {
    (void)backend;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInitialize(TRITONBACKEND_Model *model) {
    return TRITONBACKEND_ModelName(model, &rule);
}

TRITONSERVER_Error *TRITONBACKEND_ModelFinalize(TRITONBACKEND_Model *model) {
    (void)model;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceInitialize(TRITONBACKEND_ModelInstance *instance) {
    (void)instance;
    return NULL;
}

static void answer(TRITONBACKEND_Request *request) {
    TRITONBACKEND_Response *response = NULL;
    TRITONSERVER_Error *error = TRITONBACKEND_ResponseNew(&response, request);
    if (!error) error = TRITONBACKEND_ResponseSend(response, 1, NULL);
    if (!strcmp(rule, "two_finals") && !error) {
        error = TRITONBACKEND_ResponseNew(&response, request);
        if (!error) error = TRITONBACKEND_ResponseSend(response, 1, NULL);
    }
    if (!error) error = TRITONBACKEND_RequestRelease(request, 1);
    TRITONSERVER_ErrorDelete(error);
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceExecute(TRITONBACKEND_ModelInstance *instance,
                                                       TRITONBACKEND_Request **requests,
                                                       const uint32_t request_count) {
    bool cancelled;
    (void)request_count;
    if (kept) TRITONSERVER_ErrorDelete(TRITONBACKEND_RequestIsCancelled(kept[0], &cancelled));
    if (!strcmp(rule, "refuses"))
        return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_UNAVAILABLE, "not today");
    if (!strcmp(rule, "keeps_array")) kept = requests;
    if (strcmp(rule, "not_drained")) answer(requests[0]);
    if (!strcmp(rule, "late_statistics"))
        TRITONSERVER_ErrorDelete(TRITONBACKEND_ModelInstanceReportStatistics(
            instance, requests[0], true, 1, 2, 3, 4));
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceFinalize(TRITONBACKEND_ModelInstance *instance) {
    (void)instance;
    kept = NULL;
    return NULL;
}
