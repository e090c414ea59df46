/* Commands of a submission, and the barriers between them. */
#ifndef FERRY_ENGINE_COMMANDS_H
#define FERRY_ENGINE_COMMANDS_H

#include "driver.h"

#include <ferry/ferry.h>

struct ferry__submission;
struct ferry_device;

/* Adds a command, with a barrier before it where it needs one (barrier.c). */
void ferry__run_begin(
    struct ferry__submission *sub); /* what comes next follows a barrier, or nothing */
enum ferry_status ferry__add_command(const struct ferry_device *device,
                                     struct ferry__submission *sub, struct ferry__command command);

#endif
