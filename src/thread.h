/* What differs between systems, for thread.c and copy_host.c: thread_linux.c, thread_macos.c. */
#ifndef FERRY_THREAD_H
#define FERRY_THREAD_H

/* Names the calling thread; a name too long for the system is left out. */
void ferry__thread_set_name(const char *name);

/* The CPUs that this process may run on; at least 1. */
unsigned ferry__cpu_count(void);

#endif
