/* What the user's own Vulkan would do with Ferry's events: the strict Vulkan does it. */
#include "suite.h"

#include "strictvk/strictvk.h"

#include <dlfcn.h>

void vulkan_event_signal(uint64_t event, uint64_t value);
bool vulkan_event_wait(uint64_t event, uint64_t value);

static strictvk_event_fn find(const char *name)
{
    void *library = dlopen(SUITE_STRICTVK, RTLD_NOW | RTLD_LOCAL);
    void *symbol = library != NULL ? dlsym(library, name) : NULL;
    strictvk_event_fn function = NULL;
    if (symbol == NULL)
        fail_msg("no strict Vulkan: %s", dlerror());
    memcpy(&function, &symbol, sizeof function);
    return function;
}

void vulkan_event_signal(uint64_t event, uint64_t value)
{
    assert_true(find("strictvk_event_signal")(event, value));
}

bool vulkan_event_wait(uint64_t event, uint64_t value)
{
    return find("strictvk_event_wait")(event, value);
}
