/* External work, for those who put its waits and its end into the user's queue themselves. */
#ifndef FERRY_API_EXTERNAL_H
#define FERRY_API_EXTERNAL_H

#include <ferry/ferry.h>

/* As ferry_external_begin. by_event: it has an event, and waits for those of others. */
enum ferry_status ferry__external_begin(ferry_device *device, const struct ferry_use *uses,
                                        size_t count, bool by_event,
                                        struct ferry_external *out_external);

/* Records the end of work in progress that has an event: record is called with what to raise, under
 * no lock. OK: work may be ended, and what follows waits for the event. */
enum ferry_status
ferry__external_record(ferry_device *device, ferry_ticket ticket,
                       enum ferry_status (*record)(void *user, struct ferry_sync sync), void *user);

#endif
