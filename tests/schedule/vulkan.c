/* The user's own Vulkan, which the strict Vulkan plays. */
#include "schedule.h"

#include "strictvk/strictvk.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static strictvk_event_fn find(const char *name)
{
    void *library = dlopen(STRICTVK_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    void *symbol = library != NULL ? dlsym(library, name) : NULL;
    strictvk_event_fn function = NULL;
    if (symbol == NULL) {
        fprintf(stderr, "schedule: no strict Vulkan: %s\n", dlerror());
        abort();
    }
    memcpy(&function, &symbol, sizeof function);
    return function;
}

void vulkan_work(const struct ferry_external *external)
{
    for (size_t i = 0; i < external->wait_count; i++)
        if (!find("strictvk_event_wait")(external->waits[i].event, external->waits[i].value))
            abort();
    if (!find("strictvk_event_signal")(external->signal.event, external->signal.value))
        abort();
}

void vulkan_set(const char *options, const char *engine)
{
    setenv("FERRY_VULKAN_LIBRARY", STRICTVK_LIBRARY, 1);
    setenv("STRICTVK", options, 1);
    if (engine != NULL)
        setenv("FERRY_VULKAN_ENGINE", engine, 1);
}
