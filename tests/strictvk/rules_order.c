/* Which command comes after which: barriers, queues, semaphores. Broken on purpose. */
#include "strict_driver.h"

/* --- barriers --------------------------------------------------------------------------------- */

/* Two commands, the second touching what the first does: reported without a barrier, not with. */
static void barrier_case(uint64_t to, uint64_t from, bool barrier, unsigned expected)
{
    struct fixture f;
    open_with(&f, "collect=1");
    struct ferry__memory a = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    struct ferry__memory b = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    struct ferry__command commands[] = {copy(&a, 0, &b, 0, 100), copy(&b, to, &a, from, 100)};
    commands[1].barrier = barrier;
    wait_for(&f, submit(&f, FERRY__ROLE_COPY, commands, 2, NULL));
    assert_int_equal(only(STRICTVK_BARRIER), expected);
    driver->memory_free(f.v, &a);
    driver->memory_free(f.v, &b);
    driver->close(f.v);
}

static void test_barrier(void **unused)
{
    (void)unused;
    barrier_case(200, 99, false, 1);  /* reads what was written */
    barrier_case(99, 200, false, 1);  /* writes what was read */
    barrier_case(99, 99, false, 2);   /* both */
    barrier_case(100, 100, false, 0); /* beside it */
    barrier_case(99, 99, true, 0);
}

static void test_host(void **unused)
{
    (void)unused;
    struct fixture f;
    open_with(&f, "collect=1,memory=private");
    struct ferry__memory seen = alloc(&f, FERRY__MEMORY_READBACK, SIZE);
    struct ferry__memory unseen = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    VkCommandPool pool;
    VkCommandBuffer commands = begin(&f, &pool);
    f.v->vk.CmdFillBuffer(commands, native(&unseen), 0, 64, 7);
    end(&f, commands, pool);
    assert_int_equal(only(STRICTVK_HOST), 0);
    commands = begin(&f, &pool);
    f.v->vk.CmdFillBuffer(commands, native(&seen), 0, 64, 7);
    end(&f, commands, pool);
    assert_int_equal(only(STRICTVK_HOST), 1);
    assert_int_equal(set("collect=1"), 0); /* the test never asked whether its work was done */
    driver->memory_free(f.v, &seen);
    driver->memory_free(f.v, &unseen);
    driver->close(f.v);
}

static void test_overlap(void **unused)
{
    (void)unused;
    struct fixture f;
    open_with(&f, "collect=1");
    struct ferry__memory a = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    struct ferry__memory b = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    /* Two commands that touch each other, with no barrier: the driver may make one of them. */
    struct ferry__command commands[] = {copy(&a, 0, &b, 0, 100), copy(&a, 99, &b, 500, 100)};
    wait_for(&f, submit(&f, FERRY__ROLE_COPY, commands, 2, NULL));
    assert_int_equal(only(STRICTVK_OVERLAP), 1);
    driver->memory_free(f.v, &a);
    driver->memory_free(f.v, &b);
    driver->close(f.v);
}

/* Pages imported twice: written through one import, then touched through the other. */
static void alias_case(bool down, uint64_t to, unsigned expected)
{
    struct fixture f;
    open_with(&f, "collect=1");
    unsigned char *host = aligned_alloc(SIZE, SIZE);
    struct ferry__memory device = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE), first, second;
    assert_int_equal(driver->host_import(f.v, host, SIZE, false, &first, f.why), FERRY_OK);
    assert_int_equal(driver->host_import(f.v, host, SIZE, false, &second, f.why), FERRY_OK);
    struct ferry__command commands[] = {copy(&first, 0, &device, 0, 100),
                                        down ? copy(&second, to, &device, 200, 100)
                                             : copy(&device, 200, &second, to, 100)};
    commands[1].barrier = true;
    wait_for(&f, submit(&f, FERRY__ROLE_COPY, commands, 2, NULL));
    assert_int_equal(only(STRICTVK_ALIAS), expected);
    wait_for(&f, submit(&f, FERRY__ROLE_COPY, commands + 1, 1, NULL)); /* seen to be done */
    assert_int_equal(only(STRICTVK_ALIAS), expected);
    driver->memory_free(f.v, &first);
    driver->memory_free(f.v, &second);
    driver->memory_free(f.v, &device);
    driver->close(f.v);
    free(host);
}

static void test_alias(void **unused)
{
    (void)unused;
    alias_case(true, 99, 1);
    alias_case(true, 100, 0);
    alias_case(false, 99, 1);
    alias_case(false, 100, 0);
}

/* --- queues ----------------------------------------------------------------------------------- */

static void queue_case(bool wait, unsigned expected)
{
    struct fixture f;
    open_with(&f, "collect=1,kind=discrete,memory=private,transfer=2");
    assert_int_equal(f.limits.queue_count, 3);
    struct ferry__memory a = alloc(&f, FERRY__MEMORY_UPLOAD, SIZE);
    struct ferry__memory b = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    struct ferry__memory c = alloc(&f, FERRY__MEMORY_READBACK, SIZE);
    struct ferry__command up = copy(&b, 0, &a, 0, 100), down = copy(&c, 0, &b, 0, 100);
    struct ferry_sync first = submit(&f, FERRY__ROLE_UPLOAD, &up, 1, NULL);
    struct ferry_sync second = submit(&f, FERRY__ROLE_DOWNLOAD, &down, 1, wait ? &first : NULL);
    assert_int_equal(only(STRICTVK_QUEUE), expected);
    wait_for(&f, first);
    wait_for(&f, second);
    /* What the host has seen to be done needs no wait. */
    wait_for(&f, submit(&f, FERRY__ROLE_COPY, &down, 1, NULL));
    assert_int_equal(only(STRICTVK_QUEUE), expected);
    driver->memory_free(f.v, &a);
    driver->memory_free(f.v, &b);
    driver->memory_free(f.v, &c);
    driver->close(f.v);
}

static void test_queue(void **unused)
{
    (void)unused;
    queue_case(false, 1);
    queue_case(true, 0);
}

/* Queues that run late: without the wait the bytes are the old ones. */
static void test_delay(void **unused)
{
    (void)unused;
    bool stale = false;
    for (int wait = 1; wait >= 0; wait--)
        for (int i = 0; i < 20; i++) {
            struct fixture f;
            open_with(&f, "collect=1,kind=discrete,memory=private,transfer=2,delay=50");
            struct ferry__memory a = alloc(&f, FERRY__MEMORY_UPLOAD, SIZE);
            struct ferry__memory b = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
            struct ferry__memory c = alloc(&f, FERRY__MEMORY_READBACK, SIZE);
            a.host[0] = 0;
            struct ferry__command up = copy(&b, 0, &a, 0, 1), down = copy(&c, 0, &b, 0, 1);
            struct ferry_sync first = {0};
            for (int k = 0; k < 3; k++)
                first = submit(&f, FERRY__ROLE_UPLOAD, &up, 1, NULL);
            wait_for(&f, first);
            a.host[0] = 1;
            for (int k = 0; k < 3; k++)
                first = submit(&f, FERRY__ROLE_UPLOAD, &up, 1, NULL);
            wait_for(&f, submit(&f, FERRY__ROLE_DOWNLOAD, &down, 1, wait ? &first : NULL));
            wait_for(&f, first);
            if (wait)
                assert_int_equal(c.host[0], 1);
            stale = stale || c.host[0] == 0;
            driver->memory_free(f.v, &a);
            driver->memory_free(f.v, &b);
            driver->memory_free(f.v, &c);
            driver->close(f.v);
        }
    assert_true(stale);
}

static void test_sharing(void **unused)
{
    (void)unused;
    struct fixture f;
    open_with(&f, "collect=1,kind=discrete,memory=private,transfer=1");
    uint32_t families = f.v->family_count;
    f.v->family_count = 1; /* as if the driver forgot the copy engines */
    struct ferry__memory a = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    f.v->family_count = families;
    struct ferry__memory b = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    struct ferry__command command = copy(&a, 0, &b, 0, 100);
    wait_for(&f, submit(&f, FERRY__ROLE_COPY, &command, 1, NULL));
    assert_int_equal(only(STRICTVK_SHARING), 0);
    wait_for(&f, submit(&f, FERRY__ROLE_UPLOAD, &command, 1, NULL));
    assert_int_equal(only(STRICTVK_SHARING), 1);
    driver->memory_free(f.v, &a);
    driver->memory_free(f.v, &b);
    driver->close(f.v);
}

static void test_in_use(void **unused)
{
    (void)unused;
    struct fixture f;
    open_with(&f, "collect=1");
    uint64_t event;
    assert_int_equal(driver->event_create(f.v, &event, f.why), FERRY_OK);
    struct ferry__memory a = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    struct ferry__memory b = alloc(&f, FERRY__MEMORY_PRIVATE, SIZE);
    struct ferry__command command = copy(&a, 0, &b, 0, 100);
    struct ferry_sync point =
        submit(&f, FERRY__ROLE_COPY, &command, 1, &(struct ferry_sync){event, 1});
    /* Freeing it now would be too early: the rule is asked, the memory is freed later. */
    driver->event_signal(f.v, event, 1);
    f.v->vk.DeviceWaitIdle(f.v->device);
    assert_int_equal(only(STRICTVK_IN_USE), 0);
    driver->memory_free(f.v, &a); /* done, but nobody looked */
    assert_true(only(STRICTVK_IN_USE) > 0);
    wait_for(&f, point);
    assert_int_equal(set("collect=1"), 0);
    driver->memory_free(f.v, &b);
    assert_int_equal(only(STRICTVK_IN_USE), 0);
    driver->event_destroy(f.v, event);
    driver->close(f.v);
}

/* --- semaphores ------------------------------------------------------------------------------- */

static void test_value(void **unused)
{
    (void)unused;
    struct fixture f;
    open_with(&f, "collect=1");
    uint64_t event;
    assert_int_equal(driver->event_create(f.v, &event, f.why), FERRY_OK);
    driver->event_signal(f.v, event, 5);
    driver->event_signal(f.v, event, 5); /* the driver knows better */
    assert_int_equal(only(STRICTVK_VALUE), 0);
    const VkSemaphoreSignalInfo signal = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO,
        .semaphore = ferry_vulkan_semaphore((struct ferry_sync){.event = event}),
        .value = 5,
    };
    f.v->vk.SignalSemaphore(f.v->device, &signal);
    assert_int_equal(reports(STRICTVK_VALUE), 1);
    driver->event_destroy(f.v, event);
    driver->close(f.v);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_barrier), cmocka_unit_test(test_host),  cmocka_unit_test(test_overlap),
    cmocka_unit_test(test_queue),   cmocka_unit_test(test_delay), cmocka_unit_test(test_sharing),
    cmocka_unit_test(test_in_use),  cmocka_unit_test(test_value), cmocka_unit_test(test_alias),
};

GROUP(order);
