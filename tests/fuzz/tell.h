/* Metadata of a file in memory: texts that end, of a type that has a name. */
#ifndef FERRY_FUZZ_TELL_H
#define FERRY_FUZZ_TELL_H

#include "models/models.h"

#include <stdlib.h>
#include <string.h>

static void fuzz_look(const struct ferry_model_metadata *pair, void *user)
{
    (void)user;
    if (!pair->type || !pair->type[0] || strlen(pair->key) > FERRY_METADATA_TEXT_MAX ||
        strlen(pair->value) > FERRY_METADATA_TEXT_MAX)
        abort();
}

static enum ferry_status fuzz_tell(const struct ferry__source *source,
                                   enum ferry_status (*tell)(const struct ferry__source *source,
                                                             struct ferry__told *told))
{
    struct ferry__told *told = calloc(1, sizeof *told);
    if (!told)
        abort();
    told->callback = fuzz_look;
    const enum ferry_status status = tell(source, told);
    free(told);
    return status;
}

#endif
