/* Each rule of the simulator, broken on purpose and noticed: the client here is a bad one. */
#include "metal_world.h"

#include "drivers/metal/objc.h"

#include <sys/mman.h>
#include <unistd.h>

/* A bad client's device, queue and two buffers. */
struct client {
    mtl_id device, queue, shared, priv;
};

static void *pool;

static struct client begin(struct metalsim_config config)
{
    config.record = true;
    start_machine(&config);
    assert_true(ferry__mtl_load());
    pool = mtl_pool_push();
    struct client client = {0};
    mtl_id all = ferry__mtl.copy_all_devices();
    client.device = mtl_array_at(all, 0);
    mtl_release(all);
    client.queue = mtl_new_queue(client.device, 4);
    client.shared = mtl_new_buffer(client.device, 4096, MTL_OPTION_SHARED);
    client.priv = mtl_new_buffer(client.device, 4096, MTL_OPTION_PRIVATE);
    return client;
}

static void end(struct client *client)
{
    mtl_release(client->shared);
    mtl_release(client->priv);
    mtl_release(client->queue);
    mtl_pool_pop(pool);
    assert_int_equal(metalsim_reset(&(struct metalsim_config){0}), 0);
}

/* Exactly this rule was broken, this often; the count starts anew. */
static void assert_broken(enum metalsim_rule rule, uint64_t times)
{
    static uint64_t before[METALSIM_RULES];
    struct metalsim_counts now = counts();
    if (rule == 0) {
        memset(before, 0, sizeof before);
        return;
    }
    for (int i = 1; i < METALSIM_RULES; i++) {
        uint64_t expected = i == (int)rule ? times : 0;
        if (now.breaches[i] - before[i] != expected)
            fail_msg("rule %d was broken %d times, not %d: %s", i,
                     (int)(now.breaches[i] - before[i]), (int)expected, metalsim_last_breach());
    }
    memcpy(before, now.breaches, sizeof before);
}

static struct client fresh(struct metalsim_config config)
{
    assert_broken((enum metalsim_rule)0, 0);
    return begin(config);
}

static void commit_and_wait(mtl_id commands)
{
    mtl_commit(commands);
    mtl_wait_completed(commands);
}

static void copy_once(struct client *c, mtl_id src, uint64_t from, mtl_id dst, uint64_t to,
                      uint64_t size)
{
    mtl_id commands = mtl_new_commands(c->queue);
    mtl_id blit = mtl_new_blit(commands);
    mtl_blit_copy(blit, src, from, dst, to, size);
    mtl_end_encoding(blit);
    commit_and_wait(commands);
}

/* --- 1 to 4: copies and fills ----------------------------------------------------------------- */

static void test_alignment(void **unused)
{
    (void)unused;
    struct client c = fresh((struct metalsim_config){.machine = METALSIM_INTEL});
    copy_once(&c, c.shared, 1, c.priv, 0, 4);
    assert_broken(METALSIM_ALIGNMENT, 1);
    copy_once(&c, c.shared, 0, c.priv, 2, 4);
    assert_broken(METALSIM_ALIGNMENT, 1);
    copy_once(&c, c.shared, 0, c.priv, 0, 5);
    assert_broken(METALSIM_ALIGNMENT, 1);
    copy_once(&c, c.shared, 4, c.priv, 8, 12);
    assert_broken(METALSIM_ALIGNMENT, 0);
    end(&c);
    c = fresh((struct metalsim_config){.loose_alignment = true});
    copy_once(&c, c.shared, 1, c.priv, 2, 3);
    assert_broken(METALSIM_ALIGNMENT, 0);
    end(&c);
}

static void test_range(void **unused)
{
    (void)unused;
    struct client c = fresh((struct metalsim_config){0});
    copy_once(&c, c.shared, 0, c.priv, 0, 0);
    assert_broken(METALSIM_RANGE, 1);
    copy_once(&c, c.shared, 4, c.priv, 0, 4096);
    assert_broken(METALSIM_RANGE, 1);
    copy_once(&c, c.shared, 0, c.priv, UINT64_MAX - 3, 8);
    assert_broken(METALSIM_RANGE, 1);
    mtl_id commands = mtl_new_commands(c.queue);
    mtl_id blit = mtl_new_blit(commands);
    mtl_blit_fill(blit, c.priv, (struct mtl_range){64, 4096}, 1); /* (from, to) it is not */
    assert_broken(METALSIM_RANGE, 1);
    mtl_end_encoding(blit);
    assert_null(mtl_new_buffer(c.device, 0, MTL_OPTION_SHARED));
    assert_broken(METALSIM_RANGE, 1);
    end(&c);
}

/* A copy over 4 GiB is cut to 32 bits without a word. Memory that is not touched costs nothing. */
static void test_truncation(void **unused)
{
    (void)unused;
    struct client c = fresh((struct metalsim_config){.max_buffer = 16ull << 30,
                                                     .memory = 64ull << 30});
    uint64_t size = (4ull << 30) + 4096;
    mtl_id big = mtl_new_buffer(c.device, 2 * size, MTL_OPTION_SHARED);
    unsigned char *bytes = mtl_buffer_contents(big);
    bytes[0] = bytes[size - 1] = 7;
    copy_once(&c, big, 0, big, size, size);
    assert_int_equal(bytes[size], 7);
    assert_int_equal(bytes[2 * size - 1], 0);
    assert_int_equal(counts().truncations, 1);
    assert_broken(METALSIM_TRUNCATION, 0);
    mtl_release(big);
    end(&c);
}

static void test_overlap(void **unused)
{
    (void)unused;
    struct client c = fresh((struct metalsim_config){0});
    unsigned char *bytes = mtl_buffer_contents(c.shared);
    memset(bytes, 9, 4096);
    copy_once(&c, c.shared, 0, c.shared, 64, 128);
    assert_broken(METALSIM_OVERLAP, 1);
    assert_int_not_equal(bytes[64], 9); /* what comes of it is no copy */
    copy_once(&c, c.shared, 0, c.shared, 128, 128);
    assert_broken(METALSIM_OVERLAP, 0);
    end(&c);
}

/* --- 5 to 8: memory --------------------------------------------------------------------------- */

static void test_storage(void **unused)
{
    (void)unused;
    struct client c = fresh((struct metalsim_config){.machine = METALSIM_AMD});
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
    end(&c);
    c = fresh((struct metalsim_config){0});
    mtl_release(mtl_new_buffer(c.device, 4, MTL_OPTION_MANAGED));
    assert_broken(METALSIM_STORAGE, 1);
    end(&c);
}

/* The CPU and the GPU have a store each: what one writes the other sees only when told. */
static void test_managed(void **unused)
{
    (void)unused;
    struct client c = fresh((struct metalsim_config){.machine = METALSIM_AMD});
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
    memset(out, 2, 4096);
    copy_once(&c, c.shared, 0, managed, 0, 4096);
    assert_int_equal(cpu[0], 1);
    mtl_id commands = mtl_new_commands(c.queue);
    mtl_id blit = mtl_new_blit(commands);
    mtl_blit_synchronize(blit, managed);
    mtl_end_encoding(blit);
    assert_int_equal(cpu[0], 1);
    commit_and_wait(commands);
    assert_int_equal(cpu[0], 2);
    mtl_did_modify(managed, (struct mtl_range){4095, 2});
    assert_broken(METALSIM_RANGE, 1);
    mtl_release(managed);
    end(&c);
}

/* Private memory has no access while nothing runs on it: a system call finds that out. */
static void test_private(void **unused)
{
    (void)unused;
    struct client c = fresh((struct metalsim_config){0});
    unsigned char *bytes = metalsim_open(c.priv);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(write(pipes[1], bytes, 1), 1);
    metalsim_close(c.priv);
    assert_int_equal(write(pipes[1], bytes, 1), -1); /* EFAULT */
    close(pipes[0]);
    close(pipes[1]);
    end(&c);
}

static void test_import(void **unused)
{
    (void)unused;
    struct client c = fresh((struct metalsim_config){.machine = METALSIM_INTEL});
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
    end(&c);
}

/* --- 9, 13, 16, 17: objects ------------------------------------------------------------------- */

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

static void test_objects(void **unused)
{
    (void)unused;
    struct client c = fresh((struct metalsim_config){0});
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
    end(&c);
}

/* One that is left over is told at the end. */
static void test_leak(void **unused)
{
    (void)unused;
    struct client c = fresh((struct metalsim_config){0});
    mtl_id leaked = mtl_retain(mtl_new_commands(c.queue));
    mtl_release(c.shared);
    mtl_release(c.priv);
    mtl_release(c.queue);
    mtl_pool_pop(pool);
    struct metalsim_counts now = counts();
    assert_int_equal(now.live_objects, 2); /* it and its queue */
    pool = mtl_pool_push();
    mtl_release(leaked);
    mtl_pool_pop(pool);
    assert_int_equal(metalsim_reset(&(struct metalsim_config){0}), 0);
}

static void test_lifetime(void **unused)
{
    (void)unused;
    for (int retained = 0; retained < 2; retained++) {
        struct client c = fresh((struct metalsim_config){0});
        mtl_id event = mtl_new_shared_event(c.device);
        mtl_id buffer = mtl_new_buffer(c.device, 64, MTL_OPTION_SHARED);
        mtl_id commands =
            retained ? mtl_new_commands_retained(c.queue) : mtl_new_commands(c.queue);
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
        end(&c);
    }
}

static void test_device(void **unused)
{
    (void)unused;
    struct client c = fresh((struct metalsim_config){.devices = 2, .hidden = {"storageMode"}});
    mtl_id all = ferry__mtl.copy_all_devices();
    mtl_id foreign = mtl_new_buffer(mtl_array_at(all, 1), 64, MTL_OPTION_SHARED);
    mtl_release(all);
    copy_once(&c, foreign, 0, c.shared, 0, 64);
    assert_broken(METALSIM_DEVICE, 1);
    assert_false(MTL_RESPONDS(c.shared, buffer_storage));
    assert_broken(METALSIM_DEVICE, 0);
    mtl_buffer_storage(c.shared);
    assert_broken(METALSIM_DEVICE, 1);
    mtl_release(foreign);
    end(&c);
}

/* The letters of the types of a row, to compare with the encoding that the row has. */
#define LETTERS(T)                                                                                 \
    _Generic((T *)0,                                                                               \
        void *: "v", mtl_id *: "@", mtl_id **: "^@", mtl_sel *: ":", mtl_block *: "@?",           \
        mtl_bool *: "B", uint8_t *: "C", uint64_t *: "Q", int64_t *: "q", double *: "d",          \
        void **: "^v", const void **: "r^v", const char **: "r*",                                 \
        struct mtl_range *: "{_NSRange=QQ}", struct mtl_size *: "{?=QQQ}")

static const struct {
    const char *selector, *encoding, *letters[7];
} rows[] = {
#define SEND0(on, name, s, e, o, v, n, R) {s, e, {LETTERS(R)}},
#define SEND1(on, name, s, e, o, v, n, R, A) {s, e, {LETTERS(R), LETTERS(A)}},
#define SEND2(on, name, s, e, o, v, n, R, A, B) {s, e, {LETTERS(R), LETTERS(A), LETTERS(B)}},
#define SEND3(on, name, s, e, o, v, n, R, A, B, C)                                                 \
    {s, e, {LETTERS(R), LETTERS(A), LETTERS(B), LETTERS(C)}},
#define SEND4(on, name, s, e, o, v, n, R, A, B, C, D)                                              \
    {s, e, {LETTERS(R), LETTERS(A), LETTERS(B), LETTERS(C), LETTERS(D)}},
#define SEND5(on, name, s, e, o, v, n, R, A, B, C, D, E)                                           \
    {s, e, {LETTERS(R), LETTERS(A), LETTERS(B), LETTERS(C), LETTERS(D), LETTERS(E)}},
#include "drivers/metal/selectors.inc"
#include "drivers/metal/selectors_end.inc"
};

/* The encodings of the list are those of its own C types, and there are as many arguments as the
 * selector has colons. */
static void test_list(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char letters[128];
        int length = snprintf(letters, sizeof letters, "%s@:", rows[i].letters[0]), arguments = 0;
        for (int a = 1; rows[i].letters[a]; a++, arguments++)
            length += snprintf(letters + length, sizeof letters - (size_t)length, "%s",
                               rows[i].letters[a]);
        int colons = 0;
        for (const char *p = rows[i].selector; *p; p++)
            colons += *p == ':';
        if (!ferry__mtl_same_encoding(letters, rows[i].encoding) || colons != arguments)
            fail_msg("%s: the types are %s, the encoding is %s", rows[i].selector, letters,
                     rows[i].encoding);
    }
}

static void test_same_encoding(void **unused)
{
    (void)unused;
    static const struct {
        const char *a, *b;
        bool same;
    } pairs[] = {
        {"v24@0:8@16", "v24@0:8@?16", true},
        {"v32@0:8{_NSRange=QQ}16", "v32@0:8{?=QQ}16", true},
        {"@24@0:8r*16", "@24@0:8^v16", true},
        {"@24@0:8^@16", "@24@0:8^{NSError=#@[3i]}16", true},
        {"@24@0:8@\"NSString\"16", "@24@0:8@16", true},
        {"@24@0:8@?<v@?@>16", "@24@0:8@?16", true},
        {"B16@0:8", "c16@0:8", true},
        {"Q16@0:8", "q16@0:8", true},
        {"Q16@0:8", "I16@0:8", false},
        {"Q16@0:8", "Vv16@0:8", false},
        {"Vv16@0:8", "v16@0:8", true},
        {"v16@0:8", "v24@0:8@16", false},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (ferry__mtl_same_encoding(pairs[i].a, pairs[i].b) != pairs[i].same ||
            ferry__mtl_same_encoding(pairs[i].b, pairs[i].a) != pairs[i].same)
            fail_msg("%s and %s", pairs[i].a, pairs[i].b);
}

/* A method whose types are not those of the list is an error in words at device open. */
static void test_types(void **unused)
{
    (void)unused;
    static const struct {
        const char *selector, *encoding, *says;
    } wrong[] = {
        {"newBufferWithLength:options:", "@32@0:8I16Q24", "newBufferWithLength:options:"},
        {"contents", "Q16@0:8", "contents"},
        {"copyFromBuffer:sourceOffset:toBuffer:destinationOffset:size:",
         "v48@0:8@16Q24@32Q40", "copyFromBuffer:"},
        {"fillBuffer:range:value:", "v44@0:8@16{_NSRange=QQ}24S40", "fillBuffer:"},
        {"GPUStartTime", "f16@0:8", "GPUStartTime"},
        {"setSignaledValue:", "v20@0:8i16", "setSignaledValue:"},
        {"objectAtIndex:", "@24@0:8f16", "objectAtIndex:"},
        {"maxTotalThreadsPerThreadgroup", "d16@0:8", NULL},
        {"commit", "v16@0:8", NULL},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        start_machine(&(struct metalsim_config){.machine = METALSIM_INTEL,
                                                .retyped = wrong[i].selector,
                                                .encoding = wrong[i].encoding});
        struct world world = {0};
        ferry_set_log(NULL, NULL, FERRY_LOG_NONE);
        enum ferry_status status = driver->open(&(struct ferry__open_params){0}, &world.state,
                                                &world.limits, world.why);
        ferry_set_log(NULL, NULL, FERRY_LOG_WARN);
        bool refused = wrong[i].says != NULL;
        assert_int_equal(status != FERRY_OK, refused);
        if (refused)
            assert_non_null(strstr(world.why, wrong[i].says));
        else
            close_world(&world);
    }
    assert_int_equal(metalsim_reset(&(struct metalsim_config){0}), 0);
}

/* --- 10, 11: states --------------------------------------------------------------------------- */

static void nothing_more(const struct mtl_closure *block, mtl_id commands)
{
    (void)block, (void)commands;
}

static int copied, disposed;

static void count_copy(void *to, const void *from)
{
    (void)to, (void)from;
    copied++;
}

static void count_dispose(const void *block)
{
    (void)block;
    disposed++;
}

static const struct mtl_block_description handler = {
    0, sizeof(struct mtl_closure), count_copy, count_dispose, "v16@?0@8"};

static void test_states(void **unused)
{
    (void)unused;
    struct client c = fresh((struct metalsim_config){0});
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
    struct mtl_closure late = mtl_closure((void (*)(void))nothing_more, &handler, NULL);
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
    end(&c);
}

static void wait_inside(const struct mtl_closure *block, mtl_id commands)
{
    (void)block;
    void *inner = mtl_pool_push();
    mtl_wait_completed(commands);
    mtl_pool_pop(inner);
}

static void test_wait_in_handler(void **unused)
{
    (void)unused;
    struct client c = fresh((struct metalsim_config){0});
    mtl_id commands = mtl_new_commands(c.queue);
    struct mtl_closure block = mtl_closure((void (*)(void))wait_inside, &handler, NULL);
    mtl_add_completed(commands, &block.head);
    commit_and_wait(commands);
    assert_broken(METALSIM_STATE, 1);
    end(&c);
}

static void test_queue_full(void **unused)
{
    (void)unused;
    struct client c = fresh((struct metalsim_config){0});
    for (int i = 0; i < 4; i++)
        assert_non_null(mtl_new_commands(c.queue));
    assert_null(mtl_new_commands(c.queue));
    assert_broken(METALSIM_QUEUE_FULL, 1);
    end(&c);
}

/* --- 12, 14, 15: order and failures ----------------------------------------------------------- */

static void test_untracked(void **unused)
{
    (void)unused;
    for (int tracked = 0; tracked < 2; tracked++) {
        struct client c = fresh((struct metalsim_config){0});
        mtl_id buffer = mtl_new_buffer(c.device, 64, tracked ? 0 : MTL_OPTION_UNTRACKED);
        mtl_id commands = mtl_new_commands(c.queue);
        mtl_id blit = mtl_new_blit(commands);
        mtl_blit_fill(blit, buffer, (struct mtl_range){0, 64}, 1);
        mtl_blit_fill(blit, buffer, (struct mtl_range){0, 64}, 2);
        mtl_end_encoding(blit);
        commit_and_wait(commands);
        assert_int_equal(*(unsigned char *)mtl_buffer_contents(buffer), tracked ? 2 : 1);
        mtl_release(buffer);
        end(&c);
    }
}

/* A part of the work is done, the event is not signalled, the error says why. */
static void test_failing_commands(void **unused)
{
    (void)unused;
    struct client c = fresh((struct metalsim_config){0});
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
    end(&c);
}

static void test_nil(void **unused)
{
    (void)unused;
    struct client c = fresh((struct metalsim_config){.memory = 1 << 20});
    metalsim_fail_constructor(2);
    mtl_id first = mtl_new_buffer(c.device, 64, 0);
    assert_non_null(first);
    assert_null(mtl_new_buffer(c.device, 64, 0));
    assert_null(mtl_new_buffer(c.device, 1 << 20, 0)); /* some of it is taken */
    mtl_release(first);
    end(&c);
}

/* --- 18: blocks ------------------------------------------------------------------------------- */

static void test_blocks(void **unused)
{
    (void)unused;
    struct client c = fresh((struct metalsim_config){0});
    mtl_id commands = mtl_new_commands(c.queue);
    copied = disposed = 0;
    struct mtl_closure block = mtl_closure((void (*)(void))nothing_more, &handler, NULL);
    mtl_add_completed(commands, &block.head);
    struct mtl_closure unsigned_block = block;
    unsigned_block.head.flags = MTL_BLOCK_HAS_COPY_DISPOSE;
    mtl_add_completed(commands, &unsigned_block.head);
    assert_broken(METALSIM_BLOCK, 1);
    struct mtl_block_description wrong = handler;
    wrong.signature = "v24@?0@8Q16";
    struct mtl_closure other = mtl_closure((void (*)(void))nothing_more, &wrong, NULL);
    mtl_add_completed(commands, &other.head);
    assert_broken(METALSIM_BLOCK, 1);
    wrong = handler;
    wrong.size = 8;
    mtl_add_completed(commands, &other.head);
    assert_broken(METALSIM_BLOCK, 1);
    memset(&block, 0x77, sizeof block); /* the frame it was on is gone; Metal has its copy */
    commit_and_wait(commands);
    end(&c);
    assert_int_equal(copied, 1);
    assert_int_equal(disposed, 1);
}

/* --- 20: threads ------------------------------------------------------------------------------ */

/* Another thread is inside the command buffer: the simulator counts who is. */
static void test_threads(void **unused)
{
    (void)unused;
    struct client c = fresh((struct metalsim_config){0});
    mtl_id commands = mtl_new_commands(c.queue);
    metalsim_enter(commands);
    mtl_id blit = mtl_new_blit(commands);
    assert_broken(METALSIM_THREADS, 1);
    metalsim_leave(commands);
    mtl_end_encoding(blit);
    assert_broken(METALSIM_THREADS, 0);
    end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_range),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_storage),
        cmocka_unit_test(test_managed),
        cmocka_unit_test(test_private),
        cmocka_unit_test(test_import),
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_leak),
        cmocka_unit_test(test_lifetime),
        cmocka_unit_test(test_device),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_same_encoding),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_wait_in_handler),
        cmocka_unit_test(test_queue_full),
        cmocka_unit_test(test_untracked),
        cmocka_unit_test(test_failing_commands),
        cmocka_unit_test(test_nil),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
