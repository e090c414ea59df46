/* Rules 9 to 11, 13, 14 and 19: queues and command buffers. */
#include "rules.h"

/* --- 10, 11: states --------------------------------------------------------------------------- */

void rule_states(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    mtl_id commands = mtl_new_commands(c.queue);
    mtl_wait_completed(commands);
    assert_broken(METALSIM_STATE, 1);
    mtl_id blit = mtl_new_blit(commands);
    assert_null(mtl_new_compute(commands)); /* one encoder at a time */
    assert_broken(METALSIM_STATE, 1);
    mtl_commit(commands);
    assert_broken(METALSIM_STATE, 1);
    mtl_encode_signal(commands, NULL, 1);
    assert_broken(METALSIM_STATE, 1);
    mtl_end_encoding(blit);
    mtl_blit_copy(blit, c.shared, 0, c.priv, 0, 4);
    assert_broken(METALSIM_STATE, 1);
    mtl_end_encoding(blit);
    assert_broken(METALSIM_STATE, 1);
    commit_and_wait(commands);
    assert_broken(METALSIM_STATE, 0);
    mtl_commit(commands);
    assert_broken(METALSIM_STATE, 1);
    assert_null(mtl_new_blit(commands));
    assert_broken(METALSIM_STATE, 1);
    struct mtl_closure late = client_handler(handle_nothing, NULL);
    mtl_add_completed(commands, &late.head);
    assert_broken(METALSIM_STATE, 1);
    void *inner = mtl_pool_push();
    mtl_new_compute(mtl_new_commands(c.queue)); /* dropped while its encoder is open */
    mtl_pool_pop(inner);
    assert_broken(METALSIM_STATE, 1);
    mtl_id compute = mtl_new_compute(mtl_new_commands(c.queue));
    mtl_dispatch(compute, (struct mtl_size){1, 1, 1}, (struct mtl_size){1, 1, 1});
    assert_broken(METALSIM_STATE, 1);
    mtl_end_encoding(compute);
    client_end(&c);
}

static void wait_inside(const struct mtl_closure *block, mtl_id commands)
{
    (void)block;
    void *inner = mtl_pool_push();
    mtl_wait_completed(commands);
    mtl_pool_pop(inner);
}

void rule_wait_in_handler(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    mtl_id commands = mtl_new_commands(c.queue);
    struct mtl_closure block = client_handler(wait_inside, NULL);
    mtl_add_completed(commands, &block.head);
    commit_and_wait(commands);
    assert_broken(METALSIM_STATE, 1);
    client_end(&c);
}

void rule_queue_full(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    for (int i = 0; i < 4; i++)
        assert_non_null(mtl_new_commands(c.queue));
    assert_null(mtl_new_commands(c.queue));
    assert_broken(METALSIM_QUEUE_FULL, 1);
    client_end(&c);
}

/* --- 12, 14, 15: order and failures ----------------------------------------------------------- */

void rule_untracked(void **unused)
{
    (void)unused;
    for (int tracked = 0; tracked < 2; tracked++) {
        struct client c = client_begin((struct metalsim_config){0});
        mtl_id buffer = mtl_new_buffer(c.device, 64, tracked ? 0 : MTL_OPTION_UNTRACKED);
        mtl_id commands = mtl_new_commands(c.queue);
        mtl_id blit = mtl_new_blit(commands);
        mtl_blit_fill(blit, buffer, (struct mtl_range){0, 64}, 1);
        mtl_blit_fill(blit, buffer, (struct mtl_range){0, 64}, 2);
        mtl_end_encoding(blit);
        commit_and_wait(commands);
        assert_int_equal(*(unsigned char *)mtl_buffer_contents(buffer), tracked ? 2 : 1);
        mtl_release(buffer);
        client_end(&c);
    }
}

static int order[4], finished;

static void note_order(const struct mtl_closure *block, mtl_id commands)
{
    (void)commands;
    order[finished++] = *(int *)block->captured;
}

/* Does any of many rounds complete in another order than that of commit? */
static bool completes_in_disorder(struct client *c)
{
    static int numbers[4] = {0, 1, 2, 3};
    bool any = false;
    for (int round = 0; round < 40; round++) {
        mtl_id commands[4];
        finished = 0;
        for (int i = 0; i < 4; i++) {
            commands[i] = mtl_new_commands(c->queue);
            struct mtl_closure handler = client_handler(note_order, &numbers[i]);
            mtl_add_completed(commands[i], &handler.head);
        }
        for (int i = 0; i < 4; i++)
            mtl_commit(commands[i]);
        for (int i = 0; i < 4; i++)
            mtl_wait_completed(commands[i]);
        for (int i = 0; i < 4; i++)
            any |= order[i] != i;
    }
    return any;
}

void rule_disorder(void **unused)
{
    (void)unused;
    for (int disorder = 0; disorder < 2; disorder++) {
        struct client c =
            client_begin((struct metalsim_config){.disorder = disorder, .delay_us = 200});
        assert_int_equal(completes_in_disorder(&c), disorder);
        client_end(&c);
    }
}

/* A part of the work is done, the event is not signalled, the error says why. */
void rule_failure(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    mtl_id event = mtl_new_shared_event(c.device);
    memset(mtl_buffer_contents(c.shared), 0, 4096);
    metalsim_fail_commands(1, MTL_ERROR_PAGE_FAULT, 0);
    mtl_id commands = mtl_new_commands(c.queue);
    mtl_id blit = mtl_new_blit(commands);
    mtl_blit_fill(blit, c.shared, (struct mtl_range){0, 2048}, 1);
    mtl_blit_fill(blit, c.shared, (struct mtl_range){2048, 2048}, 1);
    mtl_end_encoding(blit);
    mtl_encode_signal(commands, event, 1);
    commit_and_wait(commands);
    const unsigned char *bytes = mtl_buffer_contents(c.shared);
    assert_int_equal(bytes[2047], 1);
    assert_int_equal(bytes[4095], 0);
    assert_int_equal(mtl_commands_status(commands), MTL_COMMANDS_ERROR);
    assert_int_equal(mtl_error_code(mtl_commands_error(commands)), MTL_ERROR_PAGE_FAULT);
    assert_int_equal(mtl_event_value(event), 0);
    mtl_release(event);
    client_end(&c);
}

void rule_nil(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){.memory = 1 << 20});
    metalsim_fail_constructor(2);
    mtl_id first = mtl_new_buffer(c.device, 64, 0);
    assert_non_null(first);
    assert_null(mtl_new_buffer(c.device, 64, 0));
    assert_null(mtl_new_buffer(c.device, 1 << 20, 0)); /* some of it is taken */
    mtl_release(first);
    client_end(&c);
    c = client_begin((struct metalsim_config){.max_buffer = 8192, .resources = 3});
    assert_null(mtl_new_buffer(c.device, 8196, 0));
    mtl_id third = mtl_new_buffer(c.device, 8192, 0);
    assert_non_null(third);
    assert_null(mtl_new_buffer(c.device, 64, 0)); /* there may be so many at once */
    mtl_release(third);
    third = mtl_new_buffer(c.device, 64, 0);
    assert_non_null(third);
    mtl_release(third);
    client_end(&c);
}

/* --- 20: threads ------------------------------------------------------------------------------ */

/* Another thread is inside the command buffer: the simulator counts who is. */
void rule_threads(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    mtl_id commands = mtl_new_commands(c.queue);
    metalsim_enter(commands);
    mtl_id blit = mtl_new_blit(commands);
    assert_broken(METALSIM_THREADS, 1);
    metalsim_leave(commands);
    mtl_end_encoding(blit);
    assert_broken(METALSIM_THREADS, 0);
    client_end(&c);
}
