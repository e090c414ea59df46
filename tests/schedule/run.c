/* A run: its luck, its rounds, its devices, and what is said when something is wrong. */
#include "hang.h"
#include "schedule.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STEPS_A_ROUND = 40 };

/* Of the lanes' threads: nothing that waits may need much, however much is in flight. Sanitizers'
 * frames are larger. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
enum { STACK = 1 << 20 };
#else
enum { STACK = 64 << 10 };
#endif

static const struct run *running;

/* --- luck ------------------------------------------------------------------------------------- */

uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

size_t below(uint64_t *state, size_t limit)
{
    return limit == 0 ? 0 : (size_t)(next_random(state) % limit);
}

bool one_in(uint64_t *state, size_t n)
{
    return below(state, n) == 0;
}

void scribble(void *memory, size_t size, uint64_t seed)
{
    unsigned char *bytes = memory;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = next_random(&seed);
        memcpy(bytes + i, &word, size - i < 8 ? size - i : 8);
    }
}

/* --- what is wrong ---------------------------------------------------------------------------- */

void wrong(const struct run *run, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "schedule: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\nschedule: round %u of: schedule --config %s --seed %llu --steps %zu\n",
            run->round, run->config->name, (unsigned long long)run->seed, run->steps);
    if (run->injected != NULL)
        fprintf(stderr, "schedule: with --inject %s, at number %llu\n", run->injected,
                (unsigned long long)run->injected_at);
    va_end(arguments);
    fflush(NULL);
    _exit(1);
}

void told_wrong(const char *message)
{
    wrong(running, "%s", message);
}

void hung(int signal_number)
{
    (void)signal_number;
    wrong(running, "nothing moves any more");
}

/* --- rounds ----------------------------------------------------------------------------------- */

struct lanes {
    struct lane lanes[LANES_MAX], nests[DEVICES_MAX];
    unsigned count;
};

static void *thread_steps(void *arg)
{
    struct lane *lane = arg;
    const unsigned backlog = lane->run->config->backlog;
    lane_steps(lane, backlog ? backlog : STEPS_A_ROUND);
    return NULL;
}

static void take_steps(struct run *run, struct lanes *all, size_t steps)
{
    pthread_t threads[LANES_MAX];
    pthread_attr_t attr;
    if (run->config->threads == 0) {
        lane_steps(&all->lanes[0], steps);
        return;
    }
    pthread_attr_init(&attr);
    if (pthread_attr_setstacksize(&attr, STACK) != 0)
        wrong(run, "no stack of %d bytes", STACK);
    for (unsigned i = 0; i < all->count; i++)
        if (pthread_create(&threads[i], &attr, thread_steps, &all->lanes[i]) != 0)
            wrong(run, "pthread_create failed");
    pthread_attr_destroy(&attr);
    for (unsigned i = 0; i < all->count; i++)
        pthread_join(threads[i], NULL);
}

/* All is done: also what callbacks have submitted, and their callbacks in turn. */
static void settle(struct run *run)
{
    unsigned before;
    do {
        before = run->nested;
        for (unsigned i = 0; i < run->device_count; i++) {
            enum ferry_status status = ferry_wait_idle(run->devices[i]);
            if (status != FERRY_OK && !run->config->losing)
                wrong(run, "ferry_wait_idle: %s: %s", ferry_status_name(status),
                      ferry_last_error());
        }
    } while (run->nested != before);
}

static void check_all(struct run *run, struct lanes *all)
{
    settle(run);
    for (unsigned i = 0; i < all->count; i++)
        lane_check(&all->lanes[i]);
    for (unsigned i = 0; i < run->device_count; i++)
        lane_check(&all->nests[i]);
}

struct lanes *lanes_create(struct run *run)
{
    struct lanes *all = calloc(1, sizeof *all);
    all->count = run->config->threads != 0 ? run->config->threads : 1;
    for (unsigned i = 0; i < all->count; i++) {
        lane_init(&all->lanes[i], run, i, false);
        all->lanes[i].nests = all->nests;
    }
    for (unsigned i = 0; i < run->device_count; i++) {
        lane_init(&all->nests[i], run, 90 + i, true);
        all->nests[i].nests = all->nests;
    }
    return all;
}

void lanes_rounds(struct run *run, struct lanes *all, size_t steps)
{
    uint64_t luck = run->seed;
    for (size_t done = 0; done < steps; run->round++) {
        size_t now = 1 + below(&luck, STEPS_A_ROUND);
        alarm(HANG_SECONDS);
        take_steps(run, all, now);
        alarm(HANG_SECONDS);
        check_all(run, all);
        for (unsigned i = 0; i < all->count; i++)
            lane_verify(&all->lanes[i]);
        for (unsigned i = 0; i < run->device_count; i++)
            lane_verify(&all->nests[i]);
        check_all(run, all);
        done += now + run->config->backlog;
    }
}

void lanes_destroy(struct run *run, struct lanes *all)
{
    for (unsigned i = 0; i < all->count; i++)
        lane_finish(&all->lanes[i]);
    for (unsigned i = 0; i < run->device_count; i++)
        lane_finish(&all->nests[i]);
    free(all);
}

/* --- devices ---------------------------------------------------------------------------------- */

static void set_knobs(const struct run *run, const char *knobs, const char *more)
{
    char value[256];
    snprintf(value, sizeof value, "%s%s%s%sseed=%llu", knobs, knobs[0] ? "," : "",
             more != NULL ? more : "", more != NULL ? "," : "", (unsigned long long)run->seed);
    setenv(run->config->metal  ? "METALSIM"
           : run->config->cuda ? "STRICTCUDA"
                               : "FERRY_HOST",
           value, 1);
}

bool run_open(struct run *run, const char *more_knobs)
{
    const char *const knobs[DEVICES_MAX] = {run->config->knobs, run->config->second_knobs};
    static const char *const host_names[DEVICES_MAX] = {"host", "host:1"};
    static const char *const metal_names[DEVICES_MAX] = {"metal", "metal:1"};
    static const char *const cuda_names[DEVICES_MAX] = {"cuda", "cuda:1"};
    static const char *const vulkan_names[DEVICES_MAX] = {"vulkan", "vulkan"};
    const char *const *names = run->config->metal    ? metal_names
                               : run->config->cuda   ? cuda_names
                               : run->config->strict ? vulkan_names
                                                     : host_names;
    running = run;
    alarm(HANG_SECONDS);
    if (run->config->strict != NULL)
        vulkan_set(run->config->strict, run->config->engine);
    for (unsigned i = 0; i < DEVICES_MAX && knobs[i] != NULL; i++) {
        struct ferry_device_params params = run->config->params;
        set_knobs(run, knobs[i], i == 0 ? more_knobs : NULL);
        params.name = names[i];
        enum ferry_status status = ferry_device_open(&params, &run->devices[i]);
        if (status != FERRY_OK && !may_refuse(run, status))
            wrong(run, "ferry_device_open(%s): %s: %s", names[i], ferry_status_name(status),
                  ferry_last_error());
        if (status != FERRY_OK && run->devices[i] != NULL)
            wrong(run, "ferry_device_open failed and wrote its output");
        if (status != FERRY_OK) {
            run_close(run);
            return false;
        }
        run->device_count++;
    }
    return true;
}

void run_close(struct run *run)
{
    alarm(HANG_SECONDS);
    for (unsigned i = 0; i < run->device_count; i++)
        ferry_device_close(run->devices[i]);
    run->device_count = 0;
    alarm(0);
}

void run_all(struct run *run)
{
    run_open(run, NULL);
    if (run->config->shared) {
        shared_rounds(run);
    } else {
        struct lanes *lanes = lanes_create(run);
        lanes_rounds(run, lanes, run->steps);
        lanes_destroy(run, lanes);
    }
    run_close(run);
}
