/* Each rule of the simulator, broken on purpose and noticed: rules.inc lists them. */
#include "rules.h"

/* --- the client ------------------------------------------------------------------------------- */

static uint64_t before[METALSIM_RULES], ever[METALSIM_RULES];

mtl_id own_device(unsigned index)
{
    mtl_id all = ferry__mtl.copy_all_devices();
    mtl_id device = mtl_retain(mtl_array_at(all, index));
    mtl_release(all);
    return device;
}

struct client client_begin(struct metalsim_config config)
{
    config.record = true;
    start_machine(&config);
    assert_int_equal(ferry__mtl_load(), FERRY_OK);
    memset(before, 0, sizeof before);
    struct client client = {.pool = mtl_pool_push(), .device = own_device(0)};
    client.queue = mtl_new_queue(client.device, 4);
    client.shared = mtl_new_buffer(client.device, 4096, MTL_OPTION_SHARED);
    client.priv = mtl_new_buffer(client.device, 4096, MTL_OPTION_PRIVATE);
    return client;
}

void client_end(struct client *client)
{
    mtl_release(client->shared);
    mtl_release(client->priv);
    mtl_release(client->queue);
    mtl_release(client->device);
    mtl_pool_pop(client->pool);
    assert_int_equal(metalsim_reset(&(struct metalsim_config){0}), 0);
}

void assert_broken(enum metalsim_rule rule, uint64_t times)
{
    struct metalsim_counts now = counts();
    for (int i = 1; i < METALSIM_RULES; i++) {
        uint64_t expected = i == (int)rule ? times : 0;
        if (now.breaches[i] - before[i] != expected)
            fail_msg("rule %d was broken %d times, not %d: %s", i,
                     (int)(now.breaches[i] - before[i]), (int)expected, metalsim_last_breach());
    }
    ever[rule] += times;
    memcpy(before, now.breaches, sizeof before);
}

void note_broken(enum metalsim_rule rule)
{
    ever[rule]++;
}

void commit_and_wait(mtl_id commands)
{
    mtl_commit(commands);
    mtl_wait_completed(commands);
}

void copy_once(struct client *c, mtl_id src, uint64_t from, mtl_id dst, uint64_t to, uint64_t size)
{
    mtl_id commands = mtl_new_commands(c->queue);
    mtl_id blit = mtl_new_blit(commands);
    mtl_blit_copy(blit, src, from, dst, to, size);
    mtl_end_encoding(blit);
    commit_and_wait(commands);
}

int handlers_copied, handlers_disposed;

static void count_copy(void *to, const void *from)
{
    (void)to, (void)from;
    handlers_copied++;
}

static void count_dispose(const void *block)
{
    (void)block;
    handlers_disposed++;
}

struct mtl_closure client_handler(void (*run)(const struct mtl_closure *block, mtl_id commands),
                                  void *captured)
{
    static const struct mtl_block_description description = {0, sizeof(struct mtl_closure),
                                                             count_copy, count_dispose, "v16@?0@8"};
    return mtl_closure((void (*)(void))run, &description, captured);
}

void handle_nothing(const struct mtl_closure *block, mtl_id commands)
{
    (void)block, (void)commands;
}

/* --- the list --------------------------------------------------------------------------------- */

enum kind { BROKEN, IMITATED, INJECTED, COUNTED };

static const struct {
    enum metalsim_rule rule;
    enum kind kind;
} rows[] = {
#define RULE(rule, kind, body) {METALSIM_##rule, kind},
#include "rules.inc"
#undef RULE
};

/* Comes last: no rule is without a body, and a body that breaks one has seen it reported. */
static void test_all_rules(void **unused)
{
    (void)unused;
    for (int rule = 1; rule < METALSIM_RULES; rule++) {
        size_t bodies = 0;
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            bodies += rows[i].rule == (enum metalsim_rule)rule;
            if (rows[i].rule == (enum metalsim_rule)rule && rows[i].kind == BROKEN && !ever[rule])
                fail_msg("rule %d was never broken", rule);
        }
        if (!bodies)
            fail_msg("nothing tries rule %d", rule);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define RULE(rule, kind, body) cmocka_unit_test(body),
#include "rules.inc"
#undef RULE
        cmocka_unit_test(test_all_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
