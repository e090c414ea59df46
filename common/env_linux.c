#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "common/env.h"

#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

const char *ferry__env(const char *name)
{
    return secure_getenv(name);
}

bool ferry__env_is_another_users(void)
{
    return getauxval(AT_SECURE) != 0;
}

/* Another thread's getenv sees the old list or the new one, both whole, which setenv does not
 * promise. The new one is never freed: that thread may be reading it still. */
void ferry__env_with(char *variable, void (*run)(void))
{
    static char **more;
    char **const before = environ;
    size_t count = 0;
    while (before && before[count])
        count++;
    more = calloc(count + 2, sizeof *more);
    if (more) {
        for (size_t i = 0; i < count; i++)
            more[i] = before[i];
        more[count] = variable;
        environ = more;
    }
    run();
    /* Unless somebody has changed the environment meanwhile, who began with the new list. */
    if (environ == more)
        environ = before;
}
