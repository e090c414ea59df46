#include "hang.h"
#include "promises.h"

#include <sys/wait.h>
#include <unistd.h>

void in_child(int (*body)(void *arg), void *arg)
{
    int status = 0;
    fflush(stdout);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(HANG_SECONDS);
        _exit(body(arg));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status)
        fail_msg("the child ended with status 0x%x", (unsigned)status);
}

ferry_device *queued_device(void)
{
    struct ferry_device_params params = suite->params;
    params.map_private = FERRY_MAP_NEVER;
    if (params.path == FERRY_PATH_DIRECT)
        params.path = FERRY_PATH_STAGED;
    return open_with(NULL, &params);
}
