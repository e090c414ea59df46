/*
 * An operation that has many others to follow takes its place in parts, and other threads have the
 * device's lock in between: whatever happens there, it is behind all of them, and before what comes
 * later.
 */
#include "base/base.h"
#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/op.h"
#include "engine/ticket.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MANY = 1000, SLOT = 64, SIZE = MANY * SLOT, AT_ONCE = 64, HANG_SECONDS = 240 };

static ferry_device *device;
static ferry_buffer *buffer;
static struct ferry_external work; /* on all of the buffer, before all else */
static bool ended;
static size_t asked; /* slots */
static unsigned char host[SIZE], back[MANY][SLOT];

/* What is done at the next time that a thread gives up the lock by itself, or at each of them. */
static void (*_Atomic meanwhile)(void);
static bool each_time;
static _Atomic unsigned yields;

/* Stands for the C library's, which the lock is given up with. */
int sched_yield(void)
{
    static _Thread_local bool inside;
    void (*const now)(void) = inside ? NULL : atomic_load(&meanwhile);
    atomic_fetch_add(&yields, 1);
    if (!now)
        return 0;
    if (!each_time)
        atomic_store(&meanwhile, NULL);
    inside = true;
    now();
    inside = false;
    return 0;
}

static void end_work(void)
{
    if (!ended)
        assert_int_equal(ferry_external_end(device, work.ticket, FERRY_OK), FERRY_OK);
    ended = true;
}

static void end_all(void)
{
    end_work();
    assert_int_equal(ferry_wait_idle(device), FERRY_OK); /* but for who registers */
}

static void ask_for_all(void)
{
    ferry_ticket ticket;
    assert_int_equal(ferry_buffer_ticket(buffer, 0, 0, &ticket), FERRY_OK);
    assert_int_equal(ferry_poll(device, ticket), FERRY_PENDING);
}

/* Each time for another slot, from the last one on. */
static void ask_for_a_slot(void)
{
    ferry_ticket ticket;
    if (asked < MANY)
        asked++;
    assert_int_equal(ferry_buffer_ticket(buffer, (MANY - asked) * SLOT, SLOT, &ticket), FERRY_OK);
}

static void ask_and_end(void)
{
    ask_for_all();
    end_all();
}

static void trim(void)
{
    assert_int_equal(ferry_device_trim(device), FERRY_OK);
}

static int set_up(void **state)
{
    (void)state;
    const struct ferry_buffer_params params = {.size = SIZE, .zeroed = true};
    const struct ferry_device_params staged = {.name = "host", .path = FERRY_PATH_STAGED};
    setenv("FERRY_HOST", "no_map", 1);
    alarm(HANG_SECONDS);
    if (ferry_device_open(&staged, &device) || ferry_buffer_create(device, &params, &buffer))
        return -1;
    const struct ferry_use use = {.buffer = buffer, .access = FERRY_ACCESS_WRITE};
    ended = each_time = false;
    asked = 0;
    memset(back, 0x77, sizeof back);
    return ferry_external_begin(device, &use, 1, &work) ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    atomic_store(&meanwhile, NULL);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    alarm(0);
    unsetenv("FERRY_HOST");
    return 0;
}

/* Writes of a slot each, not in the order of addresses, so that they cut the work's bytes up. */
static void write_slots(void)
{
    memset(host, 0x11, sizeof host);
    for (size_t i = 0; i < MANY; i++) {
        const size_t at = i * 7 % MANY * SLOT;
        assert_int_equal(ferry_copy_from_host_async(buffer, host + at, SLOT, at, NULL, NULL, NULL),
                         FERRY_OK);
    }
}

static void read_first_slot(void)
{
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(ferry_copy_to_host_async(buffer, back[i], SLOT, 0, NULL, NULL, NULL),
                         FERRY_OK);
}

static void read_slots(void)
{
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(
            ferry_copy_to_host_async(buffer, back[i], SLOT, i * SLOT, NULL, NULL, NULL), FERRY_OK);
}

/* Does one depend on the other, and not by others? */
static bool follows(ferry_ticket later, ferry_ticket earlier)
{
    bool found = false;
    ferry__device_lock(device);
    const struct ferry__op *op = ferry__ticket_find(device, later);
    for (size_t i = 0; op && i < ferry__op_edge_count(op) && !found; i++)
        found = ferry__op_from(op, i)->ticket == earlier;
    ferry__device_unlock(device);
    return found;
}

/* A write of all bytes, during which that happens; then what must be there is. */
static void write_all(void (*what)(void), bool always)
{
    ferry_ticket ticket;
    const unsigned char byte = 0x55;
    const size_t least = ended ? 0 : MANY / AT_ONCE;
    static unsigned char now[SIZE];
    each_time = always;
    atomic_store(&yields, 0);
    atomic_store(&meanwhile, what);
    assert_int_equal(ferry_fill_buffer_async(buffer, SIZE, 0, &byte, 1, NULL, NULL, &ticket),
                     FERRY_OK);
    assert_true(atomic_load(&yields) >= least);
    atomic_store(&meanwhile, NULL);
    if (!ended) { /* all that it follows is still there: it follows that by one */
        ferry__device_lock(device);
        const struct ferry__op *op = ferry__ticket_find(device, ticket);
        const unsigned edges = op ? ferry__op_edge_count(op) : 0;
        ferry__device_unlock(device);
        assert_int_equal(edges, 1);
        for (size_t i = 0; i <= asked; i++) { /* who asked in between may not know of it */
            ferry_ticket known;
            const size_t at = i ? (MANY - i) * SLOT : 0, size = i ? SLOT : SIZE;
            assert_int_equal(ferry_buffer_ticket(buffer, at, size, &known), FERRY_OK);
            assert_true(follows(known, ticket));
        }
    }
    end_work();
    memset(now, 0, sizeof now);
    assert_int_equal(ferry_copy_to_host(buffer, now, SIZE, 0), FERRY_OK);
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(now[i], byte);
    assert_int_equal(ferry_wait_idle(device), FERRY_OK);
    assert_int_equal(atomic_load(&buffer->word), 0);
}

static void assert_read(unsigned char value)
{
    for (size_t i = 0; i < MANY; i++)
        for (size_t k = 0; k < SLOT; k++)
            assert_int_equal(back[i][k], value);
}

static const struct meanwhile {
    const char *name;
    void (*what)(void);
    bool always;
} happens[] = {{"nothing", NULL, false},
               {"all ends", end_all, false},
               {"it is asked for", ask_for_all, true},
               {"both", ask_and_end, false},
               {"slots are asked for", ask_for_a_slot, true},
               {"memory is trimmed", trim, true}};

static void behind_writes(void **state)
{
    const struct meanwhile *happening = *state;
    write_slots();
    write_all(happening->what, happening->always);
}

static void behind_reads(void **state)
{
    const struct meanwhile *happening = *state;
    read_first_slot();
    write_all(happening->what, happening->always);
    assert_read(0);
}

static void behind_writes_and_reads(void **state)
{
    const struct meanwhile *happening = *state;
    write_slots();
    read_slots();
    write_all(happening->what, happening->always);
    assert_read(0x11);
}

static void a_read_behind_writes(void **state)
{
    const struct meanwhile *happening = *state;
    static unsigned char all[2][SIZE];
    write_slots();
    each_time = happening->always;
    atomic_store(&yields, 0);
    atomic_store(&meanwhile, happening->what);
    for (size_t i = 0; i < 2; i++) /* the second one by the first one's joint */
        assert_int_equal(ferry_copy_to_host_async(buffer, all[i], SIZE, 0, NULL, NULL, NULL),
                         FERRY_OK);
    assert_true(atomic_load(&yields) >= MANY / AT_ONCE);
    atomic_store(&meanwhile, NULL);
    write_all(NULL, false);
    for (size_t i = 0; i < SIZE; i++)
        assert_true(all[0][i] == 0x11 && all[1][i] == 0x11);
}

/* --- room --------------------------------------------------------------------------------------- */

static ferry_buffer *apart;
static struct ferry_external work_apart;
static enum ferry_status status_apart;

/* Where no claim makes it wait, and behind work, so that it has to be parked. */
static void write_apart(void)
{
    status_apart = ferry_copy_from_host_async(apart, host, SLOT, 0, NULL, NULL, NULL);
    assert_int_equal(ferry_external_end(device, work_apart.ticket, FERRY_OK), FERRY_OK);
}

/* The last room among what may be parked goes to the write that came first, though it takes its
 * place later. */
static void room_is_taken_once(void **state)
{
    (void)state;
    const struct ferry_buffer_params params = {.size = SLOT};
    assert_int_equal(ferry_buffer_create(device, &params, &apart), FERRY_OK);
    const struct ferry_use use = {.buffer = apart, .access = FERRY_ACCESS_WRITE};
    assert_int_equal(ferry_external_begin(device, &use, 1, &work_apart), FERRY_OK);
    write_slots();
    ferry__device_lock(device);
    assert_int_equal(device->parked, MANY);
    device->parked_max = MANY + 1;
    ferry__device_unlock(device);
    status_apart = FERRY_OK;
    write_all(write_apart, false);
    assert_int_equal(status_apart, FERRY_ERROR_POOL_EXHAUSTED);
    ferry_buffer_destroy(apart);
}

int main(void)
{
    enum { HAPPENS = sizeof happens / sizeof *happens, BODIES = 4 };
    static const CMUnitTestFunction bodies[BODIES] = {
        behind_writes, behind_reads, behind_writes_and_reads, a_read_behind_writes};
    struct CMUnitTest tests[HAPPENS * BODIES + 1];
    for (size_t i = 0; i < HAPPENS * BODIES; i++)
        tests[i] = (struct CMUnitTest){.name = happens[i % HAPPENS].name,
                                       .test_func = bodies[i / HAPPENS],
                                       .setup_func = set_up,
                                       .teardown_func = tear_down,
                                       .initial_state = (void *)(uintptr_t)&happens[i % HAPPENS]};
    tests[HAPPENS * BODIES] =
        (struct CMUnitTest)cmocka_unit_test_setup_teardown(room_is_taken_once, set_up, tear_down);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
