/* Thresholds: in device->gpu.info. */
#ifndef FERRY_API_CALIBRATE_H
#define FERRY_API_CALIBRATE_H

#include <ferry/ferry.h>

struct ferry_device;

struct ferry__threshold_choice {
    struct ferry_thresholds given; /* 0: not */
    enum { FERRY__MEASURE_GPU, FERRY__MEASURE_ALWAYS, FERRY__MEASURE_NEVER } measure;
};

/* What the parameters and the environment say. */
enum ferry_status ferry__thresholds_choose(const struct ferry_device_params *params,
                                           struct ferry__threshold_choice *out_choice);
void ferry__thresholds_default(struct ferry_device *device,
                               const struct ferry__threshold_choice *choice);

/* Two ways to move bytes, and what a size takes by each; 0: not known. */
struct ferry__race {
    uint64_t (*time)(void *arg, bool second, uint64_t size);
    void *arg;
    uint64_t smallest, largest;
};

/* The size from which on the second way is clearly faster, at all sizes asked above it, too;
 * UINT64_MAX: it is not. Asks for the largest, its half, and so on. False: not known. */
bool ferry__crossover(const struct ferry__race *race, uint64_t *out_from);

/* Measures those that are not given, on an open device that nobody else has yet. */
void ferry__thresholds_measure(struct ferry_device *device,
                               const struct ferry__threshold_choice *choice);

#endif
