/* The user's own work. */
#ifndef FERRY_ENGINE_EXTERNAL_H
#define FERRY_ENGINE_EXTERNAL_H

#include <ferry/ferry.h>

struct ferry__op;
struct ferry__op_type;
struct ferry__works;

/* Ends external work. Under device->lock, which it gives up on the way. */
void ferry__external_end(struct ferry__op *work, enum ferry_status status, const char *why);

/* Lists of external work. */
void ferry__works_add(struct ferry__works *list, struct ferry__op *work);
void ferry__works_remove(struct ferry__works *list, struct ferry__op *work);

/* The user's own work, and what is done when all before it is. */
extern const struct ferry__op_type ferry__external_type, ferry__marker_type;

#endif
