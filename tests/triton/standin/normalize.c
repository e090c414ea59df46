#include "core.h"

/* What the server checks of a request when it is sent. */

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [TRITONSERVER_TYPE_BOOL] = {"TYPE_BOOL", 1},
    [TRITONSERVER_TYPE_UINT8] = {"TYPE_UINT8", 1},
    [TRITONSERVER_TYPE_UINT16] = {"TYPE_UINT16", 2},
    [TRITONSERVER_TYPE_UINT32] = {"TYPE_UINT32", 4},
    [TRITONSERVER_TYPE_UINT64] = {"TYPE_UINT64", 8},
    [TRITONSERVER_TYPE_INT8] = {"TYPE_INT8", 1},
    [TRITONSERVER_TYPE_INT16] = {"TYPE_INT16", 2},
    [TRITONSERVER_TYPE_INT32] = {"TYPE_INT32", 4},
    [TRITONSERVER_TYPE_INT64] = {"TYPE_INT64", 8},
    [TRITONSERVER_TYPE_FP16] = {"TYPE_FP16", 2},
    [TRITONSERVER_TYPE_FP32] = {"TYPE_FP32", 4},
    [TRITONSERVER_TYPE_FP64] = {"TYPE_FP64", 8},
    [TRITONSERVER_TYPE_BYTES] = {"TYPE_STRING", 0},
    [TRITONSERVER_TYPE_BF16] = {"TYPE_BF16", 2},
};

static const struct json *find(const struct json *tensors, const char *name)
{
    const struct json *tensor = tensors ? tensors->first : NULL;
    while (tensor && strcmp(json_text(json_get(tensor, "name"), ""), name))
        tensor = tensor->next;
    return tensor;
}

static bool is_optional(const struct json *tensor)
{
    return !strcmp(json_text(json_get(tensor, "optional"), "false"), "true");
}

/* The shape without the rows against the dims of the configuration. */
static bool fits(const int64_t *shape, uint32_t dims, const struct json *config)
{
    const struct json *dim = config ? config->first : NULL;
    for (uint32_t i = 0; i < dims; i++, dim = dim->next) {
        if (!dim || shape[i] < 0)
            return false;
        const long long wanted = atoll(json_text(dim, "0"));
        if (wanted >= 0 && wanted != shape[i])
            return false;
    }
    return !dim;
}

static TRITONSERVER_Error *check_input(struct TRITONSERVER_InferenceRequest *request,
                                       const TRITONBACKEND_Input *input, const struct json *config,
                                       bool batching)
{
    uint64_t size = types[input->datatype].size;
    if (!config)
        return fail(TRITONSERVER_ERROR_INVALID_ARG, "unexpected input \"%s\"", input->name);
    if (strcmp(types[input->datatype].name, json_text(json_get(config, "data_type"), "")))
        return fail(TRITONSERVER_ERROR_INVALID_ARG, "input \"%s\" is %s", input->name,
                    types[input->datatype].name);
    if (batching && (!input->dims || input->shape[0] < 1))
        return fail(TRITONSERVER_ERROR_INVALID_ARG, "input \"%s\" has no batch size", input->name);
    if (batching && request->rows && request->rows != input->shape[0])
        return fail(TRITONSERVER_ERROR_INVALID_ARG, "input \"%s\": another batch size",
                    input->name);
    if (batching)
        request->rows = (uint32_t)input->shape[0];
    if (!fits(input->shape + batching, input->dims - batching, json_get(config, "dims")))
        return fail(TRITONSERVER_ERROR_INVALID_ARG, "input \"%s\": unexpected shape", input->name);
    for (uint32_t i = 0; i < input->dims; i++)
        size *= (uint64_t)input->shape[i];
    if (types[input->datatype].size && size != input->byte_size)
        return fail(TRITONSERVER_ERROR_INVALID_ARG, "input \"%s\": %llu bytes, not %llu",
                    input->name, (unsigned long long)input->byte_size, (unsigned long long)size);
    return NULL;
}

/* Of inputs that are not ragged only equal shapes meet in a batch. */
bool may_meet(const struct TRITONSERVER_InferenceRequest *a,
              const struct TRITONSERVER_InferenceRequest *b, const struct model *model)
{
    const struct json *inputs = json_get(model->config, "input");
    for (uint32_t i = 0; i < a->input_count; i++) {
        const TRITONBACKEND_Input *input = &a->inputs[i];
        const struct json *config = find(inputs, input->name);
        if (!strcmp(json_text(json_get(config, "allow_ragged_batch"), "false"), "true"))
            continue;
        uint32_t other = 0;
        while (other < b->input_count && strcmp(b->inputs[other].name, input->name))
            other++;
        if (other == b->input_count || b->inputs[other].dims != input->dims ||
            memcmp(b->inputs[other].shape + 1, input->shape + 1,
                   (input->dims - 1) * sizeof *input->shape))
            return false;
    }
    return true;
}

/* A request that asks for no output asks for all there are. */
static TRITONSERVER_Error *ask_for_outputs(struct TRITONSERVER_InferenceRequest *request,
                                           const struct json *outputs)
{
    if (request->wants_all)
        request->output_count = 0;
    request->wants_all = request->output_count == 0;
    for (uint32_t i = 0; i < request->output_count; i++)
        if (!find(outputs, request->outputs[i]))
            return fail(TRITONSERVER_ERROR_INVALID_ARG, "unexpected output \"%s\"",
                        request->outputs[i]);
    const struct json *output = outputs && request->wants_all ? outputs->first : NULL;
    for (; output && request->output_count < OUTPUTS_MAX; output = output->next)
        snprintf(request->outputs[request->output_count++], NAME_SIZE, "%s",
                 json_text(json_get(output, "name"), ""));
    return NULL;
}

TRITONSERVER_Error *normalize(struct TRITONSERVER_InferenceRequest *request,
                              const struct model *model)
{
    const struct json *inputs = json_get(model->config, "input");
    const long most = atol(json_text(json_get(model->config, "max_batch_size"), "0"));
    uint32_t wanted = 0;
    TRITONSERVER_Error *error = ask_for_outputs(request, json_get(model->config, "output"));
    request->rows = 0;
    for (uint32_t i = 0; i < request->input_count && !error; i++)
        error = check_input(request, &request->inputs[i], find(inputs, request->inputs[i].name),
                            most > 0);
    if (error)
        return error;
    if (request->rows > most)
        return fail(TRITONSERVER_ERROR_INVALID_ARG, "batch size %u of at most %ld", request->rows,
                    most);
    for (const struct json *input = inputs ? inputs->first : NULL; input; input = input->next)
        wanted += !is_optional(input);
    if (request->input_count >= wanted)
        return NULL;
    return fail(TRITONSERVER_ERROR_INVALID_ARG, "%u inputs of %u", request->input_count, wanted);
}
