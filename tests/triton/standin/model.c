#include "core.h"

#include <sys/stat.h>

static atomic_bool has_gpu;

void standin_with_gpu(bool there)
{
    atomic_store(&has_gpu, there);
}

/* --- what a backend asks about its model and instance ----------------------------------------- */

TRITONSERVER_Error *TRITONBACKEND_ModelName(TRITONBACKEND_Model *model, const char **name)
{
    *name = ((struct model *)model)->name;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelConfig(TRITONBACKEND_Model *model,
                                              const uint32_t config_version,
                                              TRITONSERVER_Message **model_config)
{
    if (config_version != 1)
        return fail(TRITONSERVER_ERROR_INVALID_ARG, "config version");
    *model_config = calloc(1, sizeof **model_config);
    (*model_config)->json = strdup(((struct model *)model)->text);
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelState(TRITONBACKEND_Model *model, void **state)
{
    *state = ((struct model *)model)->state;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelSetState(TRITONBACKEND_Model *model, void *state)
{
    ((struct model *)model)->state = state;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceModel(TRITONBACKEND_ModelInstance *instance,
                                                     TRITONBACKEND_Model **model)
{
    *model = (TRITONBACKEND_Model *)instance->model;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceName(TRITONBACKEND_ModelInstance *instance,
                                                    const char **name)
{
    *name = instance->name;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceKind(TRITONBACKEND_ModelInstance *instance,
                                                    TRITONSERVER_InstanceGroupKind *kind)
{
    *kind = instance->kind;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceDeviceId(TRITONBACKEND_ModelInstance *instance,
                                                        int32_t *device_id)
{
    *device_id = instance->device_id;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceState(TRITONBACKEND_ModelInstance *instance,
                                                     void **state)
{
    *state = instance->state;
    return NULL;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceSetState(TRITONBACKEND_ModelInstance *instance,
                                                        void *state)
{
    instance->state = state;
    return NULL;
}

struct TRITONSERVER_BufferAttributes {
    TRITONSERVER_MemoryType type;
    int64_t id;
    size_t size;
};

TRITONSERVER_Error *TRITONSERVER_BufferAttributesNew(TRITONSERVER_BufferAttributes **attributes)
{
    *attributes = calloc(1, sizeof **attributes);
    return NULL;
}

TRITONSERVER_Error *TRITONSERVER_BufferAttributesDelete(TRITONSERVER_BufferAttributes *attributes)
{
    free(attributes);
    return NULL;
}

TRITONSERVER_Error *
TRITONSERVER_BufferAttributesSetMemoryType(TRITONSERVER_BufferAttributes *attributes,
                                           TRITONSERVER_MemoryType memory_type)
{
    attributes->type = memory_type;
    return NULL;
}

TRITONSERVER_Error *
TRITONSERVER_BufferAttributesSetMemoryTypeId(TRITONSERVER_BufferAttributes *attributes,
                                             int64_t memory_type_id)
{
    attributes->id = memory_type_id;
    return NULL;
}

TRITONSERVER_Error *
TRITONSERVER_BufferAttributesSetByteSize(TRITONSERVER_BufferAttributes *attributes,
                                         size_t byte_size)
{
    attributes->size = byte_size;
    return NULL;
}

TRITONSERVER_Error *
TRITONBACKEND_ModelInstanceReportMemoryUsage(TRITONBACKEND_ModelInstance *instance,
                                             TRITONSERVER_BufferAttributes **usage,
                                             uint32_t usage_size)
{
    if (usage_size != 1 || (unsigned)usage[0]->type > TRITONSERVER_MEMORY_GPU)
        violate("ModelInstanceReportMemoryUsage: %u entries, the first of type %d", usage_size,
                usage_size ? (int)usage[0]->type : -1);
    pthread_mutex_lock(&instance->model->lock);
    instance->memory_type = usage[0]->type;
    instance->memory_id = usage[0]->id;
    instance->memory = usage[0]->size;
    pthread_mutex_unlock(&instance->model->lock);
    return NULL;
}

/* --- configuration ---------------------------------------------------------------------------- */

static long number(const struct json *object, const char *name, long otherwise)
{
    const char *text = json_text(json_get(object, name), NULL);
    return text ? atol(text) : otherwise;
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return NULL;
    char *text = calloc(1, 65536);
    const size_t length = fread(text, 1, 65535, file);
    text[length] = 0;
    fclose(file);
    return text;
}

static TRITONSERVER_Error *read_config(struct model *model)
{
    char path[PATH_SIZE + 128], why[256] = "";
    const char *repository = model->server->options.repository;
    struct stat status;
    snprintf(path, sizeof path, "%s/%s/1", repository, model->name);
    if (stat(path, &status) || !S_ISDIR(status.st_mode))
        return fail(TRITONSERVER_ERROR_NOT_FOUND, "there is no folder %s", path);
    snprintf(path, sizeof path, "%s/%s/config.pbtxt", repository, model->name);
    char *text = read_file(path);
    if (!text)
        return fail(TRITONSERVER_ERROR_NOT_FOUND, "cannot read %s", path);
    const char *wrong = why;
    model->text = config_to_json(text, why, sizeof why);
    free(text);
    model->config = model->text ? json_parse(model->text, strlen(model->text), &wrong) : NULL;
    if (!model->config)
        return fail(TRITONSERVER_ERROR_INVALID_ARG, "%s", wrong);
    const struct json *batching = json_get(model->config, "dynamic_batching");
    if (batching)
        model->max_rows = (unsigned)number(model->config, "max_batch_size", 0);
    model->delay_ns = (uint64_t)number(batching, "max_queue_delay_microseconds", 0) * 1000;
    return NULL;
}

/* --- instances -------------------------------------------------------------------------------- */

static TRITONSERVER_Error *start_instance(struct model *model, TRITONSERVER_InstanceGroupKind kind,
                                          int32_t device_id)
{
    if (model->instance_count == INSTANCES_MAX)
        abort();
    struct TRITONBACKEND_ModelInstance *instance = &model->instances[model->instance_count];
    instance->model = model;
    instance->kind = kind;
    instance->device_id = device_id;
    char name[NAME_SIZE]; /* the compiler fears for one that is inside the same object */
    memcpy(name, model->name, sizeof name);
    snprintf(instance->name, sizeof instance->name, "%s_%zu", name, model->instance_count++);
    TRITONSERVER_Error *error = NULL;
    if (model->backend->calls.TRITONBACKEND_ModelInstanceInitialize)
        error = model->backend->calls.TRITONBACKEND_ModelInstanceInitialize(instance);
    if (error)
        return error;
    if (pthread_create(&instance->thread, NULL, run_instance, instance))
        abort();
    instance->runs = true;
    return NULL;
}

/* KIND_GPU has so many instances for each of its gpus: without gpus there are none. */
static TRITONSERVER_Error *start_group(struct model *model, const struct json *group)
{
    const char *kind = json_text(json_get(group, "kind"), "KIND_CPU");
    const long count = number(group, "count", 1);
    TRITONSERVER_Error *error = NULL;
    if (strcmp(kind, "KIND_GPU")) {
        const bool of_model = !strcmp(kind, "KIND_MODEL");
        for (long i = 0; i < count && !error; i++)
            error = start_instance(model,
                                   of_model ? TRITONSERVER_INSTANCEGROUPKIND_MODEL
                                            : TRITONSERVER_INSTANCEGROUPKIND_CPU,
                                   0);
        return error;
    }
    if (!atomic_load(&has_gpu) && !getenv("STANDIN_GPU"))
        return fail(TRITONSERVER_ERROR_INVALID_ARG, "the server does not support GPUs");
    const struct json *gpus = json_get(group, "gpus");
    for (long i = 0; i < count; i++)
        for (const struct json *gpu = gpus ? gpus->first : NULL; gpu && !error; gpu = gpu->next)
            error = start_instance(model, TRITONSERVER_INSTANCEGROUPKIND_GPU,
                                   (int32_t)atol(json_text(gpu, "-1")));
    return error;
}

static TRITONSERVER_Error *start_instances(struct model *model)
{
    const struct json *groups = json_get(model->config, "instance_group");
    TRITONSERVER_Error *error = NULL;
    if (!groups)
        return start_group(model, NULL);
    for (const struct json *group = groups->first; group && !error; group = group->next)
        error = start_group(model, group);
    return error;
}

/* --- a model ---------------------------------------------------------------------------------- */

static struct model *make_model(struct TRITONSERVER_Server *server, const char *name)
{
    struct model *model = calloc(1, sizeof *model);
    model->server = server;
    snprintf(model->name, sizeof model->name, "%s", name);
    pthread_mutex_init(&model->lock, NULL);
    pthread_cond_init(&model->changed, NULL);
    return model;
}

TRITONSERVER_Error *model_load(struct TRITONSERVER_Server *server, const char *name,
                               struct model **out_model)
{
    struct model *model = make_model(server, name);
    TRITONSERVER_Error *error = read_config(model);
    if (!error)
        error = find_backend(server, json_text(json_get(model->config, "backend"), ""),
                             &model->backend);
    if (!error) {
        model->was_made = true;
        if (model->backend->calls.TRITONBACKEND_ModelInitialize)
            error =
                model->backend->calls.TRITONBACKEND_ModelInitialize((TRITONBACKEND_Model *)model);
    }
    if (!error)
        error = start_instances(model);
    if (error)
        model_unload(model);
    else
        *out_model = model;
    return error;
}

static void check(TRITONSERVER_Error *error, const char *what)
{
    if (error)
        violate("%s: %s", what, error->message);
    TRITONSERVER_ErrorDelete(error);
}

/* The server also finalizes instances and models whose Initialize failed. Instances are finalized
 * here with work on their way, as the server does with those that a new configuration drops. */
void model_unload(struct model *model)
{
    pthread_mutex_lock(&model->lock);
    model->stop = true;
    pthread_cond_broadcast(&model->changed);
    pthread_mutex_unlock(&model->lock);
    for (size_t i = 0; i < model->instance_count; i++)
        if (model->instances[i].runs)
            pthread_join(model->instances[i].thread, NULL);
    for (size_t i = 0; i < model->instance_count; i++)
        if (model->backend->calls.TRITONBACKEND_ModelInstanceFinalize)
            check(model->backend->calls.TRITONBACKEND_ModelInstanceFinalize(&model->instances[i]),
                  "ModelInstanceFinalize");
    pthread_mutex_lock(&model->lock);
    const unsigned left = model->outstanding;
    pthread_mutex_unlock(&model->lock);
    if (left)
        violate("the instances are finalized while %u requests are not released", left);
    if (model->was_made && model->backend->calls.TRITONBACKEND_ModelFinalize)
        check(model->backend->calls.TRITONBACKEND_ModelFinalize((TRITONBACKEND_Model *)model),
              "ModelFinalize");
    json_free(model->config);
    free(model->text);
    pthread_cond_destroy(&model->changed);
    pthread_mutex_destroy(&model->lock);
    free(model);
}
