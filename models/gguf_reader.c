#include "gguf.h"

#include <string.h>

enum { HEADER_MAX = 256 << 20 }; /* bytes before the tensors' own */

enum ferry_status ferry__gguf_get(struct ferry__gguf_reader *reader, void *memory, size_t size)
{
    unsigned char *out = memory;
    const uint64_t left = reader->source->size - reader->at;
    if (reader->at > HEADER_MAX)
        return ferry__source_wrong(reader->source, "its header has over %d bytes", HEADER_MAX);
    if (size > left)
        return ferry__source_wrong(reader->source,
                                   "the header ends at byte %llu, %zu bytes too soon",
                                   (unsigned long long)reader->source->size, (size_t)(size - left));
    while (size > 0) {
        uint64_t skip = reader->at - reader->window_begin;
        if (skip >= reader->window_size) {
            uint64_t rest = reader->source->size - reader->at;
            size_t piece = rest < FERRY__GGUF_WINDOW ? (size_t)rest : FERRY__GGUF_WINDOW;
            enum ferry_status status =
                ferry__source_read(reader->source, reader->window, piece, reader->at);
            if (status)
                return status;
            reader->window_begin = reader->at;
            reader->window_size = piece;
            skip = 0;
        }
        size_t there = reader->window_size - (size_t)skip;
        size_t piece = size < there ? size : there;
        memcpy(out, reader->window + skip, piece);
        out += piece;
        size -= piece;
        reader->at += piece;
    }
    return FERRY_OK;
}

enum ferry_status ferry__gguf_skip(struct ferry__gguf_reader *reader, uint64_t size)
{
    if (size > reader->source->size - reader->at)
        return ferry__source_wrong(reader->source, "%llu bytes at %llu lie past the file's end",
                                   (unsigned long long)size, (unsigned long long)reader->at);
    reader->at += size;
    return FERRY_OK;
}

enum ferry_status ferry__gguf_number(struct ferry__gguf_reader *reader, size_t size, uint64_t *out)
{
    unsigned char bytes[8] = {0};
    enum ferry_status status = ferry__gguf_get(reader, bytes, size);
    uint64_t value = 0;
    for (size_t i = 0; i < 8; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    if (!status)
        *out = value;
    return status;
}

enum ferry_status ferry__gguf_string(struct ferry__gguf_reader *reader, const char *what,
                                     char *text, size_t max, size_t *out_length)
{
    uint64_t length = 0;
    enum ferry_status status = ferry__gguf_number(reader, 8, &length);
    if (status)
        return status;
    if (length > max)
        return ferry__source_wrong(reader->source, "%s at byte %llu is %llu bytes long, over %zu",
                                   what, (unsigned long long)reader->at, (unsigned long long)length,
                                   max);
    status = ferry__gguf_get(reader, text, (size_t)length);
    text[length] = '\0';
    *out_length = (size_t)length;
    return status;
}

enum ferry_status ferry__gguf_begin(struct ferry__gguf_reader *reader, uint32_t *out_version,
                                    uint64_t *out_tensors, uint64_t *out_pairs)
{
    unsigned char magic[4];
    uint64_t version = 0;
    enum ferry_status status = ferry__gguf_get(reader, magic, sizeof magic);
    if (!status && memcmp(magic, "GGUF", 4) != 0)
        return ferry__source_wrong(reader->source, "it does not begin with GGUF");
    if (!status)
        status = ferry__gguf_number(reader, 4, &version);
    if (status)
        return status;
    if (version != 2 && version != 3)
        return ferry__fail(FERRY_ERROR_UNSUPPORTED, "%s: GGUF version %llu%s; 2 and 3 can be read",
                           reader->source->path, (unsigned long long)version,
                           (version & 0xffff) == 0 ? " (in big-endian order)" : "");
    *out_version = (uint32_t)version;
    status = ferry__gguf_number(reader, 8, out_tensors);
    return !status ? ferry__gguf_number(reader, 8, out_pairs) : status;
}
