/* Imports are believed only after bytes went both ways through them, and were changed between. */
#include "state.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ROUNDS = 2, STALE_VIRTUAL_UNTIL = 15 };

struct probe {
    mtl_id queue, imported, own;
    unsigned char *page, *bytes; /* of the imported memory, and of own */
    uint64_t size;
    unsigned salt;
};

static void number(struct probe *probe, unsigned char *out)
{
    probe->salt++;
    for (uint64_t i = 0; i < probe->size; i++)
        out[i] = (unsigned char)(i * 31 + i / 251 + probe->salt * 57);
}

/* The GPU copies all of from to to, and is waited for. */
static bool carry(const struct probe *probe, mtl_id from, mtl_id to)
{
    mtl_id commands = mtl_new_commands(probe->queue);
    mtl_id blit = commands ? mtl_new_blit(commands) : NULL;
    if (!blit)
        return false;
    mtl_blit_copy(blit, from, 0, to, 0, probe->size);
    mtl_end_encoding(blit);
    mtl_commit(commands);
    mtl_wait_completed(commands);
    return mtl_commands_status(commands) == MTL_COMMANDS_COMPLETED &&
           !memcmp(probe->page, probe->bytes, probe->size);
}

/* A GPU may have taken a copy of the pages when they were imported: so each way is gone twice. */
static bool goes_both_ways(struct probe *probe)
{
    bool right = true;
    for (int round = 0; round < ROUNDS && right; round++) {
        number(probe, probe->page);
        right = carry(probe, probe->imported, probe->own);
        number(probe, probe->bytes);
        right = right && carry(probe, probe->own, probe->imported);
    }
    return right;
}

/* Imports size bytes at page, and tries them; said: a sentence for the log, where it is wrong. */
static bool try_page(struct metal_state *state, struct probe *probe, void *page, const char *what)
{
    struct ferry__memory imported;
    char why[FERRY__WHY_MAX];
    if (ferry__metal_host_import(state, page, probe->size, false, &imported, why)) {
        ferry__log(FERRY_LOG_INFO, "metal: no imports here: %s", why);
        return false;
    }
    probe->imported = ((struct metal_memory *)imported.native)->buffer;
    probe->page = page;
    bool right = goes_both_ways(probe);
    if (!right)
        ferry__log(FERRY_LOG_WARN,
                   "metal: no imports here: this GPU does not see what is written to %s that it "
                   "imported, or does not write it",
                   what);
    ferry__metal_memory_free(state, &imported);
    return right;
}

static bool try_anonymous(struct metal_state *state, struct probe *probe)
{
    const uint64_t size = probe->size;
    void *memory = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    void *page = (void *)(((uintptr_t)memory + size - 1) / size * size);
    bool right = try_page(state, probe, page, "memory");
    munmap(memory, 2 * size);
    return right;
}

/* A mapping of a file, as a model's weights are. Where no file can be made nothing is said of
 * it. */
static bool try_file(struct metal_state *state, struct probe *probe)
{
    const uint64_t size = probe->size;
    FILE *file = tmpfile();
    if (!file)
        return true;
    bool right = true;
    void *memory = MAP_FAILED;
    if (!ftruncate(fileno(file), (off_t)(2 * size)))
        memory = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
    if (memory != MAP_FAILED) {
        void *page = (void *)(((uintptr_t)memory + size - 1) / size * size);
        right = try_page(state, probe, page, "a mapped file");
        munmap(memory, 2 * size);
    }
    fclose(file);
    return right;
}

bool ferry__metal_can_import(struct metal_state *state, uint64_t page)
{
    /* Those imported mappings of files, and read what had been in them before. */
    if (state->class == METAL_PARAVIRTUAL && !ferry__metal_is_macos(STALE_VIRTUAL_UNTIL)) {
        ferry__log(FERRY_LOG_INFO, "metal: no imports on a virtual Mac before macOS %d",
                   STALE_VIRTUAL_UNTIL);
        return false;
    }
    struct probe probe = {.queue = mtl_new_queue(state->device, 2 * ROUNDS), .size = page};
    probe.own = probe.queue ? mtl_new_buffer(state->device, page, MTL_OPTION_SHARED) : NULL;
    probe.bytes = probe.own ? mtl_buffer_contents(probe.own) : NULL;
    bool right = probe.bytes && try_anonymous(state, &probe) && try_file(state, &probe);
    mtl_release(probe.own);
    mtl_release(probe.queue);
    return right;
}
