/* What the devices are, and the list of them. */
#include "base/env.h"
#include "state.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { APPLE_PAGE = 16384 };

static const char *const class_names[METAL_CLASS_COUNT] = {
    [METAL_APPLE] = "apple",
    [METAL_INTEL] = "intel",
    [METAL_DISCRETE] = "discrete",
    [METAL_PARAVIRTUAL] = "paravirtual",
};

const char *ferry__metal_class_name(enum metal_class class)
{
    return class_names[class];
}

int ferry__metal_choice(const char *variable, const char *const *names, int count)
{
    const char *value = ferry__env(variable);
    if (!value || !*value)
        return count;
    for (int i = 0; i < count; i++)
        if (!strcmp(value, names[i]))
            return i;
    ferry__log(FERRY_LOG_WARN, "metal: %s=%s is not known, and is ignored", variable, value);
    return count;
}

/* --- what a device is ------------------------------------------------------------------------- */

bool ferry__metal_is_unified(mtl_id device)
{
    return MTL_RESPONDS(device, is_unified) ? mtl_is_unified(device) != 0
                                            : mtl_is_low_power(device) != 0;
}

static bool is_apple(mtl_id device)
{
    return MTL_RESPONDS(device, supports_family) && mtl_supports_family(device, MTL_FAMILY_APPLE1);
}

static const char *device_name(mtl_id device)
{
    const char *name = mtl_utf8(mtl_device_name(device));
    return name ? name : "";
}

bool ferry__metal_is_macos(int64_t major)
{
    mtl_id class = ferry__mtl.process_class;
    mtl_id info = class ? mtl_process_info(class) : NULL;
    char why[FERRY__WHY_MAX];
    return info && MTL_RESPONDS(info, is_at_least) &&
           ferry__mtl_check(info, MTL_ON_PROCESS, why, sizeof why) &&
           mtl_is_at_least(info, (struct mtl_version){major, 0, 0});
}

/* A Mac's Apple GPU is of the Mac families too, and a virtual one of the Apple families. */
enum metal_class ferry__metal_class(mtl_id device)
{
    int forced = ferry__metal_choice("FERRY_METAL_CLASS", class_names, METAL_CLASS_COUNT);
    if (forced < METAL_CLASS_COUNT)
        return (enum metal_class)forced;
    if (strstr(device_name(device), "Paravirtual"))
        return METAL_PARAVIRTUAL;
    if (is_apple(device))
        return METAL_APPLE;
    return ferry__metal_is_unified(device) ? METAL_INTEL : METAL_DISCRETE;
}

/* A process that Rosetta translates is told 4096, but the kernel of an Apple GPU's Mac has pages of
 * 16 KiB. */
uint64_t ferry__metal_page_size(mtl_id device)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    return is_apple(device) && page < APPLE_PAGE ? APPLE_PAGE : page;
}

uint64_t ferry__metal_max_buffer(mtl_id device)
{
    return MTL_RESPONDS(device, max_buffer_length) ? mtl_max_buffer_length(device)
                                                   : UINT64_C(256) << 20;
}

void ferry__metal_describe(mtl_id device, struct ferry_device_info *out)
{
    static const enum ferry_device_kind kinds[METAL_CLASS_COUNT] = {
        [METAL_APPLE] = FERRY_DEVICE_INTEGRATED,
        [METAL_INTEL] = FERRY_DEVICE_INTEGRATED,
        [METAL_DISCRETE] = FERRY_DEVICE_DISCRETE,
        [METAL_PARAVIRTUAL] = FERRY_DEVICE_VIRTUAL,
    };
    enum metal_class class = ferry__metal_class(device);
    uint64_t id = MTL_RESPONDS(device, registry_id) ? mtl_registry_id(device) : 0;
    *out = (struct ferry_device_info){
        .driver = "metal",
        .kind = kinds[class],
        .unified = ferry__metal_is_unified(device),
        .total_memory = mtl_working_set_size(device),
        .max_buffer_size = ferry__metal_max_buffer(device),
        .max_allocation = ferry__metal_max_buffer(device),
        .import_granularity = ferry__metal_page_size(device),
        .queues = METAL_QUEUES_MAX,
    };
    snprintf(out->description, sizeof out->description, "%s", device_name(device));
    memcpy(out->uuid, &id, sizeof id);
    memcpy(out->uuid + sizeof id, id ? "registry" : "\0\0\0\0\0\0\0", 8);
}

/* --- listing ---------------------------------------------------------------------------------- */

size_t ferry__metal_copy_devices(mtl_id *out_devices, char *why)
{
    static const int ranks[METAL_CLASS_COUNT] = {
        [METAL_APPLE] = 0, [METAL_DISCRETE] = 1, [METAL_INTEL] = 2, [METAL_PARAVIRTUAL] = 3};
    size_t count = 0;
    mtl_id array = ferry__mtl.copy_all_devices();
    bool right = array && ferry__mtl_check(array, MTL_ON_ARRAY, why, FERRY__WHY_MAX);
    uint64_t all = right ? mtl_array_count(array) : 0;
    for (int rank = 0; rank < METAL_CLASS_COUNT; rank++)
        for (uint64_t i = 0; i < all && count < METAL_DEVICES_MAX; i++) {
            mtl_id device = mtl_array_at(array, i);
            if (ranks[ferry__metal_class(device)] == rank)
                out_devices[count++] = mtl_retain(device);
        }
    mtl_release(array);
    if (!count && (right || !array))
        ferry__metal_why(FERRY_ERROR_NO_DEVICE, why, "Metal has no device");
    return count;
}

enum ferry_status ferry__metal_list(struct ferry_device_info *infos, size_t capacity,
                                    size_t *out_count, char *why)
{
    const enum ferry_status loaded = ferry__mtl_load();
    if (loaded)
        return ferry__metal_why(loaded, why, "%s", ferry__mtl_why());
    void *pool = mtl_pool_push();
    mtl_id devices[METAL_DEVICES_MAX];
    size_t count = ferry__metal_copy_devices(devices, why);
    for (size_t i = 0; i < count; i++) {
        if (i < capacity)
            ferry__metal_describe(devices[i], &infos[i]);
        mtl_release(devices[i]);
    }
    mtl_pool_pop(pool);
    *out_count = count;
    return count ? FERRY_OK : FERRY_ERROR_NO_DEVICE;
}
