/* Models that the command makes to measure with, and says so of. */
#ifndef FERRY_CLI_LOAD_SYNTHETIC_H
#define FERRY_CLI_LOAD_SYNTHETIC_H

#include "cli.h"

#include <ferry/model.h>

/* The key of the metadata that tells such a model. */
#define LOAD_SYNTHETIC_KEY "ferry.synthetic"

/* The path of a new model, in TMPDIR; NULL: it cannot be made, and the user has been told why. */
const char *load_synthetic_make(uint64_t size);
void load_synthetic_remove(void);
bool load_synthetic_is(const ferry_model *model);

#endif
