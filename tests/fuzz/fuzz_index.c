/* Any bytes as an index of safetensors files: refused in words, or names of files beside it. */
#include "fuzz.h"

#include "models/models.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[] = "input";
    const struct ferry__source source = {.path = path, .fd = -1, .memory = data, .size = size};
    struct ferry__index index = {NULL, 0, NULL, 0};
    const enum ferry_status status = ferry__index_parse(&source, &index);
    if (status != FERRY_OK && ferry_last_error()[0] == '\0')
        abort();
    if (index.file_count > index.count)
        abort();
    for (size_t i = 0; i < index.file_count; i++) {
        if (strchr(index.files[i], '/') != NULL || index.files[i][0] == '.')
            abort();
        if (i > 0 && strcmp(index.files[i - 1], index.files[i]) >= 0)
            abort();
    }
    ferry__index_free(&index);
    return 0;
}
