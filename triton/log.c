#include "internal.h"

static const TRITONSERVER_LogLevel levels[] = {
    [FERRY_LOG_NONE] = TRITONSERVER_LOG_ERROR,    [FERRY_LOG_ERROR] = TRITONSERVER_LOG_ERROR,
    [FERRY_LOG_WARN] = TRITONSERVER_LOG_WARN,     [FERRY_LOG_INFO] = TRITONSERVER_LOG_INFO,
    [FERRY_LOG_DEBUG] = TRITONSERVER_LOG_VERBOSE,
};

static void pass_on(enum ferry_log_level level, const char *message, void *user)
{
    (void)user;
    const TRITONSERVER_LogLevel as = levels[level <= FERRY_LOG_DEBUG ? level : FERRY_LOG_DEBUG];
    if (!ferry__triton.TRITONSERVER_LogIsEnabled(as))
        return;
    ferry__triton_delete(ferry__triton.TRITONSERVER_LogMessage(as, "ferry", 0, message));
}

TRITONSERVER_Error *ferry_triton_log(enum ferry_log_level level)
{
    TRITONSERVER_Error *error = ferry__triton_need();
    if (error)
        return error;
    if ((unsigned)level > FERRY_LOG_DEBUG)
        return ferry__triton_fail(TRITONSERVER_ERROR_INVALID_ARG, "ferry_triton_log: level is %d",
                                  (int)level);
    ferry_set_log(pass_on, NULL, level);
    return NULL;
}
