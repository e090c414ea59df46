/* Instead of safetensors.c where there is no jansson. */
#include "models.h"

static enum ferry_status no_json(const struct ferry__source *source)
{
    return ferry__fail(FERRY_ERROR_UNSUPPORTED,
                       "%s: safetensors cannot be read: this library was "
                       "built without a JSON library (jansson)",
                       source->path);
}

enum ferry_status ferry__safetensors_parse(const struct ferry__source *source, size_t file,
                                           struct ferry__tensors *tensors)
{
    (void)file, (void)tensors;
    return no_json(source);
}

enum ferry_status ferry__index_parse(const struct ferry__source *source, struct ferry__index *out)
{
    (void)out;
    return no_json(source);
}

void ferry__index_free(struct ferry__index *index)
{
    (void)index;
}
