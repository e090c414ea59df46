/* What files tell of themselves besides their tensors, pair by pair. It is read when it is asked for:
 * a tokenizer's words would take more memory than the rest of a header. */
#include "models.h"

#include <string.h>

static void add(char *text, size_t *size, bool *cut, const char *bytes, size_t count)
{
    static const char nul[] = "\xef\xbf\xbd"; /* U+FFFD */
    for (size_t i = 0; i < count; i++) {
        const size_t width = bytes[i] ? 1 : sizeof nul - 1;
        if (*size + width > FERRY_METADATA_TEXT_MAX) {
            *cut = true;
            return;
        }
        memcpy(text + *size, bytes[i] ? &bytes[i] : nul, width);
        *size += width;
    }
}

void ferry__told_begin(struct ferry__told *told, const char *key, size_t key_size, const char *type)
{
    const size_t file = told->pair.file;
    size_t size = 0;
    told->pair = (struct ferry_model_metadata){
        .key = told->key, .type = type, .value = told->value, .count = 1, .file = file};
    told->size = 0;
    add(told->key, &size, &(bool){false}, key, key_size);
    told->key[size] = '\0';
}

void ferry__told_add(struct ferry__told *told, const char *bytes, size_t size)
{
    bool cut = told->pair.cut;
    add(told->value, &told->size, &cut, bytes, size);
    told->pair.cut = cut;
}

bool ferry__told_full(const struct ferry__told *told)
{
    return told->size >= FERRY_METADATA_TEXT_MAX;
}

/* Where a value was cut it may have been in a character: without the part that is left of it. */
static size_t whole_characters(const char *text, size_t size)
{
    enum { BYTES_MAX = 4 };
    for (size_t back = 1; back < BYTES_MAX && back <= size; back++) {
        const unsigned char byte = (unsigned char)text[size - back];
        const size_t width = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
        if ((byte & 0xc0) != 0x80)
            return width > back ? size - back : size;
    }
    return size;
}

void ferry__told_end(struct ferry__told *told)
{
    if (told->pair.cut)
        told->size = whole_characters(told->value, told->size);
    told->value[told->size] = '\0';
    told->callback(&told->pair, told->user);
}

static enum ferry_status tell_nothing(const struct ferry__source *source, struct ferry__told *told)
{
    (void)source, (void)told;
    return FERRY_OK;
}

enum ferry_status ferry_model_read_metadata(const ferry_model *model,
                                            ferry_model_metadata_callback callback, void *user)
{
    static enum ferry_status (*const tellers[])(const struct ferry__source *,
                                                struct ferry__told *) = {
        [FERRY_MODEL_BYTES] = tell_nothing,
        [FERRY_MODEL_SAFETENSORS] = ferry__safetensors_tell,
        [FERRY_MODEL_GGUF] = ferry__gguf_tell,
    };
    enum ferry_status status = FERRY_OK;
    if (!model || !callback)
        return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "ferry_model_read_metadata: %s is NULL",
                           !model ? "model" : "callback");
    struct ferry__told *told = ferry__alloc(sizeof *told);
    if (!told)
        return ferry__fail(FERRY_ERROR_OUT_OF_HOST_MEMORY, "no memory to read metadata");
    told->callback = callback;
    told->user = user;
    for (size_t i = 0; i < model->file_count && !status; i++) {
        told->pair.file = i;
        status = tellers[model->format](&model->files[i], told);
    }
    ferry__free(told);
    return status;
}
