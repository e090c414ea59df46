/* The user's own work. */
#ifndef FERRY_ENGINE_EXTERNAL_H
#define FERRY_ENGINE_EXTERNAL_H

#include "base/list.h"
#include "engine/op.h"

#include <ferry/ferry.h>

struct ferry__op_type;

/* Ends external work. Under device->lock, which it gives up on the way. */
void ferry__external_end(struct ferry__op *work, enum ferry_status status, const char *why);

/* The external work of a link of device->open_works or device->works; NULL: of none. */
static inline struct ferry__op *ferry__work_of(struct ferry__link *link)
{
    return link ? FERRY__OF_LINK(link, struct ferry__op, work) : NULL;
}

/* The user's own work, and what is done when all before it is. */
extern const struct ferry__op_type ferry__external_type, ferry__marker_type;

#endif
