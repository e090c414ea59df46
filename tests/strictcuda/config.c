#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim sim = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* --- options ----------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    size_t offset;
    uint64_t normal;
} names[] = {
#define OPTION(name, normal)                          \
    {                                                 \
#name, offsetof(struct options, name), normal \
    }
    OPTION(devices, 1),
    OPTION(delay, 20),          /* us at most before a piece of work */
    OPTION(memory, 8ull << 30), /* bytes of a device */
    OPTION(version, 13000),     /* of the driver */
    OPTION(seed, 1),
    OPTION(nobatch, 0),     /* no cuMemcpyBatchAsync */
    OPTION(nowrite, 0),     /* streams write no values */
    OPTION(nojit, 0),       /* no compiler for PTX */
    OPTION(noregister, 0),  /* host memory cannot be registered */
    OPTION(noreadonly, 0),  /* nor for reading only */
    OPTION(noshare, 0),     /* memory has no descriptors */
    OPTION(nopeers, 0),     /* no device reaches another's memory */
    OPTION(badpeers, 0),    /* they say so, and the bytes are others */
    OPTION(prohibited, 0),  /* the first so many devices have a prohibited compute mode */
    OPTION(pageable, 0),    /* copies of pageable memory are no breach */
    OPTION(fail_alloc, 0),  /* the n-th allocation */
    OPTION(import_fail, 0), /* the n-th registration */
    OPTION(fail_submit, 0), /* the n-th submission's first command */
    OPTION(fail_exec, 0),   /* the n-th submission, when its commands are handed over */
    OPTION(fail_every, 0),  /* one in n of both, by luck */
    OPTION(lose_at, 0),     /* the n-th submission faults */
#undef OPTION
};

enum { OPTIONS = sizeof names / sizeof *names };

static uint64_t parse_value(const char *text)
{
    char *end;
    if (!strncmp(text, "all", 3))
        return UINT64_MAX;
    const uint64_t value = strtoull(text, &end, 0);
    return *end == 'K'   ? value << 10
           : *end == 'M' ? value << 20
           : *end == 'G' ? value << 30
                         : value;
}

static void parse_word(struct options *options, const char *word, size_t length)
{
    size_t name = 0;
    while (name < length && word[name] != '=')
        name++;
    for (size_t i = 0; i < OPTIONS; i++) {
        if (strlen(names[i].name) != name || memcmp(names[i].name, word, name) != 0)
            continue;
        const uint64_t value = name == length ? 1 : parse_value(word + name + 1);
        memcpy((char *)options + names[i].offset, &value, sizeof value);
        return;
    }
    if (name == 8 && !memcmp(word, "delay_us", 8)) { /* the host driver's name for it */
        options->delay = parse_value(word + name + 1);
        return;
    }
    fprintf(stderr, "strictcuda: STRICTCUDA has no \"%.*s\"\n", (int)length, word);
    abort();
}

struct options sim_options(void)
{
    struct options options;
    for (size_t i = 0; i < OPTIONS; i++)
        memcpy((char *)&options + names[i].offset, &names[i].normal, sizeof names[i].normal);
    const char *text = getenv("STRICTCUDA");
    while (text && *text) {
        const size_t length = strcspn(text, ",");
        if (length)
            parse_word(&options, text, length);
        text += length + (text[length] == ',');
    }
    if (options.devices > DEVICES_MAX)
        options.devices = DEVICES_MAX;
    return options;
}

uint64_t sim_random(void)
{
    sim.random += 0x9e3779b97f4a7c15u; /* splitmix64 */
    uint64_t z = sim.random;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

bool sim_fires(uint64_t *option)
{
    if (*option == UINT64_MAX)
        return true;
    return *option && --*option == 0;
}

/* --- breaches ---------------------------------------------------------------------------------- */

static bool recording;
static uint64_t breaches[STRICTCUDA_RULES];
static char last_breach[256];

void sim_breach(enum strictcuda_rule rule, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_breach, sizeof last_breach, format, arguments);
    va_end(arguments);
    breaches[rule]++;
    if (recording)
        return;
    fprintf(stderr, "strictcuda: rule %d: %s\n", (int)rule, last_breach);
    abort();
}

void strictcuda_record(bool record)
{
    pthread_mutex_lock(&sim.lock);
    recording = record;
    pthread_mutex_unlock(&sim.lock);
}

uint64_t strictcuda_breaches(enum strictcuda_rule rule)
{
    pthread_mutex_lock(&sim.lock);
    const uint64_t count = breaches[rule];
    pthread_mutex_unlock(&sim.lock);
    return count;
}

void strictcuda_forget(void)
{
    pthread_mutex_lock(&sim.lock);
    memset(breaches, 0, sizeof breaches);
    last_breach[0] = 0;
    pthread_mutex_unlock(&sim.lock);
}

const char *strictcuda_last_breach(void)
{
    return last_breach;
}

/* --- what tests do to it ----------------------------------------------------------------------- */

static void set(bool *what, bool value)
{
    pthread_mutex_lock(&sim.lock);
    *what = value;
    pthread_cond_broadcast(&sim.changed);
    pthread_mutex_unlock(&sim.lock);
}

void strictcuda_hold(bool hold)
{
    set(&sim.hold, hold);
}

void strictcuda_pause(bool pause)
{
    set(&sim.pause, pause);
}

void strictcuda_capture(bool capture)
{
    set(&sim.capture, capture);
}

unsigned strictcuda_waiting(void)
{
    pthread_mutex_lock(&sim.lock);
    const unsigned waiting = sim.waiting;
    pthread_mutex_unlock(&sim.lock);
    return waiting;
}

void strictcuda_fault(unsigned error)
{
    pthread_mutex_lock(&sim.lock);
    sim_fault(&sim.contexts[0], error);
    pthread_mutex_unlock(&sim.lock);
}

size_t strictcuda_live(void)
{
    size_t live = 0;
    pthread_mutex_lock(&sim.lock);
    for (const struct range *range = sim.ranges; range; range = range->next)
        live += !range->users;
    for (cu_event event = sim.events; event; event = event->next)
        live++;
    for (cu_stream stream = sim.streams; stream; stream = stream->next)
        live += !stream->users;
    for (cu_module module = sim.modules; module; module = module->next)
        live += !module->users;
    live += sim_virtual_left(NULL);
    pthread_mutex_unlock(&sim.lock);
    return live;
}
