#include "strict.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct config config;
pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static pthread_once_t from_environment = PTHREAD_ONCE_INIT;
static pthread_mutex_t report_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the two below */
static unsigned reports[STRICTVK_RULE_COUNT];
static unsigned calls;

static const char *const rule_texts[] = {
#define RULE(name, text) text,
    STRICTVK_RULES(RULE)
#undef RULE
};

/* --- options ---------------------------------------------------------------------------------- */

struct word {
    const char *name;
    int value;
};

static const struct word kinds[] = {
    {"cpu", VK_PHYSICAL_DEVICE_TYPE_CPU},
    {"discrete", VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU},
    {"integrated", VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU},
    {"virtual", VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU},
    {NULL, 0},
};
static const struct word memories[] = {
    {"plain", MEMORY_PLAIN},
    {"private", MEMORY_PRIVATE},
    {"noncoherent", MEMORY_NONCOHERENT},
    {"bar", MEMORY_BAR},
    {NULL, 0},
};
static const struct word imports[] = {
    {"as_is", IMPORT_AS_IS},
    {"strict", IMPORT_STRICT},
    {"none", IMPORT_NONE},
    {NULL, 0},
};
static const struct word results[] = {
    {"host", VK_ERROR_OUT_OF_HOST_MEMORY}, {"device", VK_ERROR_OUT_OF_DEVICE_MEMORY},
    {"map", VK_ERROR_MEMORY_MAP_FAILED},   {"many", VK_ERROR_TOO_MANY_OBJECTS},
    {"lost", VK_ERROR_DEVICE_LOST},        {"handle", VK_ERROR_INVALID_EXTERNAL_HANDLE},
    {"unknown", VK_ERROR_UNKNOWN},         {NULL, 0},
};

static bool choose(const struct word *words, const char *text, int *out_value)
{
    for (; words->name; words++)
        if (strcmp(words->name, text) == 0) {
            *out_value = words->value;
            return true;
        }
    return false;
}

static const struct {
    const char *name;
    uint64_t *value;
} numbers[] = {
    {"coherent", &config.coherent},
    {"heap", &config.heap},
    {"allocation", &config.allocation},
    {"count", &config.count},
    {"atom", &config.atom},
    {"granularity", &config.granularity},
    {"queues", &config.queues},
    {"transfer", &config.transfer},
    {"delay", &config.delay},
    {"budget", &config.budget},
    {"validate", &config.validate},
    {"collect", &config.collect},
    {"lose", &config.lose},
    {"drop", &config.drop},
    {"reads", &config.reads},
    {"dmabuf", &config.dmabuf},
};

static bool set_fail(const char *value)
{
    char result[16];
    unsigned long long at;
    if (sscanf(value, "%63[A-Za-z]:%llu:%15[a-z]", config.fail_call, &at, result) != 3)
        return false;
    config.fail_at = at;
    return choose(results, result, &config.fail_result);
}

/* DOMAIN:BUS:DEVICE.FUNCTION, as sysfs has it. */
static bool set_pci(const char *value)
{
    unsigned parts[4];
    char end;
    const bool fits = strlen(value) < sizeof config.pci;
    memcpy(config.pci, value, fits ? strlen(value) + 1 : 0);
    return fits && sscanf(value, "%4x:%2x:%2x.%1x%c", &parts[0], &parts[1], &parts[2], &parts[3],
                          &end) == 4;
}

static bool set_one(const char *name, const char *value)
{
    if (strcmp(name, "kind") == 0)
        return choose(kinds, value, &config.kind);
    if (strcmp(name, "memory") == 0)
        return choose(memories, value, &config.memory);
    if (strcmp(name, "import") == 0)
        return choose(imports, value, &config.import);
    if (strcmp(name, "fail") == 0)
        return set_fail(value);
    if (strcmp(name, "pci") == 0)
        return set_pci(value);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strcmp(numbers[i].name, name) == 0) {
            *numbers[i].value = strtoull(value, NULL, 0);
            return true;
        }
    return false;
}

static int set_all(const char *options)
{
    config = (struct config){.kind = -1};
    char name[32], value[128];
    int length = 0;
    while (options && *options) {
        if (sscanf(options, "%31[a-z]=%127[^,]%n", name, value, &length) != 2 ||
            !set_one(name, value)) {
            fprintf(stderr, "strictvk: no such option: %s\n", options);
            return -1;
        }
        options += length;
        options += *options == ',';
    }
    return 0;
}

static void set_from_environment(void)
{
    if (set_all(getenv("STRICTVK")))
        abort();
}

EXPORT int strictvk_set(const char *options)
{
    pthread_once(&from_environment, set_from_environment);
    pthread_mutex_lock(&lock);
    memory_reset();
    queue_reset();
    order_reset();
    pthread_mutex_lock(&report_lock);
    memset(reports, 0, sizeof reports);
    calls = 0;
    pthread_mutex_unlock(&report_lock);
    int result = set_all(options ? options : getenv("STRICTVK"));
    pthread_mutex_unlock(&lock);
    return result;
}

void config_init(void)
{
    pthread_once(&from_environment, set_from_environment);
}

/* --- reports ---------------------------------------------------------------------------------- */

void report(enum strictvk_rule rule, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pthread_mutex_lock(&report_lock);
    reports[rule]++;
    pthread_mutex_unlock(&report_lock);
    if (config.collect)
        return;
    fprintf(stderr, "strictvk: %s: %s\n", rule_texts[rule], text);
    abort();
}

EXPORT unsigned strictvk_reports(enum strictvk_rule rule)
{
    pthread_mutex_lock(&report_lock);
    unsigned count = reports[rule];
    pthread_mutex_unlock(&report_lock);
    return count;
}

/* --- failures --------------------------------------------------------------------------------- */

bool fails(const char *call, VkResult *out_result)
{
    pthread_mutex_lock(&report_lock);
    calls++;
    bool mine = config.fail_at &&
                (strcmp(config.fail_call, "any") == 0 || strcmp(config.fail_call, call) == 0);
    bool now = mine && --config.fail_at == 0;
    pthread_mutex_unlock(&report_lock);
    if (!now)
        return false;
    *out_result = (VkResult)config.fail_result;
    if (*out_result == VK_ERROR_DEVICE_LOST) {
        pthread_mutex_lock(&lock);
        lose_device();
        pthread_mutex_unlock(&lock);
    }
    return true;
}

EXPORT unsigned strictvk_calls(void)
{
    pthread_mutex_lock(&report_lock);
    unsigned count = calls;
    pthread_mutex_unlock(&report_lock);
    return count;
}
