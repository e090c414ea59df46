#include "bench.h"

#include "reference.h"

#include <stdlib.h>

enum { WAKE_SIZE = 16 << 20 };

/* Ferry's copying threads are made by the first large copy: made pinned they would stay so. */
static bool wake_copiers(ferry_device *device)
{
    ferry_buffer *buffer = NULL;
    void *bytes = calloc(1, WAKE_SIZE);
    bool good = bytes != NULL &&
                ferry_buffer_create(device, &(struct ferry_buffer_params){.size = WAKE_SIZE},
                                    &buffer) == FERRY_OK &&
                ferry_copy_from_host(buffer, bytes, WAKE_SIZE, 0) == FERRY_OK;
    ferry_buffer_destroy(buffer);
    free(bytes);
    return good;
}

bool bench_session_open(struct bench_session *session, const char *device_name)
{
    *session = (struct bench_session){.device_name = device_name};
    ferry_device *device = bench_session_device(
        session, &(struct bench_spec){.kind = BENCH_FERRY, .path = FERRY_PATH_AUTO}, false);
    if (device == NULL) {
        cli_complain("bench: cannot open the device: %s", ferry_last_error());
        return false;
    }
    ferry_device_get_info(device, &session->info);
    session->device_name = session->info.name;
    /* A device too small for it has no use for several copiers either. */
    (void)wake_copiers(device);
    session->pins = bench_pin();
    bench_unpin();
    return true;
}

void bench_session_close(struct bench_session *session)
{
    for (int pinned = 0; pinned < 2; pinned++) {
        ferry_device_close(session->plain[pinned]);
        for (size_t path = 0; path < CLI_COUNT(session->devices[pinned]); path++)
            ferry_device_close(session->devices[pinned][path]);
    }
}

ferry_device *bench_session_device(struct bench_session *session, const struct bench_spec *spec,
                                   bool pinned)
{
    if (spec->kind == BENCH_SEED) {
        ferry_device **plain = &session->plain[pinned];
        if (*plain == NULL && reference_open_plain(session->devices[0][0], plain) != FERRY_OK)
            return NULL;
        return *plain;
    }
    ferry_device **device = &session->devices[pinned][spec->path];
    const struct ferry_device_params params = {.name = session->device_name,
                                               .path = spec->path,
                                               .no_fallback = spec->path != FERRY_PATH_AUTO};
    if (*device == NULL && ferry_device_open(&params, device) != FERRY_OK)
        return NULL;
    return *device;
}
