/* The environment, which the library and all that is built beside it reads in this one way. */
#ifndef FERRY_COMMON_ENV_H
#define FERRY_COMMON_ENV_H

#include <stdbool.h>

/* What getenv gives; NULL also where the process has more rights than whoever started it (setuid,
 * setgid, file capabilities): its environment is that caller's, and may name code to load or files
 * to write. */
const char *ferry__env(const char *name);

/* Has the process more rights than whoever started it? */
bool ferry__env_is_another_users(void);

/* Calls run() while the environment has this variable, too: "NAME=VALUE", which stays where it is.
 * For libraries that ask it once, when they are loaded. Once a process; not on macOS. */
void ferry__env_with(char *variable, void (*run)(void));

#endif
