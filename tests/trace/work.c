/*
 * Work to be traced: trace_work WORK DEVICE. Prints the statistics of each device it used as JSON, a
 * line each, before it closes them: what the trace must agree with.
 */
#include <ferry/ferry.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define OK(call) expect((call), FERRY_OK, #call)

enum { SIZE = 300000, STAGING = 65536, THREADS = 8, ROUNDS = 400 };

static void expect(enum ferry_status status, enum ferry_status wanted, const char *what)
{
    if (status == wanted)
        return;
    fprintf(stderr, "%s: %s: %s\n", what, ferry_status_name(status), ferry_last_error());
    exit(2);
}

static ferry_device *open_device(const char *name, enum ferry_map map)
{
    ferry_device *device;
    OK(ferry_device_open(
        &(struct ferry_device_params){.name = name, .map_private = map, .staging_budget = STAGING},
        &device));
    return device;
}

static ferry_buffer *make(ferry_device *device, const char *label)
{
    ferry_buffer *buffer;
    OK(ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE, .label = label},
                           &buffer));
    return buffer;
}

static void print_stats(ferry_device *device)
{
    struct ferry_stats stats;
    size_t size;
    ferry_device_get_stats(device, &stats, sizeof stats);
    OK(ferry_stats_format(&stats, FERRY_STATS_JSON, NULL, 0, &size));
    char *text = malloc(size + 1);
    OK(ferry_stats_format(&stats, FERRY_STATS_JSON, text, size + 1, &size));
    fputs(text, stdout);
    fflush(stdout);
    free(text);
}

static void close_device(ferry_device *device)
{
    OK(ferry_wait_idle(device));
    print_stats(device);
    ferry_device_close(device);
}

static void called(enum ferry_status status, ferry_ticket ticket, void *user)
{
    (void)status;
    (void)ticket;
    (void)user;
}

/* --- all kinds of work ------------------------------------------------------------------------- */

static void each_operation(ferry_buffer *dst, ferry_buffer *src, unsigned char *bytes)
{
    static unsigned char got[SIZE];
    static const size_t sizes[] = {0, 1, 4096, 70000, 200000};
    ferry_ticket ticket;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i];
        OK(ferry_copy_from_host(src, bytes, n, 3));
        OK(ferry_copy_to_host(src, bytes, n, 5));
        OK(ferry_copy_buffer(dst, src, n, 7, 0));
        OK(ferry_fill_buffer(dst, n, 1, "abc", 3));
        OK(ferry_copy_from_host_async(src, bytes, n, 3, called, NULL, NULL));
        OK(ferry_copy_buffer_async(dst, src, n, 7, 0, NULL, NULL, &ticket));
        OK(ferry_copy_to_host_async(dst, got, n, 5, called, NULL, &ticket));
        OK(ferry_wait(ferry_buffer_device(dst), ticket, FERRY_FOREVER));
    }
}

static void batches(ferry_buffer *buffer, const unsigned char *bytes)
{
    ferry_device *device = ferry_buffer_device(buffer);
    ferry_batch *batch;
    ferry_ticket ticket;
    OK(ferry_batch_create(device, &batch));
    for (unsigned i = 0; i < 100; i++)
        OK(ferry_batch_copy_from_host(batch, buffer, bytes, 2000, i * 2000));
    OK(ferry_batch_submit(batch, called, NULL, &ticket));
    OK(ferry_wait(device, ticket, FERRY_FOREVER));
    ferry_batch_destroy(batch);
}

/* Work of the user's that fails, and an operation that fails for it. */
static void failures(ferry_device *device, unsigned char *bytes)
{
    ferry_buffer *buffer = make(device, NULL);
    struct ferry_external work;
    OK(ferry_external_begin(
        device, &(struct ferry_use){.buffer = buffer, .access = FERRY_ACCESS_WRITE}, 1, &work));
    OK(ferry_external_end(device, work.ticket, FERRY_ERROR_IO));
    expect(ferry_wait(device, work.ticket, FERRY_FOREVER), FERRY_ERROR_IO, "external work");
    expect(ferry_copy_to_host(buffer, bytes, 100, 0), FERRY_ERROR_IO, "a read of what failed");
    ferry_buffer_destroy(buffer);
}

static void work_mix(const char *name)
{
    static unsigned char bytes[SIZE];
    ferry_device *queued = open_device(name, FERRY_MAP_NEVER), *mapped = open_device(name, 0);
    ferry_buffer *weights = make(queued, "wei\"ghts\\\n\x01\xC3\xA4\xFF\xE2\x82");
    ferry_buffer *plain = make(queued, NULL);
    ferry_buffer *other = make(mapped, "a label that is longer than what an event has room for");
    each_operation(weights, plain, bytes);
    each_operation(other, other, bytes);
    batches(weights, bytes);
    batches(other, bytes);
    OK(ferry_copy_buffer(other, weights, 150001, 1, 2));
    failures(queued, bytes);
    failures(mapped, bytes);
    ferry_buffer_destroy(weights);
    ferry_buffer_destroy(plain);
    ferry_buffer_destroy(other);
    close_device(queued);
    close_device(mapped);
}

/* --- many threads ------------------------------------------------------------------------------ */

static void *run_many(void *arg)
{
    ferry_device *device = arg;
    ferry_buffer *buffer = make(device, "many");
    unsigned char bytes[512] = {0};
    for (unsigned i = 0; i < ROUNDS; i++) {
        OK(ferry_copy_from_host(buffer, bytes, sizeof bytes, i));
        OK(ferry_fill_buffer_async(buffer, 100, i, "x", 1, i % 4 ? NULL : called, NULL, NULL));
        OK(ferry_copy_to_host(buffer, bytes, sizeof bytes, i));
    }
    OK(ferry_buffer_wait(buffer, FERRY_FOREVER));
    ferry_buffer_destroy(buffer);
    return NULL;
}

static void work_threads(const char *name)
{
    pthread_t threads[THREADS];
    ferry_device *devices[2] = {open_device(name, 0), open_device(name, FERRY_MAP_NEVER)};
    for (unsigned i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, run_many, devices[i % 2]))
            exit(2);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    close_device(devices[0]);
    close_device(devices[1]);
}

/* More events at once than there is room for: one batch. */
static void work_flood(const char *name)
{
    enum { ITEMS = 40000 };
    ferry_device *device = open_device(name, FERRY_MAP_NEVER);
    ferry_buffer *buffer = make(device, "flood");
    ferry_batch *batch;
    ferry_ticket ticket;
    OK(ferry_batch_create(device, &batch));
    for (unsigned i = 0; i < ITEMS; i++)
        OK(ferry_batch_fill_buffer(batch, buffer, 4, i % 1000 * 4, "abcd", 4));
    OK(ferry_batch_submit(batch, NULL, NULL, &ticket));
    OK(ferry_wait(device, ticket, FERRY_FOREVER));
    ferry_batch_destroy(batch);
    ferry_buffer_destroy(buffer);
    close_device(device);
}

/* --- the life of a trace ----------------------------------------------------------------------- */

static void few(const char *name)
{
    unsigned char bytes[64] = {0};
    ferry_device *device = open_device(name, 0);
    ferry_buffer *buffer = make(device, "few");
    for (unsigned i = 0; i < 5; i++)
        OK(ferry_copy_from_host(buffer, bytes, sizeof bytes, i));
    ferry_buffer_destroy(buffer);
    close_device(device);
}

static void work_twice(const char *name)
{
    few(name);
    few(name);
}

static void work_fork(const char *name)
{
    unsigned char bytes[64] = {0};
    ferry_device *device = open_device(name, 0);
    ferry_buffer *buffer = make(device, "parent");
    OK(ferry_copy_from_host(buffer, bytes, sizeof bytes, 0));
    pid_t child = fork();
    if (child == 0) {
        expect(ferry_copy_from_host(buffer, bytes, sizeof bytes, 0), FERRY_ERROR_DEVICE_LOST,
               "the parent's device");
        ferry_buffer_destroy(buffer);
        ferry_device_close(device);
        few("host");
        fflush(NULL);
        _exit(0); /* what the parent's libraries do at exit is not for a child */
    }
    int status;
    if (waitpid(child, &status, 0) != child || status != 0)
        exit(2);
    OK(ferry_copy_from_host(buffer, bytes, sizeof bytes, 1));
    ferry_buffer_destroy(buffer);
    close_device(device);
}

/* Works, and is killed. */
static void work_stay(const char *name)
{
    unsigned char bytes[64] = {0};
    ferry_device *device = open_device(name, 0);
    ferry_buffer *buffer = make(device, "stay");
    for (unsigned i = 0; i < 5; i++)
        OK(ferry_copy_from_host(buffer, bytes, sizeof bytes, i));
    print_stats(device);
    for (;;)
        pause();
}

/* Files end at 200000 bytes: less than the trace of this. */
static void work_full(const char *name)
{
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){200000, 200000});
    work_threads(name);
}

/* With FERRY_HOST=lose_at=3. */
static void work_lost(const char *name)
{
    static unsigned char bytes[SIZE];
    ferry_device *device = open_device(name, FERRY_MAP_NEVER);
    ferry_buffer *buffer = make(device, "lost");
    enum ferry_status status = FERRY_OK;
    for (unsigned i = 0; i < 5 && status == FERRY_OK; i++)
        status = ferry_copy_from_host(buffer, bytes, SIZE, 0);
    expect(status, FERRY_ERROR_DEVICE_LOST, "an upload to a lost device");
    ferry_buffer_destroy(buffer);
    print_stats(device);
    ferry_device_close(device);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(const char *device);
    } works[] = {{"mix", work_mix},   {"threads", work_threads}, {"flood", work_flood},
                 {"few", few},        {"twice", work_twice},     {"fork", work_fork},
                 {"stay", work_stay}, {"full", work_full},       {"lost", work_lost}};
    for (size_t i = 0; argc == 3 && i < sizeof works / sizeof *works; i++) {
        if (strcmp(works[i].name, argv[1]) != 0)
            continue;
        works[i].run(argv[2]);
        return 0;
    }
    fprintf(stderr, "trace_work WORK DEVICE\n");
    return 2;
}
