#include "core.h"

enum { FAMILIES_MAX = 256, METRICS_MAX = 4096 };

struct TRITONSERVER_Parameter {
    char name[NAME_SIZE], value[NAME_SIZE];
};

struct TRITONSERVER_MetricFamily {
    TRITONSERVER_MetricKind kind;
    char *name, *help;
};

struct TRITONSERVER_Metric {
    TRITONSERVER_MetricFamily *family;
    char labels[256];
    double value;
};

/* As in the server they live as long as the process. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below */
static TRITONSERVER_MetricFamily *families[FAMILIES_MAX];
static TRITONSERVER_Metric *metrics[METRICS_MAX];
static size_t family_count, metric_count;
static atomic_bool absent;

void standin_without_metrics(bool are_absent)
{
    atomic_store(&absent, are_absent);
}

static bool is_absent(void)
{
    return atomic_load(&absent) || getenv("STANDIN_NO_METRICS");
}

static TRITONSERVER_Error *unsupported(void)
{
    return fail(TRITONSERVER_ERROR_UNSUPPORTED, "metrics not supported");
}

TRITONSERVER_Error *TRITONSERVER_MetricFamilyNew(TRITONSERVER_MetricFamily **family,
                                                 const TRITONSERVER_MetricKind kind,
                                                 const char *name, const char *description)
{
    if (is_absent())
        return unsupported();
    pthread_mutex_lock(&lock);
    bool there = false;
    for (size_t i = 0; i < family_count; i++)
        there = there || !strcmp(families[i]->name, name);
    if (!there && family_count < FAMILIES_MAX) {
        *family = calloc(1, sizeof **family);
        **family = (TRITONSERVER_MetricFamily){kind, strdup(name), strdup(description)};
        families[family_count++] = *family;
    }
    pthread_mutex_unlock(&lock);
    if (!there)
        return NULL;
    violate("MetricFamilyNew: \"%s\" is there already", name);
    return fail(TRITONSERVER_ERROR_INVALID_ARG, "the family \"%s\" is there already", name);
}

TRITONSERVER_Parameter *TRITONSERVER_ParameterNew(const char *name,
                                                  const TRITONSERVER_ParameterType type,
                                                  const void *value)
{
    TRITONSERVER_Parameter *parameter = calloc(1, sizeof *parameter);
    if (!parameter)
        abort();
    if (type != TRITONSERVER_PARAMETER_STRING)
        violate("a label that is no string");
    snprintf(parameter->name, sizeof parameter->name, "%s", name);
    snprintf(parameter->value, sizeof parameter->value, "%s", (const char *)value);
    return parameter;
}

void TRITONSERVER_ParameterDelete(TRITONSERVER_Parameter *parameter)
{
    free(parameter);
}

TRITONSERVER_Error *TRITONSERVER_MetricNew(TRITONSERVER_Metric **metric,
                                           TRITONSERVER_MetricFamily *family,
                                           const TRITONSERVER_Parameter **labels,
                                           const uint64_t label_count)
{
    if (is_absent())
        return unsupported();
    TRITONSERVER_Metric *made = calloc(1, sizeof *made);
    if (!made)
        abort();
    made->family = family;
    size_t length = 0;
    for (uint64_t i = 0; i < label_count; i++)
        length += (size_t)snprintf(made->labels + length, sizeof made->labels - length,
                                   "%s%s=\"%s\"", i ? "," : "", labels[i]->name, labels[i]->value);
    pthread_mutex_lock(&lock);
    if (metric_count == METRICS_MAX)
        abort();
    metrics[metric_count++] = made;
    pthread_mutex_unlock(&lock);
    *metric = made;
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_MetricIncrement(TRITONSERVER_Metric *metric, double value)
{
    if (is_absent())
        return unsupported();
    if (metric->family->kind == TRITONSERVER_METRIC_KIND_COUNTER && !(value >= 0)) {
        violate("MetricIncrement: a counter by %g", value);
        return fail(TRITONSERVER_ERROR_INVALID_ARG, "a counter only grows");
    }
    pthread_mutex_lock(&lock);
    metric->value += value;
    pthread_mutex_unlock(&lock);
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_MetricSet(TRITONSERVER_Metric *metric, double value)
{
    if (is_absent())
        return unsupported();
    if (metric->family->kind != TRITONSERVER_METRIC_KIND_GAUGE) {
        violate("MetricSet: \"%s\" is no gauge", metric->family->name);
        return fail(TRITONSERVER_ERROR_INVALID_ARG, "only a gauge is set");
    }
    pthread_mutex_lock(&lock);
    metric->value = value;
    pthread_mutex_unlock(&lock);
    return NULL;
}

double standin_metric(const char *family, const char *labels)
{
    double value = -1;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < metric_count; i++)
        if (!strcmp(metrics[i]->family->name, family) && !strcmp(metrics[i]->labels, labels))
            value = metrics[i]->value;
    pthread_mutex_unlock(&lock);
    return value;
}

void format_metrics(FILE *out)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < metric_count; i++)
        fprintf(out, "%s%s%s%s %.9g\n", metrics[i]->family->name, metrics[i]->labels[0] ? "{" : "",
                metrics[i]->labels, metrics[i]->labels[0] ? "}" : "", metrics[i]->value);
    pthread_mutex_unlock(&lock);
}

struct TRITONSERVER_Metrics {
    char *text;
    size_t size;
};

TRITONSERVER_Error *TRITONSERVER_ServerMetrics(TRITONSERVER_Server *server,
                                               TRITONSERVER_Metrics **out)
{
    (void)server;
    if (is_absent())
        return unsupported();
    TRITONSERVER_Metrics *made = calloc(1, sizeof *made);
    if (!made)
        abort();
    FILE *file = open_memstream(&made->text, &made->size);
    fputs("nv_inference_count 0\n", file);
    format_metrics(file);
    fclose(file);
    *out = made;
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_MetricsFormatted(TRITONSERVER_Metrics *made,
                                                  TRITONSERVER_MetricFormat format,
                                                  const char **base, size_t *byte_size)
{
    (void)format;
    *base = made->text;
    *byte_size = made->size;
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_MetricsDelete(TRITONSERVER_Metrics *made)
{
    free(made->text);
    free(made);
    return NULL;
}
