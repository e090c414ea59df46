/* What differs between systems. */
#ifndef FERRY_BASE_SYSTEM_H
#define FERRY_BASE_SYSTEM_H

/* Names the calling thread; a name too long for the system is left out. */
void ferry__thread_set_name(const char *name);

/* The CPUs that this process may run on; at least 1. */
unsigned ferry__cpu_count(void);

#endif
