/* Any bytes as a file of gguf: refused in words, or tensors that lie in it and apart. */
#include "fuzz.h"

#include "models/models.h"
#include "tell.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[] = "input";
    const struct ferry__source source = {.path = path, .fd = -1, .memory = data, .size = size};
    struct ferry__tensors tensors = {NULL, 0, 0};
    uint64_t end = 0;
    struct ferry__gguf gguf;
    const enum ferry_status status = ferry__gguf_parse(&source, 0, &tensors, &gguf);
    if (status != FERRY_OK && ferry_last_error()[0] == '\0')
        abort();
    for (size_t i = 0; status == FERRY_OK && i < tensors.count; i++) {
        const struct ferry__tensor *tensor = &tensors.items[i];
        if (tensor->file_offset < end || tensor->file_offset > size ||
            tensor->size > size - tensor->file_offset || tensor->type == NULL)
            abort();
        end = tensor->file_offset + tensor->size;
    }
    ferry__tensors_free(&tensors);
    /* Whatever they hold, metadata is told in words that end, or refused. */
    const enum ferry_status told = fuzz_tell(&source, ferry__gguf_tell);
    if (told != FERRY_OK && ferry_last_error()[0] == '\0')
        abort();
    if (status == FERRY_OK && told != FERRY_OK)
        abort(); /* a file that can be opened has metadata that can be read */
    return 0;
}
