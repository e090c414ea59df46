/* Rules 5 to 7: memory. */
#include "rules.h"

#include <sys/mman.h>
#include <unistd.h>

void rule_storage(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){.machine = METALSIM_AMD});
    assert_null(mtl_buffer_contents(c.priv));
    assert_broken(METALSIM_STORAGE, 1);
    mtl_did_modify(c.shared, (struct mtl_range){0, 4});
    assert_broken(METALSIM_STORAGE, 1);
    mtl_id commands = mtl_new_commands(c.queue);
    mtl_id blit = mtl_new_blit(commands);
    mtl_blit_synchronize(blit, c.shared);
    assert_broken(METALSIM_STORAGE, 1);
    mtl_end_encoding(blit);
    mtl_release(mtl_new_buffer(c.device, 4, MTL_OPTION_PRIVATE | MTL_OPTION_WRITE_COMBINED));
    assert_broken(METALSIM_STORAGE, 1);
    client_end(&c);
    c = client_begin((struct metalsim_config){0});
    mtl_id managed = mtl_new_buffer(c.device, 4, MTL_OPTION_MANAGED); /* Apple GPUs allow it */
    assert_non_null(managed);
    mtl_release(managed);
    assert_broken(METALSIM_STORAGE, 0);
    client_end(&c);
}

static mtl_id synchronize(struct client *c, mtl_id managed)
{
    mtl_id commands = mtl_new_commands(c->queue);
    mtl_id blit = mtl_new_blit(commands);
    mtl_blit_synchronize(blit, managed);
    mtl_end_encoding(blit);
    return commands;
}

/* The CPU and the GPU have a store each: what one writes the other sees only when told. */
void rule_managed_stores(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){.machine = METALSIM_AMD});
    mtl_id managed = mtl_new_buffer(c.device, 4096, MTL_OPTION_MANAGED);
    unsigned char *cpu = mtl_buffer_contents(managed), *out = mtl_buffer_contents(c.shared);
    memset(cpu, 1, 4096);
    copy_once(&c, managed, 0, c.shared, 0, 4096);
    assert_int_not_equal(out[0], 1);
    mtl_did_modify(managed, (struct mtl_range){1024, 1024});
    copy_once(&c, managed, 0, c.shared, 0, 4096);
    assert_int_not_equal(out[1023], 1);
    assert_int_equal(out[1024], 1);
    assert_int_not_equal(out[2048], 1);
    mtl_did_modify(managed, (struct mtl_range){0, 4096});
    memset(out, 2, 4096);
    copy_once(&c, c.shared, 0, managed, 0, 4096);
    assert_int_equal(cpu[0], 1);
    mtl_id commands = synchronize(&c, managed);
    assert_int_equal(cpu[0], 1);
    commit_and_wait(commands);
    assert_int_equal(cpu[0], 2);
    assert_broken(METALSIM_MANAGED, 0);
    mtl_did_modify(managed, (struct mtl_range){4095, 2});
    assert_broken(METALSIM_RANGE, 1);
    mtl_release(managed);
    client_end(&c);
}

/* All of a buffer is synchronized: also what the CPU has written and not announced. */
void rule_managed_lost(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){.machine = METALSIM_AMD});
    mtl_id managed = mtl_new_buffer(c.device, 4096, MTL_OPTION_MANAGED);
    unsigned char *cpu = mtl_buffer_contents(managed);
    commit_and_wait(synchronize(&c, managed));
    assert_broken(METALSIM_MANAGED, 0);
    cpu[4000]++;
    unsigned char lost = cpu[4000];
    commit_and_wait(synchronize(&c, managed));
    assert_broken(METALSIM_MANAGED, 1);
    assert_int_not_equal(cpu[4000], lost);
    mtl_release(managed);
    client_end(&c);
}

/* Two queues, with no event between them: one writes what the other synchronizes. */
void rule_managed_queues(void **unused)
{
    (void)unused;
    enum { SIZE = 16 << 20 }; /* long work, so that they meet */
    struct client c = client_begin((struct metalsim_config){.machine = METALSIM_AMD});
    mtl_id queue = mtl_new_queue(c.device, 4);
    mtl_id managed = mtl_new_buffer(c.device, SIZE, MTL_OPTION_MANAGED);
    struct metalsim_counts now = counts();
    while (!now.breaches[METALSIM_MANAGED]) {
        mtl_id commands = mtl_new_commands(queue);
        mtl_id blit = mtl_new_blit(commands);
        mtl_blit_fill(blit, managed, (struct mtl_range){0, SIZE}, 1);
        mtl_end_encoding(blit);
        mtl_id other = synchronize(&c, managed);
        mtl_commit(commands);
        commit_and_wait(other);
        mtl_wait_completed(commands);
        now = counts();
    }
    assert_broken(METALSIM_MANAGED, now.breaches[METALSIM_MANAGED]);
    mtl_release(managed);
    mtl_release(queue);
    client_end(&c);
}

void rule_import(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){.machine = METALSIM_INTEL});
    unsigned char *host =
        mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_null(mtl_new_buffer_no_copy(c.device, host + 16, 4096, 0, NULL));
    assert_broken(METALSIM_IMPORT, 1);
    assert_null(mtl_new_buffer_no_copy(c.device, host, 4095, 0, NULL));
    assert_broken(METALSIM_IMPORT, 1);
    mtl_id imported = mtl_new_buffer_no_copy(c.device, host, 8192, 0, NULL);
    assert_non_null(imported);
    copy_once(&c, c.shared, 0, imported, 0, 4096);
    assert_broken(METALSIM_IMPORT, 0);
    munmap(host, 8192);
    copy_once(&c, c.shared, 0, imported, 0, 4096);
    assert_broken(METALSIM_IMPORT, 1);
    mtl_release(imported);
    assert_broken(METALSIM_IMPORT, 1);
    client_end(&c);
}

/* Machines that import nothing, and ones that give a buffer of another length. */
void rule_import_refused(void **unused)
{
    (void)unused;
    static const struct metalsim_config refusing[] = {
        {.machine = METALSIM_AMD},
        {.import = METALSIM_IMPORT_NIL},
        {.import = METALSIM_IMPORT_LENGTH_0},
    };
    unsigned char *space =
        mmap(NULL, 32768, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char *host = space + (16384 - (uintptr_t)space % 16384) % 16384;
    for (int i = 0; i < 3; i++) {
        struct client c = client_begin(refusing[i]);
        mtl_id imported = mtl_new_buffer_no_copy(c.device, host, 16384, 0, NULL);
        assert_int_equal(imported != NULL, i == 2);
        assert_int_equal(mtl_buffer_length(imported), 0);
        assert_broken(METALSIM_IMPORT, 0);
        mtl_release(imported);
        client_end(&c);
    }
    munmap(space, 32768);
}
