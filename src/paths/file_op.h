/* What the engine and the API call of files. */
#ifndef FERRY_PATHS_FILE_OP_H
#define FERRY_PATHS_FILE_OP_H

#include "engine/submission.h"

#include <ferry/ferry.h>

struct ferry__transfer;
struct ferry__op;
struct ferry_device;

enum ferry__emitted ferry__file_emit(struct ferry_device *device, struct ferry__submission *sub,
                                     struct ferry__op *op, struct ferry__transfer *transfer,
                                     enum ferry_status *out_status);

void ferry__file_transfer_finish(struct ferry__transfer *transfer);
void ferry__files_free(struct ferry__op *op);
enum ferry_status ferry__files_start(struct ferry_device *device);
void ferry__files_trim(struct ferry_device *device);
void ferry__files_finish(struct ferry_device *device);

#endif
