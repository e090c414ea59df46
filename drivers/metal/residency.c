/* A residency set of our own memory, on our own queues: macOS 15 and newer, on Apple GPUs. */
#include "state.h"

static bool is_wanted(const struct metal_state *state)
{
    enum { AUTO, OFF, CHOICES };
    static const char *const names[CHOICES] = {"auto", "off"};
    /* Elsewhere a device may well have the method, and Metal's validation abort in it. */
    return state->class == METAL_APPLE && ferry__mtl.residency_class &&
           ferry__metal_choice("FERRY_METAL_RESIDENCY", names, CHOICES) != OFF &&
           ferry__metal_is_macos(15) && MTL_RESPONDS(state->device, new_residency_set) &&
           MTL_RESPONDS(state->queues[0].queue, add_residency_set);
}

void ferry__metal_residency_open(struct metal_state *state, bool foreign_queue)
{
    char why[FERRY__WHY_MAX];
    mtl_id error = NULL;
    if (foreign_queue || !is_wanted(state))
        return;
    mtl_id descriptor = mtl_class_new(ferry__mtl.residency_class);
    mtl_id set = descriptor ? mtl_new_residency_set(state->device, descriptor, &error) : NULL;
    mtl_release(descriptor);
    if (!set || !ferry__mtl_check(set, MTL_ON_RESIDENCY, why, sizeof why)) {
        ferry__log(FERRY_LOG_INFO, "metal: no residency set: %s", set ? why : "refused");
        mtl_release(set);
        return;
    }
    for (unsigned i = 0; i < state->queue_count; i++)
        mtl_add_residency_set(state->queues[i].queue, set);
    state->residency = set;
}

void ferry__metal_residency_close(struct metal_state *state)
{
    mtl_release(state->residency);
    state->residency = NULL;
}

/* A set is for one thread at a time. */
void ferry__metal_residency_add(struct metal_state *state, mtl_id buffer)
{
    pthread_mutex_lock(&state->residency_lock);
    mtl_add_allocation(state->residency, buffer);
    mtl_residency_commit(state->residency);
    pthread_mutex_unlock(&state->residency_lock);
}

/* The set holds the buffer until its next commit. */
void ferry__metal_residency_remove(struct metal_state *state, mtl_id buffer)
{
    pthread_mutex_lock(&state->residency_lock);
    mtl_remove_allocation(state->residency, buffer);
    mtl_residency_commit(state->residency);
    pthread_mutex_unlock(&state->residency_lock);
}
