/* Thread numbers and their shards, starting threads, waiting with a deadline. */
#include "barrier.h"
#include "base/base.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct ferry__metrics metrics;
static struct ferry_stats stats;

static int set_up(void **state)
{
    (void)state;
    return ferry__metrics_init(&metrics);
}

static int tear_down(void **state)
{
    (void)state;
    ferry__metrics_finish(&metrics);
    return 0;
}

static void run_threads(unsigned count, void *(*run)(void *), void *arg)
{
    pthread_t threads[FERRY__THREADS_MAX + 20];
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run, arg), 0);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

/* --- thread numbers --------------------------------------------------------------------------- */

/* Those that share a shard count often, to meet there. */
enum { CROWD = FERRY__THREADS_MAX + 20, COUNTS = 100, COUNTS_SHARED = 20000 };

static struct barrier crowd_barrier;
static _Atomic unsigned owners[FERRY__THREADS_MAX + 1];
static _Atomic unsigned unsteady;

static void *join_crowd(void *arg)
{
    (void)arg;
    unsigned number = ferry__thread_number();
    unsteady += number > FERRY__THREADS_MAX || number != ferry__thread_number();
    owners[number]++;
    barrier_wait(&crowd_barrier); /* all are alive at the same time */
    unsigned counts = number < FERRY__THREADS_MAX ? COUNTS : COUNTS_SHARED;
    for (unsigned i = 0; i < counts; i++)
        ferry__count(&metrics, FERRY_OPERATION_DOWNLOAD, FERRY_PATH_STAGED, 1);
    return NULL;
}

static void more_threads_than_numbers(void **state)
{
    (void)state;
    (void)ferry__thread_number();                   /* this thread holds one */
    for (unsigned round = 1; round <= 2; round++) { /* the second one reuses the numbers */
        memset(owners, 0, sizeof owners);
        barrier_init(&crowd_barrier, CROWD);
        run_threads(CROWD, join_crowd, NULL);
        assert_int_equal(unsteady, 0);
        unsigned taken = 0;
        for (unsigned i = 0; i < FERRY__THREADS_MAX; i++) {
            assert_true(owners[i] <= 1);
            taken += owners[i];
        }
        assert_int_equal(taken, FERRY__THREADS_MAX - 1);
        assert_int_equal(owners[FERRY__THREADS_MAX], CROWD - taken);
        ferry__metrics_read(&metrics, &stats, sizeof stats);
        assert_int_equal(stats.operations[FERRY_OPERATION_DOWNLOAD][FERRY_PATH_STAGED].operations,
                         (uint64_t)round * (taken * COUNTS + (CROWD - taken) * COUNTS_SHARED));
    }
}

static void *take_number(void *arg)
{
    *(unsigned *)arg = ferry__thread_number();
    return NULL;
}

/* Destructors that run after the number was given back still count, and no longer under that
 * number if a new thread has it. */
struct late {
    unsigned rounds, number, other;
};
static pthread_key_t late_key;

static void count_late(void *value)
{
    struct late *late = value;
    if (++late->rounds < 3)
        pthread_setspecific(late_key, late);
    ferry__count(&metrics, FERRY_OPERATION_UPLOAD, FERRY_PATH_NONE, 0);
    late->number = ferry__thread_number();
    run_threads(1, take_number, &late->other);
}

static void *end_late(void *arg)
{
    (void)ferry__thread_number();
    pthread_setspecific(late_key, arg);
    return NULL;
}

static void counting_at_the_end_of_a_thread(void **state)
{
    (void)state;
    struct late late = {0};
    assert_int_equal(pthread_key_create(&late_key, count_late), 0);
    run_threads(1, end_late, &late);
    pthread_key_delete(late_key);
    assert_int_equal(late.rounds, 3);
    assert_true(late.number == FERRY__THREADS_MAX || late.number != late.other);
    ferry__metrics_read(&metrics, &stats, sizeof stats);
    assert_int_equal(stats.operations[FERRY_OPERATION_UPLOAD][FERRY_PATH_NONE].operations, 3);
    for (unsigned i = 0; i < 2 * FERRY__THREADS_MAX; i++) /* and no number is lost by it */
        run_threads(1, take_number, &late.number);
    assert_true(late.number < FERRY__THREADS_MAX);
}

/* --- threads and time ------------------------------------------------------------------------- */

static void *look_at_mask(void *arg)
{
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    *(bool *)arg = sigismember(&mask, SIGINT) == 1 && sigismember(&mask, SIGPROF) == 1 &&
                   sigismember(&mask, SIGSEGV) == 0 && sigismember(&mask, SIGBUS) == 0;
    return arg;
}

/* But for a fault's own: whoever handles those in the program does so on our threads too. */
static void threads_start_with_signals_blocked(void **state)
{
    (void)state;
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    pthread_t thread;
    bool blocked = false;
    void *result = NULL;
    int error = ferry__thread_start(&thread, "a name that is too long", look_at_mask, &blocked);
    assert_int_equal(error, 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &blocked);
    assert_true(blocked);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&after, SIGINT), sigismember(&before, SIGINT));
    ferry__alloc_fail_at(1);
    assert_int_equal(ferry__thread_start(&thread, "x", look_at_mask, &blocked), ENOMEM);
    ferry__alloc_fail_at(0);
}

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool set;
};

static void *set_it(void *arg)
{
    struct waiting *waiting = arg;
    pthread_mutex_lock(&waiting->lock);
    waiting->set = true;
    pthread_cond_signal(&waiting->cond);
    pthread_mutex_unlock(&waiting->lock);
    return NULL;
}

static void waits(void **state)
{
    (void)state;
    struct waiting waiting = {.lock = PTHREAD_MUTEX_INITIALIZER};
    assert_int_equal(ferry__cond_init(&waiting.cond), 0);
    pthread_mutex_lock(&waiting.lock);
    uint64_t deadline = ferry__deadline(2000000);
    while (ferry__cond_wait_until(&waiting.cond, &waiting.lock, deadline))
        continue; /* woken for no reason */
    assert_true(ferry__now_ns() >= deadline);
    assert_false(ferry__cond_wait_until(&waiting.cond, &waiting.lock, 0));
    const uint64_t deadlines[] = {UINT64_MAX, UINT64_MAX - 1, ferry__deadline(60000000000u)};
    for (unsigned i = 0; i < 3; i++) {
        pthread_t thread;
        waiting.set = false;
        assert_int_equal(pthread_create(&thread, NULL, set_it, &waiting), 0);
        while (!waiting.set)
            assert_true(ferry__cond_wait_until(&waiting.cond, &waiting.lock, deadlines[i]));
        pthread_mutex_unlock(&waiting.lock);
        assert_int_equal(pthread_join(thread, NULL), 0);
        pthread_mutex_lock(&waiting.lock);
    }
    pthread_mutex_unlock(&waiting.lock);
    pthread_cond_destroy(&waiting.cond);
    assert_true(ferry__deadline(FERRY_FOREVER) == UINT64_MAX);
    assert_true(ferry__deadline(FERRY_FOREVER - 1) == UINT64_MAX);
    uint64_t now = ferry__now_ns();
    assert_true(ferry__deadline(5) >= now + 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(more_threads_than_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(counting_at_the_end_of_a_thread, set_up, tear_down),
        cmocka_unit_test(threads_start_with_signals_blocked),
        cmocka_unit_test(waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
