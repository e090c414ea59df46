#include "state.h"

enum { CALIBRATION_SIZE = 16 << 20, ROUNDS = 3 };

/* One copy from half of the memory to the other; its time on the GPU in seconds, 0: not known. */
static double copy_once(struct metal_state *state, const struct ferry__memory *memory,
                        enum ferry__engine engine)
{
    const struct ferry__command command = {
        .dst = memory, .src = memory, .dst_offset = CALIBRATION_SIZE, .size = CALIBRATION_SIZE};
    const struct metal_memory *native = memory->native;
    mtl_id commands = mtl_new_commands(state->queues[0].queue);
    if (!commands || !MTL_RESPONDS(commands, gpu_start) || !MTL_RESPONDS(commands, gpu_end))
        return 0;
    mtl_id encoder =
        engine == FERRY__ENGINE_KERNEL ? mtl_new_compute(commands) : mtl_new_blit(commands);
    if (!encoder)
        return 0;
    if (engine == FERRY__ENGINE_KERNEL)
        ferry__metal_kernel_copy(state, encoder, &command);
    else
        mtl_blit_copy(encoder, native->buffer, 0, native->buffer, CALIBRATION_SIZE,
                      CALIBRATION_SIZE);
    mtl_end_encoding(encoder);
    mtl_commit(commands);
    mtl_wait_completed(commands);
    bool right = mtl_commands_status(commands) == MTL_COMMANDS_COMPLETED;
    return right ? mtl_gpu_end(commands) - mtl_gpu_start(commands) : 0;
}

static double best_time(struct metal_state *state, const struct ferry__memory *memory,
                        enum ferry__engine engine)
{
    double best = 0;
    for (int i = 0; i < ROUNDS; i++) {
        double seconds = copy_once(state, memory, engine);
        if (seconds > 0 && (best <= 0 || seconds < best))
            best = seconds;
    }
    return best;
}

enum metal_faster ferry__metal_calibrate(struct metal_state *state)
{
    struct ferry__memory memory;
    char why[FERRY__WHY_MAX];
    if (ferry__metal_memory_alloc(state, FERRY__MEMORY_PRIVATE, 2 * CALIBRATION_SIZE,
                                  "ferry calibration", &memory, why))
        return METAL_FASTER_UNKNOWN;
    double blit = best_time(state, &memory, FERRY__ENGINE_COPY);
    double kernel = best_time(state, &memory, FERRY__ENGINE_KERNEL);
    ferry__metal_memory_free(state, &memory);
    if (blit <= 0 || kernel <= 0)
        return METAL_FASTER_UNKNOWN;
    ferry__log(FERRY_LOG_INFO, "metal: copies of %d bytes: blit %.0f us, kernel %.0f us",
               CALIBRATION_SIZE, blit * 1e6, kernel * 1e6);
    return kernel < blit ? METAL_FASTER_KERNEL : METAL_FASTER_BLIT;
}
