/* Load a model: load_model FILE puts every tensor of a safetensors or GGUF file into one buffer. */
#include <ferry/model.h>
#include <stdio.h>
#include <string.h>

static void show(uint64_t done, uint64_t total, void *user)
{
    (void)user;
    fprintf(stderr, "%3.0f %%\n", 100.0 * (double)done / (double)total);
}

/* Tells where a tensor is, and looks at its first bytes: what came is what the file holds. */
static enum ferry_status check(ferry_model *model, size_t index, ferry_buffer *arena)
{
    struct ferry_tensor_info tensor;
    unsigned char got[16] = {0}, expected[16] = {0};
    enum ferry_status status = ferry_model_get_tensor(model, index, &tensor);
    if (status != FERRY_OK)
        return status;
    const size_t size = tensor.size < sizeof got ? (size_t)tensor.size : sizeof got;
    printf("%12llu bytes at %12llu  %-6s %s\n", (unsigned long long)tensor.size,
           (unsigned long long)tensor.arena_offset, tensor.type, tensor.name);
    status = ferry_copy_to_host(arena, got, size, (size_t)tensor.arena_offset);
    if (status == FERRY_OK)
        status = ferry_model_read(model, index, expected, size, 0);
    if (status == FERRY_OK && memcmp(got, expected, size) != 0)
        status = FERRY_ERROR_INTERNAL;
    return status;
}

static enum ferry_status load(ferry_device *device, ferry_model *model, ferry_buffer **out_arena)
{
    struct ferry_model_info info;
    ferry_model_get_info(model, &info);
    const struct ferry_buffer_params params = {.size = info.arena_size, .label = "model"};
    enum ferry_status status = ferry_buffer_create(device, &params, out_arena);
    if (status == FERRY_OK)
        status = ferry_model_load(model, *out_arena, 0, show, NULL);
    for (size_t i = 0; i < info.tensors && status == FERRY_OK; i++)
        status = check(model, i, *out_arena);
    return status;
}

int main(int argc, char **argv)
{
    ferry_device *device = NULL;
    ferry_model *model = NULL;
    ferry_buffer *arena = NULL;
    bool good = argc == 2 && ferry_device_open(NULL, &device) == FERRY_OK &&
                ferry_model_open(argv[1], &model) == FERRY_OK &&
                load(device, model, &arena) == FERRY_OK;
    if (!good)
        fprintf(stderr, "load_model FILE: %s\n", ferry_last_error());
    ferry_model_close(model); /* what was loaded stays */
    ferry_buffer_destroy(arena);
    ferry_device_close(device);
    return good ? 0 : 1;
}
