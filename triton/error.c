#include "common/show.h"
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>

enum { MESSAGE_MAX = 1024 };

/* Stands for an error where there is no server to make one. Its address is all there is to it. */
static char no_server;

TRITONSERVER_Error *ferry__triton_need(void)
{
    const char *problem = ferry__triton_find();
    if (!problem)
        return NULL;
    fprintf(stderr, "ferry: triton: %s\n", problem);
    return (TRITONSERVER_Error *)(void *)&no_server;
}

const char *ferry_triton_problem(void)
{
    return ferry__triton_find();
}

static TRITONSERVER_Error *make(TRITONSERVER_Error_Code code, const char *message)
{
    TRITONSERVER_Error *problem = ferry__triton_need();
    if (problem)
        return problem;
    TRITONSERVER_Error *error = ferry__triton.TRITONSERVER_ErrorNew(code, message);
    return error ? error : (TRITONSERVER_Error *)(void *)&no_server;
}

TRITONSERVER_Error *ferry__triton_fail(TRITONSERVER_Error_Code code, const char *format, ...)
{
    char message[MESSAGE_MAX], shown[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    ferry__show_text(shown, sizeof shown, message);
    return make(code, shown);
}

static const TRITONSERVER_Error_Code codes[] = {
    [FERRY_ERROR_INVALID_ARGUMENT] = TRITONSERVER_ERROR_INVALID_ARG,
    [FERRY_ERROR_OUT_OF_RANGE] = TRITONSERVER_ERROR_INVALID_ARG,
    [FERRY_ERROR_OUT_OF_HOST_MEMORY] = TRITONSERVER_ERROR_UNAVAILABLE,
    [FERRY_ERROR_OUT_OF_DEVICE_MEMORY] = TRITONSERVER_ERROR_UNAVAILABLE,
    [FERRY_ERROR_POOL_EXHAUSTED] = TRITONSERVER_ERROR_UNAVAILABLE,
    [FERRY_ERROR_TIMEOUT] = TRITONSERVER_ERROR_UNAVAILABLE,
    [FERRY_ERROR_UNSUPPORTED] = TRITONSERVER_ERROR_UNSUPPORTED,
    [FERRY_ERROR_NO_DEVICE] = TRITONSERVER_ERROR_NOT_FOUND,
    [FERRY_ERROR_INTERNAL] = TRITONSERVER_ERROR_INTERNAL,
};

static TRITONSERVER_Error_Code code_of(enum ferry_status status)
{
    const size_t count = sizeof codes / sizeof *codes;
    const TRITONSERVER_Error_Code code = (size_t)status < count ? codes[status] : 0;
    return code != TRITONSERVER_ERROR_UNKNOWN ? code : TRITONSERVER_ERROR_INTERNAL;
}

TRITONSERVER_Error *ferry__triton_status(enum ferry_status status, const char *format, ...)
{
    char what[MESSAGE_MAX / 2];
    va_list args;
    if (!status)
        return NULL;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    const char *reason = ferry_last_error();
    return ferry__triton_fail(code_of(status), "%s: %s", what,
                              reason[0] ? reason : ferry_status_text(status));
}

TRITONSERVER_Error *ferry_triton_error(enum ferry_status status, const char *what)
{
    return ferry__triton_status(status, "%s", what ? what : "Ferry");
}

TRITONSERVER_Error *ferry__triton_no_memory(size_t bytes)
{
    return ferry__triton_fail(TRITONSERVER_ERROR_UNAVAILABLE, "no host memory for %zu bytes",
                              bytes);
}

void ferry__triton_delete(TRITONSERVER_Error *error)
{
    if (error && (void *)error != &no_server)
        ferry__triton.TRITONSERVER_ErrorDelete(error);
}
