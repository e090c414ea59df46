/* Rules 12, 15, 20 to 23: listeners, events, children, blits on Apple GPUs, residency sets. */
#include "rules.h"

#include <sys/wait.h>
#include <unistd.h>

static const char kernels[] =
#define METAL_KERNELS(...) #__VA_ARGS__
#include "drivers/metal/kernels.inc"
    ;

/* --- 13: what is asked for waits at the listener's port ----------------------------------------- */

static atomic_int told;

static void note_told(const struct mtl_closure *block, mtl_id event, uint64_t value)
{
    (void)block, (void)event, (void)value;
    told++;
}

static void nothing_copied(void *to, const void *from)
{
    (void)to, (void)from;
}

static void nothing_disposed(const void *block)
{
    (void)block;
}

static void ask(mtl_id event, mtl_id listener, uint64_t value)
{
    static const struct mtl_block_description description = {
        0, sizeof(struct mtl_closure), nothing_copied, nothing_disposed, "v24@?0@8Q16"};
    struct mtl_closure block = mtl_closure((void (*)(void))note_told, &description, NULL);
    mtl_event_notify(event, listener, value, &block.head);
}

/* One that dies before its answers have come. */
void rule_listener(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    mtl_id event = mtl_new_shared_event(c.device);
    mtl_id listener = mtl_class_new(ferry__mtl.listener_class);
    ask(event, listener, 1);
    mtl_release(listener);
    assert_broken(METALSIM_LIFETIME, 1);
    mtl_release(event);
    client_end(&c);
}

/* An event that dies takes nothing with it: the block stays, until its listener goes. */
void rule_notification(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    mtl_id listener = mtl_class_new(ferry__mtl.listener_class);
    mtl_id first = mtl_new_shared_event(c.device), second = mtl_new_shared_event(c.device);
    told = 0;
    ask(first, listener, 1);
    ask(second, listener, 1);
    mtl_event_set(first, 1);
    mtl_release(first);
    while (told < 1)
        usleep(100);
    mtl_release(second);
    mtl_release(listener);
    assert_int_equal(told, 1);
    assert_broken(METALSIM_LIFETIME, 1); /* the second's answer had still been to come */
    client_end(&c);
}

/* --- 16: an MTLEvent is its own device's -------------------------------------------------------- */

void rule_event_of_another(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){.devices = 2});
    mtl_id other = own_device(1);
    mtl_id plain = mtl_new_event(other), shared = mtl_new_shared_event(other);
    mtl_id commands = mtl_new_commands(c.queue);
    mtl_encode_signal(commands, shared, 1);
    assert_broken(METALSIM_DEVICE, 0);
    mtl_encode_signal(commands, plain, 1);
    assert_broken(METALSIM_DEVICE, 1);
    commit_and_wait(commands);
    mtl_event_value(plain); /* the host cannot look at it */
    assert_broken(METALSIM_OBJECTS, 1);
    mtl_release(plain);
    mtl_release(shared);
    mtl_release(other);
    client_end(&c);
}

/* --- 21: children ------------------------------------------------------------------------------- */

void rule_fork(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    pid_t child = fork();
    if (child == 0) {
        mtl_buffer_length(c.shared);
        _exit((int)counts().breaches[METALSIM_FORK]);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) >= 1);
    note_broken(METALSIM_FORK);
    assert_broken(METALSIM_FORK, 0); /* nothing of it is the parent's */
    client_end(&c);
}

/* --- 22: blits alone between kernels, on an Apple GPU ------------------------------------------- */

static void compute(struct client *c, mtl_id pipeline, bool blits_too)
{
    const struct {
        uint64_t dst, size;
        uint32_t pattern_size, is_block;
        uint8_t block[16], pattern[16];
    } args = {0, 64, 1, 1, {0}, {0}};
    mtl_id commands = mtl_new_commands(c->queue);
    mtl_id encoder = mtl_new_compute(commands);
    mtl_set_pipeline(encoder, pipeline);
    mtl_set_buffer(encoder, c->shared, 0, 0);
    mtl_set_bytes(encoder, &args, sizeof args, 1);
    mtl_dispatch(encoder, (struct mtl_size){1, 1, 1}, (struct mtl_size){4, 1, 1});
    mtl_end_encoding(encoder);
    if (blits_too) {
        mtl_id blit = mtl_new_blit(commands);
        mtl_blit_fill(blit, c->shared, (struct mtl_range){0, 64}, 1);
        mtl_end_encoding(blit);
    }
    commit_and_wait(commands);
}

static void blit_and_compute(struct metalsim_config config, unsigned hangs)
{
    struct client c = client_begin(config);
    mtl_id error = NULL;
    mtl_id library = mtl_new_library(c.device, mtl_string(kernels), NULL, &error);
    mtl_id function = mtl_new_function(library, mtl_string("ferry_fill"));
    mtl_id pipeline = mtl_new_pipeline(c.device, function, &error);
    assert_non_null(pipeline);
    copy_once(&c, c.priv, 0, c.shared, 0, 64); /* before all kernels */
    compute(&c, pipeline, false);
    compute(&c, pipeline, true); /* and together with them */
    assert_broken(METALSIM_BLIT_ONLY, 0);
    copy_once(&c, c.priv, 0, c.shared, 0, 64);
    copy_once(&c, c.priv, 0, c.shared, 0, 64);
    assert_broken(METALSIM_BLIT_ONLY, 0);
    compute(&c, pipeline, false);
    assert_broken(METALSIM_BLIT_ONLY, hangs);
    mtl_release(pipeline);
    mtl_release(function);
    mtl_release(library);
    client_end(&c);
}

void rule_blit_only(void **unused)
{
    (void)unused;
    blit_and_compute((struct metalsim_config){0}, 1);
    blit_and_compute((struct metalsim_config){.loose_blits = true}, 0);
    blit_and_compute((struct metalsim_config){.machine = METALSIM_INTEL}, 0);
}

/* --- 23: residency sets ------------------------------------------------------------------------- */

static mtl_id make_set(struct client *c)
{
    mtl_id error = NULL;
    mtl_id descriptor = mtl_class_new(ferry__mtl.residency_class);
    mtl_id set = mtl_new_residency_set(c->device, descriptor, &error);
    mtl_release(descriptor);
    return set;
}

void rule_residency(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    mtl_id set = make_set(&c);
    assert_non_null(set);
    mtl_remove_allocation(set, c.priv);
    assert_broken(METALSIM_RESIDENCY, 1);
    mtl_release(set);
    client_end(&c);
    c = client_begin((struct metalsim_config){.no_residency = true});
    assert_null(make_set(&c));
    assert_broken(METALSIM_RESIDENCY, 0);
    client_end(&c);
    c = client_begin((struct metalsim_config){.macos = 14});
    mtl_release(make_set(&c));
    assert_broken(METALSIM_DEVICE, 1);
    client_end(&c);
}

/* What it is told holds from its commit on; it keeps what is in it alive. */
void rule_residency_commit(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    mtl_id set = make_set(&c);
    mtl_add_allocation(set, c.priv);
    assert_int_equal(counts().resident, 0);
    mtl_residency_commit(set);
    assert_int_equal(counts().resident, 1);
    mtl_remove_allocation(set, c.priv);
    assert_int_equal(counts().resident, 1);
    mtl_residency_commit(set);
    assert_int_equal(counts().resident, 0);
    assert_broken(METALSIM_RESIDENCY, 0);
    mtl_release(set);
    client_end(&c);
}

/* --- 24: waits for what is not on its way ------------------------------------------------------- */

void rule_unsignalled(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    mtl_id other = mtl_new_queue(c.device, 4);
    mtl_id event = mtl_new_event(c.device);
    mtl_id waits = mtl_new_commands(c.queue), signals = mtl_new_commands(other);
    mtl_encode_wait(waits, event, 1);
    mtl_encode_signal(signals, event, 1);
    mtl_commit(waits); /* who knows what the host does before it commits the other? */
    assert_broken(METALSIM_UNSIGNALLED, 1);
    commit_and_wait(signals);
    mtl_wait_completed(waits);
    waits = mtl_new_commands(c.queue);
    mtl_encode_wait(waits, event, 1);
    commit_and_wait(waits);
    assert_broken(METALSIM_UNSIGNALLED, 0);
    mtl_release(event);
    mtl_release(other);
    client_end(&c);
}
