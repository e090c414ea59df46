/* An upload of a given size against memcpy and against a naive upload, as the seed's is. */
#ifndef FERRY_CLI_REFERENCE_H
#define FERRY_CLI_REFERENCE_H

#include "cli.h"

struct reference {
    size_t size;
    uint64_t ferry_ns, memcpy_ns, seed_ns; /* medians */
    char why[CLI_WHY_MAX];                 /* why there are no figures, or why the check failed */
    bool measured;
};

/*
 * Measures uploads of reference->size bytes, the three in turn, for a good tenth of a second.
 * plain: a device opened for naive uploads (reference_open_plain). What arrived is
 * compared: CLI_CHECK if it differs. Memory that the device does not have leaves it unmeasured,
 * with a reason.
 */
enum cli_exit reference_measure(ferry_device *device, ferry_device *plain,
                                struct reference *reference);

/* Opens the same device once more, for naive uploads; close it with
 * ferry_device_close. */
enum ferry_status reference_open_plain(ferry_device *device, ferry_device **out_device);

/*
 * The seed's CopyFromHost on such a device: makes a shared staging buffer that holds the bytes, has
 * the device copy it to dst from its beginning on, waits, and throws the staging buffer away.
 */
enum ferry_status reference_upload_plain(ferry_buffer *dst, const void *src, size_t size);

#endif
