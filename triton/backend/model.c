#include "backend.h"
#include "json_tree.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { IN_FLIGHT = 2, IN_FLIGHT_MAX = 64 };

/* --- tensors ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    TRITONSERVER_DataType type;
} datatypes[] = {
    {"TYPE_BOOL", TRITONSERVER_TYPE_BOOL},     {"TYPE_UINT8", TRITONSERVER_TYPE_UINT8},
    {"TYPE_UINT16", TRITONSERVER_TYPE_UINT16}, {"TYPE_UINT32", TRITONSERVER_TYPE_UINT32},
    {"TYPE_UINT64", TRITONSERVER_TYPE_UINT64}, {"TYPE_INT8", TRITONSERVER_TYPE_INT8},
    {"TYPE_INT16", TRITONSERVER_TYPE_INT16},   {"TYPE_INT32", TRITONSERVER_TYPE_INT32},
    {"TYPE_INT64", TRITONSERVER_TYPE_INT64},   {"TYPE_FP16", TRITONSERVER_TYPE_FP16},
    {"TYPE_FP32", TRITONSERVER_TYPE_FP32},     {"TYPE_FP64", TRITONSERVER_TYPE_FP64},
    {"TYPE_BF16", TRITONSERVER_TYPE_BF16},
};

static TRITONSERVER_Error *read_datatype(const char *tensor, const char *name,
                                         TRITONSERVER_DataType *out_type)
{
    for (size_t i = 0; i < sizeof datatypes / sizeof *datatypes; i++) {
        if (strcmp(datatypes[i].name, name))
            continue;
        *out_type = datatypes[i].type;
        return NULL;
    }
    if (!strcmp(name, "TYPE_STRING"))
        return backend_fail(TRITONSERVER_ERROR_UNSUPPORTED,
                            "tensor \"%s\" is TYPE_STRING (BYTES): this backend supports only "
                            "types of a fixed size",
                            tensor);
    return backend_fail(TRITONSERVER_ERROR_UNSUPPORTED, "tensor \"%s\" has the unknown type %s",
                        tensor, name);
}

static size_t length_of(const struct json *array)
{
    size_t length = 0;
    for (const struct json *item = array ? array->first : NULL; item; item = item->next)
        length++;
    return length;
}

static TRITONSERVER_Error *read_tensors(const struct json *array, struct tensor **out_tensors,
                                        size_t *out_count)
{
    const size_t count = length_of(array);
    struct tensor *tensors = calloc(count + 1, sizeof *tensors);
    TRITONSERVER_Error *error = NULL;
    if (!tensors)
        return backend_fail(TRITONSERVER_ERROR_UNAVAILABLE, "no host memory");
    *out_tensors = tensors;
    for (const struct json *item = array ? array->first : NULL; item && !error; item = item->next) {
        struct tensor *tensor = &tensors[(*out_count)++];
        tensor->name = strdup(json_text(json_get(item, "name"), ""));
        if (!tensor->name)
            return backend_fail(TRITONSERVER_ERROR_UNAVAILABLE, "no host memory");
        error = read_datatype(tensor->name, json_text(json_get(item, "data_type"), "(no type)"),
                              &tensor->datatype);
    }
    return error;
}

static bool is_same_list(const struct json *a, const struct json *b)
{
    for (a = a ? a->first : NULL, b = b ? b->first : NULL; a && b; a = a->next, b = b->next)
        if (strcmp(json_text(a, ""), json_text(b, "")))
            return false;
    return !a && !b;
}

/* Output i is input i: it must look like it, to clients and to us. */
static TRITONSERVER_Error *check_pair(const struct json *input, const struct json *output)
{
    const struct json *from_reshape = json_get(input, "reshape"),
                      *to_reshape = json_get(output, "reshape");
    const char *other = NULL;
    if (strcmp(json_text(json_get(input, "data_type"), ""),
               json_text(json_get(output, "data_type"), "")))
        other = "a different data_type";
    else if (!is_same_list(json_get(input, "dims"), json_get(output, "dims")))
        other = "different dims";
    else if (!from_reshape != !to_reshape ||
             !is_same_list(json_get(from_reshape, "shape"), json_get(to_reshape, "shape")))
        other = "a different reshape";
    if (!other)
        return NULL;
    return backend_fail(
        TRITONSERVER_ERROR_INVALID_ARG, "output \"%s\" is made from input \"%s\" but has %s",
        json_text(json_get(output, "name"), ""), json_text(json_get(input, "name"), ""), other);
}

static TRITONSERVER_Error *check_pairs(const struct model *model, const struct json *config)
{
    TRITONSERVER_Error *error = NULL;
    if (!model->input_count || !model->output_count || model->output_count > model->input_count)
        return backend_fail(TRITONSERVER_ERROR_INVALID_ARG,
                            "%zu inputs and %zu outputs: output i is made from input i, so a model "
                            "needs at least one of each, and no more outputs than inputs",
                            model->input_count, model->output_count);
    const struct json *input = json_get(config, "input")->first;
    const struct json *output = json_get(config, "output")->first;
    for (; output && !error; input = input->next, output = output->next)
        error = check_pair(input, output);
    return error;
}

/* --- parameters ------------------------------------------------------------------------------- */

/* Their functions return false for a value that is none of theirs, with errno ENOMEM where that is not
 * what failed. */

/* Digits, and K, M or G behind them. */
static bool read_number(const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
    static const char units[] = "KMG";
    char *end = NULL;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || errno)
        return false;
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (unit) {
        const unsigned shift = 10 * (unsigned)(unit - units + 1);
        if (value > UINT64_MAX >> shift)
            return false;
        value <<= shift;
        end++;
    }
    if (*end || value < least || value > most)
        return false;
    *out = value;
    return true;
}

static bool set_device(struct model *model, const char *value)
{
    free(model->device_name);
    model->device_name = value[0] ? strdup(value) : NULL;
    return model->device_name;
}

static bool set_path(struct model *model, const char *value)
{
    for (int path = FERRY_PATH_AUTO; path <= FERRY_PATH_IMPORTED; path++) {
        if (strcmp(value, ferry_path_name((enum ferry_path)path)))
            continue;
        model->params.path = (enum ferry_path)path;
        return model->has_params = true;
    }
    return false;
}

static bool set_in_flight(struct model *model, const char *value)
{
    uint64_t number = 0;
    if (!read_number(value, 1, IN_FLIGHT_MAX, &number))
        return false;
    model->in_flight = (uint32_t)number;
    return true;
}

static bool set_staging(struct model *model, const char *value)
{
    return model->has_params = read_number(value, 4096, UINT64_MAX, &model->params.staging_budget);
}

static bool set_pool(struct model *model, const char *value)
{
    return model->has_params = read_number(value, 1, UINT64_MAX, &model->params.pool_budget);
}

static bool set_fallback(struct model *model, const char *value)
{
    if (strcmp(value, "allowed") && strcmp(value, "forbidden"))
        return false;
    model->params.no_fallback = !strcmp(value, "forbidden");
    return model->has_params = true;
}

static bool set_operation(struct model *model, const char *value)
{
    if (strcmp(value, "identity") && strcmp(value, "invert"))
        return false;
    model->operation = strcmp(value, "invert") ? OPERATION_IDENTITY : OPERATION_INVERT;
    return true;
}

static const struct {
    const char *name;
    bool (*set)(struct model *model, const char *value);
    const char *wanted;
} parameters[] = {
    {"device", set_device, "the name of a device, as `ferry devices` lists them"},
    {"path", set_path, "auto, direct, staged, pipelined or imported"},
    {"in_flight", set_in_flight, "a number from 1 to 64"},
    {"staging_budget", set_staging, "a number of bytes from 4096 on, such as 64M"},
    {"pool_budget", set_pool, "a number of bytes over 0, such as 256M"},
    {"fallback", set_fallback, "allowed or forbidden"},
    {"operation", set_operation, "identity or invert"},
};
enum { PARAMETERS = sizeof parameters / sizeof *parameters };

static TRITONSERVER_Error *read_parameter(struct model *model, const struct json *item)
{
    const char *value = json_text(json_get(item, "string_value"), "");
    for (size_t i = 0; i < PARAMETERS; i++) {
        if (strcmp(parameters[i].name, item->key))
            continue;
        errno = 0;
        if (parameters[i].set(model, value))
            return NULL;
        if (errno == ENOMEM)
            return backend_fail(TRITONSERVER_ERROR_UNAVAILABLE, "no host memory");
        return backend_fail(TRITONSERVER_ERROR_INVALID_ARG, "parameter %s is \"%s\": it takes %s",
                            item->key, value, parameters[i].wanted);
    }
    return backend_fail(TRITONSERVER_ERROR_INVALID_ARG,
                        "unknown parameter %s; the parameters are device, path, in_flight, "
                        "staging_budget, pool_budget, fallback and operation",
                        item->key);
}

/* --- a model ---------------------------------------------------------------------------------- */

static TRITONSERVER_Error *read_config(struct model *model, const struct json *config)
{
    TRITONSERVER_Error *error = NULL;
    const struct json *policy = json_get(config, "model_transaction_policy");
    if (!strcmp(json_text(json_get(policy, "decoupled"), "false"), "true"))
        return backend_fail(TRITONSERVER_ERROR_UNSUPPORTED,
                            "model_transaction_policy { decoupled: true }: this backend sends one "
                            "response for each request");
    model->batching = atol(json_text(json_get(config, "max_batch_size"), "0")) > 0;
    model->in_flight = IN_FLIGHT;
    error = read_tensors(json_get(config, "input"), &model->inputs, &model->input_count);
    if (!error)
        error = read_tensors(json_get(config, "output"), &model->outputs, &model->output_count);
    if (!error)
        error = check_pairs(model, config);
    const struct json *given = json_get(config, "parameters");
    if (!error && given && given->type != JSON_OBJECT)
        error = backend_fail(TRITONSERVER_ERROR_INVALID_ARG, "parameters is not an object");
    for (given = given && !error ? given->first : NULL; given && !error; given = given->next)
        error = read_parameter(model, given);
    return error;
}

static TRITONSERVER_Error *parse_config(struct model *model, TRITONBACKEND_Model *triton)
{
    TRITONSERVER_Message *message = NULL;
    const char *text = NULL;
    size_t size = 0;
    TRITONSERVER_Error *error = ferry__triton.TRITONBACKEND_ModelConfig(triton, 1, &message);
    if (error)
        return error;
    error = ferry__triton.TRITONSERVER_MessageSerializeToJson(message, &text, &size);
    if (!error) {
        const char *why = NULL;
        struct json *config = json_parse(text, size, &why);
        if (config)
            error = read_config(model, config);
        else if (why == JSON_NO_MEMORY)
            error = backend_fail(TRITONSERVER_ERROR_UNAVAILABLE, "%s", why);
        else
            error =
                backend_fail(TRITONSERVER_ERROR_INTERNAL,
                             "the model configuration from the server is not valid JSON: %s", why);
        json_free(config);
    }
    ferry__triton.TRITONSERVER_ErrorDelete(ferry__triton.TRITONSERVER_MessageDelete(message));
    return error;
}

/* The same error with the model's name before it. */
static TRITONSERVER_Error *name_model(const struct model *model, TRITONSERVER_Error *error)
{
    TRITONSERVER_Error *named =
        backend_fail(ferry__triton.TRITONSERVER_ErrorCode(error), "model \"%s\": %s", model->name,
                     ferry__triton.TRITONSERVER_ErrorMessage(error));
    ferry__triton.TRITONSERVER_ErrorDelete(error);
    return named;
}

TRITONSERVER_Error *model_create(TRITONBACKEND_Model *triton, struct model **out_model)
{
    const char *name = NULL;
    struct model *model = calloc(1, sizeof *model);
    if (!model)
        return backend_fail(TRITONSERVER_ERROR_UNAVAILABLE, "no host memory");
    TRITONSERVER_Error *error = ferry__triton.TRITONBACKEND_ModelName(triton, &name);
    if (!error && !(model->name = strdup(name)))
        error = backend_fail(TRITONSERVER_ERROR_UNAVAILABLE, "no host memory");
    if (!error) {
        error = parse_config(model, triton);
        if (error)
            error = name_model(model, error);
    }
    if (error)
        model_destroy(model);
    else
        *out_model = model;
    return error;
}

static void free_tensors(struct tensor *tensors, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(tensors[i].name);
    free(tensors);
}

void model_destroy(struct model *model)
{
    if (!model)
        return;
    free_tensors(model->inputs, model->input_count);
    free_tensors(model->outputs, model->output_count);
    free(model->device_name);
    free(model->name);
    free(model);
}
