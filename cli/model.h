/*
 * Buffers on a device and, beside each, a plain array that holds what the buffer must hold: random
 * operations are done to both. Everything random comes from one seed and nothing from the clock, so
 * that a seed and a number of operations tell the whole story.
 */
#ifndef FERRY_CLI_MODEL_H
#define FERRY_CLI_MODEL_H

#include "cli.h"

struct model;

/* NULL: no host memory. The device stays the caller's, and outlives the model. */
struct model *model_create(ferry_device *device, uint64_t seed);
void model_destroy(struct model *model); /* NULL allowed; waits for what is in flight */

/* Does the next random operation. CLI_CHECK: bytes differ; CLI_DEVICE: an operation failed; why has
 * the words, of CLI_WHY_MAX bytes. */
enum cli_exit model_step(struct model *model, char *why);

/* Waits for what is in flight and compares every byte of every buffer. */
enum cli_exit model_finish(struct model *model, char *why);

uint64_t model_operations(const struct model *model); /* done so far */
uint64_t model_bytes(const struct model *model);      /* written and read so far */

#endif
