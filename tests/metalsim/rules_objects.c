/* Rules 8, 12, 15 and 17: objects, their lives, their devices, blocks. */
#include "rules.h"

static void *release_without_pool(void *buffer)
{
    mtl_release(buffer);
    return NULL;
}

static void *leave_a_pool_open(void *nothing)
{
    mtl_pool_push();
    return nothing;
}

static void on_thread(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run, argument), 0);
    pthread_join(thread, NULL);
}

void rule_objects(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    mtl_id dead = mtl_new_buffer(c.device, 64, MTL_OPTION_SHARED);
    mtl_release(dead);
    assert_int_equal(mtl_buffer_length(dead), 0);
    assert_broken(METALSIM_OBJECTS, 1);
    mtl_release(dead);
    assert_broken(METALSIM_OBJECTS, 1);
    copy_once(&c, dead, 0, c.shared, 0, 4);
    assert_broken(METALSIM_OBJECTS, 1);
    mtl_commit(c.shared);
    assert_broken(METALSIM_OBJECTS, 1); /* a buffer is no command buffer */
    mtl_id buffer = mtl_new_buffer(c.device, 64, MTL_OPTION_SHARED);
    on_thread(release_without_pool, buffer);
    assert_broken(METALSIM_OBJECTS, 1);
    on_thread(leave_a_pool_open, NULL);
    assert_broken(METALSIM_OBJECTS, 1);
    /* The device that was to be autoreleased on that thread still has that reference. */
    mtl_release(c.device);
    client_end(&c);
}

static void release_in_handler(const struct mtl_closure *block, mtl_id commands)
{
    (void)commands;
    mtl_release(block->captured);
}

/* Metal's own thread has no pool either. */
void rule_handler_pool(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    mtl_id commands = mtl_new_commands(c.queue);
    struct mtl_closure handler =
        client_handler(release_in_handler, mtl_new_buffer(c.device, 64, MTL_OPTION_SHARED));
    mtl_add_completed(commands, &handler.head);
    commit_and_wait(commands);
    assert_broken(METALSIM_OBJECTS, 1);
    mtl_release(c.device); /* what was to be autoreleased there */
    client_end(&c);
}

/* One that is left over is told at the end. */
void rule_leak(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    mtl_id leaked = mtl_retain(mtl_new_commands(c.queue));
    mtl_release(c.shared);
    mtl_release(c.priv);
    mtl_release(c.queue);
    mtl_release(c.device);
    mtl_pool_pop(c.pool);
    struct metalsim_counts now = counts();
    assert_int_equal(now.live_objects, 2); /* it and its queue */
    c.pool = mtl_pool_push();
    mtl_release(leaked);
    mtl_pool_pop(c.pool);
    assert_int_equal(metalsim_reset(&(struct metalsim_config){0}), 0);
}

void rule_lifetime(void **unused)
{
    (void)unused;
    for (int retained = 0; retained < 2; retained++) {
        struct client c = client_begin((struct metalsim_config){0});
        mtl_id event = mtl_new_shared_event(c.device);
        mtl_id buffer = mtl_new_buffer(c.device, 64, MTL_OPTION_SHARED);
        mtl_id commands = retained ? mtl_new_commands_retained(c.queue) : mtl_new_commands(c.queue);
        mtl_encode_wait(commands, event, 1);
        mtl_id blit = mtl_new_blit(commands);
        mtl_blit_fill(blit, buffer, (struct mtl_range){0, 64}, 1);
        mtl_end_encoding(blit);
        mtl_commit(commands);
        mtl_release(buffer);
        mtl_event_set(event, 1);
        mtl_wait_completed(commands);
        assert_broken(METALSIM_LIFETIME, retained ? 0 : 1);
        assert_int_equal(mtl_commands_status(commands),
                         retained ? MTL_COMMANDS_COMPLETED : MTL_COMMANDS_ERROR);
        assert_int_equal(mtl_error_code(mtl_commands_error(commands)),
                         retained ? 0 : MTL_ERROR_INVALID_RESOURCE);
        mtl_release(event);
        client_end(&c);
    }
}

void rule_device(void **unused)
{
    (void)unused;
    struct client c =
        client_begin((struct metalsim_config){.devices = 2, .hidden = {"storageMode"}});
    mtl_id other = own_device(1);
    mtl_id foreign = mtl_new_buffer(other, 64, MTL_OPTION_SHARED);
    copy_once(&c, foreign, 0, c.shared, 0, 64);
    assert_broken(METALSIM_DEVICE, 1);
    assert_false(MTL_RESPONDS(c.shared, buffer_storage));
    assert_broken(METALSIM_DEVICE, 0);
    mtl_buffer_storage(c.shared);
    assert_broken(METALSIM_DEVICE, 1);
    mtl_release(foreign);
    mtl_release(other);
    client_end(&c);
}

/* --- 18: blocks ------------------------------------------------------------------------------- */

void rule_blocks(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    mtl_id commands = mtl_new_commands(c.queue);
    handlers_copied = handlers_disposed = 0;
    struct mtl_closure block = client_handler(handle_nothing, NULL);
    mtl_add_completed(commands, &block.head);
    struct mtl_closure unsigned_block = block;
    unsigned_block.head.flags = MTL_BLOCK_HAS_COPY_DISPOSE;
    mtl_add_completed(commands, &unsigned_block.head);
    assert_broken(METALSIM_BLOCK, 1);
    struct mtl_block_description right = *block.head.description, wrong = right;
    wrong.signature = "v24@?0@8Q16";
    struct mtl_closure other = block;
    other.head.description = &wrong;
    mtl_add_completed(commands, &other.head);
    assert_broken(METALSIM_BLOCK, 1);
    wrong = right;
    wrong.size = 8;
    mtl_add_completed(commands, &other.head);
    assert_broken(METALSIM_BLOCK, 1);
    memset(&block, 0x77, sizeof block); /* the frame it was on is gone; Metal has its copy */
    commit_and_wait(commands);
    client_end(&c);
    assert_int_equal(handlers_copied, 1);
    assert_int_equal(handlers_disposed, 1);
}

static int deallocated;

static void count_deallocation(const struct mtl_closure *block, void *bytes, uint64_t length)
{
    assert_ptr_equal(block->captured, bytes);
    assert_int_equal(length, 16384);
    deallocated++;
}

/* That of an import is called once, when the buffer dies; a handler's signature is not its own. */
void rule_deallocator(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    void *host = NULL;
    assert_int_equal(posix_memalign(&host, 16384, 16384), 0);
    struct mtl_closure block = client_handler(handle_nothing, host);
    mtl_release(mtl_new_buffer_no_copy(c.device, host, 16384, 0, &block.head));
    assert_broken(METALSIM_BLOCK, 1);
    struct mtl_block_description description = *block.head.description;
    description.signature = "v24@?0^v8Q16";
    block.head.description = &description;
    block.head.invoke = (void (*)(void))count_deallocation;
    deallocated = 0;
    mtl_id imported = mtl_new_buffer_no_copy(c.device, host, 16384, 0, &block.head);
    copy_once(&c, c.shared, 0, imported, 0, 4096);
    assert_int_equal(deallocated, 0);
    mtl_release(imported);
    assert_int_equal(deallocated, 1);
    assert_broken(METALSIM_BLOCK, 0);
    client_end(&c);
    free(host);
}
