#include "cuda_internal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* NULL, or the reason why the driver cannot use the device. */
static const char *refusal(const struct cuda_functions *cu, cu_device device)
{
    int unified = 0, mode = 0;
    if (cu->DeviceGetAttribute(&unified, CU_ATTRIBUTE_UNIFIED_ADDRESSING, device) || !unified)
        return "it has no unified addressing";
    if (!cu->DeviceGetAttribute(&mode, CU_ATTRIBUTE_COMPUTE_MODE, device) &&
        mode == CU_MODE_PROHIBITED)
        return "its compute mode is prohibited";
    return NULL;
}

static cu_result describe(const struct cuda_functions *cu, cu_device device,
                          struct ferry_device_info *out)
{
    int integrated = 0, registers = 0;
    size_t total = 0;
    cu_uuid uuid;
    char name[sizeof out->description];
    cu_result result = cu->DeviceGetName(name, sizeof name, device);
    if (!result)
        result = cu->DeviceTotalMem(&total, device);
    if (!result)
        result = cu->DeviceGetUuid(&uuid, device);
    if (!result)
        result = cu->DeviceGetAttribute(&integrated, CU_ATTRIBUTE_INTEGRATED, device);
    if (!result)
        result = cu->DeviceGetAttribute(&registers, CU_ATTRIBUTE_HOST_REGISTER, device);
    if (result)
        return result;
    name[sizeof name - 1] = 0;
    snprintf(out->description, sizeof out->description, "%s", name);
    memcpy(out->uuid, uuid.bytes, sizeof out->uuid);
    out->kind = integrated ? FERRY_DEVICE_INTEGRATED : FERRY_DEVICE_DISCRETE;
    out->unified = integrated;
    out->total_memory = out->max_allocation = out->max_buffer_size = total;
    out->import_granularity = registers ? (uint64_t)sysconf(_SC_PAGESIZE) : 0;
    out->queues = CUDA__QUEUES_MAX;
    return CU_SUCCESS;
}

/* The next device that can be used, from *ordinal on, which moves past it. false: there is none;
 * why says what is wrong with the last. */
static bool next_device(const struct cuda_functions *cu, int *ordinal, int count,
                        cu_device *out_device, struct ferry_device_info *out_info, char *why)
{
    while (*ordinal < count) {
        const int at = (*ordinal)++;
        cu_result result = cu->DeviceGet(out_device, at);
        if (result) {
            ferry__cuda_result(cu, result, "cuDeviceGet", why);
            continue;
        }
        const char *refused = refusal(cu, *out_device);
        if (refused) {
            snprintf(why, FERRY__WHY_MAX, "CUDA's device %d is not used: %s", at, refused);
            continue;
        }
        result = describe(cu, *out_device, out_info);
        if (!result)
            return true;
        ferry__cuda_result(cu, result, "a question about the device", why);
    }
    return false;
}

static enum ferry_status count_devices(const struct cuda_functions *cu, int *out_count, char *why)
{
    const cu_result result = cu->DeviceGetCount(out_count);
    if (result)
        return ferry__cuda_result(cu, result, "cuDeviceGetCount", why);
    if (*out_count > CUDA__DEVICES_MAX)
        *out_count = CUDA__DEVICES_MAX;
    if (*out_count > 0)
        return FERRY_OK;
    snprintf(why, FERRY__WHY_MAX, "no device");
    return FERRY_ERROR_NO_DEVICE;
}

enum ferry_status ferry__cuda_list(struct ferry_device_info *infos, size_t capacity,
                                   size_t *out_count, char *why)
{
    struct cuda_functions cu;
    struct ferry_device_info info = {0};
    cu_device device;
    int ordinal = 0, count = 0;
    size_t found = 0;
    enum ferry_status status = ferry__cuda_load(&cu, why);
    if (!status)
        status = count_devices(&cu, &count, why);
    if (status)
        return status;
    for (; next_device(&cu, &ordinal, count, &device, &info, why); found++)
        if (found < capacity)
            infos[found] = info;
    *out_count = found;
    return found ? FERRY_OK : FERRY_ERROR_UNSUPPORTED;
}

enum ferry_status ferry__cuda_find(const struct cuda_functions *cu, unsigned index,
                                   struct cuda_found *out, char *why)
{
    int ordinal = 0, count = 0;
    enum ferry_status status = count_devices(cu, &count, why);
    if (status)
        return status;
    snprintf(why, FERRY__WHY_MAX, "there is no cuda:%u", index);
    for (unsigned i = 0; i <= index; i++)
        if (!next_device(cu, &ordinal, count, &out->device, &out->info, why))
            return FERRY_ERROR_NO_DEVICE;
    out->ordinal = ordinal - 1;
    return FERRY_OK;
}

/* Which of CUDA's devices the context that is current now is of. */
static enum ferry_status find_current(const struct cuda_functions *cu, struct cuda_found *out,
                                      char *why)
{
    int ordinal = 0, count = 0;
    cu_device device;
    const cu_result result = cu->CtxGetDevice(&device);
    if (result)
        return ferry__cuda_result(cu, result, "cuCtxGetDevice", why);
    const enum ferry_status status = count_devices(cu, &count, why);
    if (status)
        return status;
    while (next_device(cu, &ordinal, count, &out->device, &out->info, why)) {
        if (out->device != device)
            continue;
        out->ordinal = ordinal - 1;
        return FERRY_OK;
    }
    return FERRY_ERROR_UNSUPPORTED;
}

enum ferry_status ferry__cuda_find_wrapped(const struct cuda_functions *cu, cu_context context,
                                           struct cuda_found *out, char *why)
{
    cu_context ignored;
    const cu_result result = cu->CtxPushCurrent(context);
    if (result) {
        (void)ferry__cuda_result(cu, result, "cuCtxPushCurrent", why);
        return FERRY_ERROR_INVALID_ARGUMENT;
    }
    const enum ferry_status status = find_current(cu, out, why);
    (void)cu->CtxPopCurrent(&ignored);
    return status;
}
