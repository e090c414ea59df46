/*
 * A CUDA driver with one device, in host memory, for the tests of the benchmark's adapter. What is
 * asked for in a stream is done no sooner than the stream is waited for, so that bytes are missing
 * where nobody waits. FAKE_CUDA_UUID: the device's, 32 hexadecimal digits. FAKE_CUDA_FAIL: the
 * function that fails. FAKE_CUDA_CRASH: waiting crashes. FAKE_CUDA_VERSION: 12000, 12080 or 13000
 * (that, if it is not set): which cuMemcpyBatchAsync there is.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { OK = 0, INVALID = 1, NO_MEMORY = 2, INVALID_CONTEXT = 201 };
enum { WORK_MAX = 4096, DEVICE = 17, STREAMS = 2 };

struct work {
    void *to;
    const void *from; /* NULL: a fill by word */
    size_t size;
    unsigned word;
};

static struct stream {
    bool made;
    struct work works[WORK_MAX];
    size_t count;
} streams[STREAMS];
static int contexts; /* retained and not yet released */
static __thread bool current;
static char context;

static bool fails(const char *function)
{
    const char *name = getenv("FAKE_CUDA_FAIL");
    return name != NULL && strcmp(name, function) == 0;
}

/* NULL: it is none of those that were made. */
static struct stream *stream_of(const void *in)
{
    for (size_t i = 0; i < STREAMS; i++)
        if (in == &streams[i] && streams[i].made)
            return &streams[i];
    return NULL;
}

static void do_works(struct stream *stream)
{
    for (size_t i = 0; i < stream->count; i++) {
        const struct work *work = &stream->works[i];
        if (work->from != NULL)
            memcpy(work->to, work->from, work->size);
        for (size_t k = 0; work->from == NULL && k < work->size; k += sizeof work->word)
            memcpy((char *)work->to + k, &work->word, sizeof work->word);
    }
    stream->count = 0;
}

static int add(struct work work, const void *in)
{
    if (!current)
        return INVALID_CONTEXT;
    struct stream *stream = stream_of(in);
    if (stream == NULL || work.to == NULL)
        return INVALID;
    if (stream->count == WORK_MAX)
        do_works(stream);
    stream->works[stream->count++] = work;
    return OK;
}

EXPORT int cuInit(unsigned flags)
{
    return flags == 0 && !fails("cuInit") ? OK : INVALID;
}

EXPORT int cuGetErrorString(int error, const char **out_text)
{
    *out_text = error == NO_MEMORY ? "out of memory" : "an error of the fake driver";
    return OK;
}

EXPORT int cuDeviceGetCount(int *out_count)
{
    *out_count = 1;
    return OK;
}

EXPORT int cuDeviceGet(int *out_device, int index)
{
    *out_device = DEVICE;
    return index == 0 ? OK : INVALID;
}

EXPORT int cuDeviceGetUuid(unsigned char *out_uuid, int device)
{
    const char *digits = getenv("FAKE_CUDA_UUID");
    if (device != DEVICE || digits == NULL || strlen(digits) != 32)
        return INVALID;
    for (size_t i = 0; i < 16; i++)
        sscanf(digits + 2 * i, "%2hhx", &out_uuid[i]);
    return OK;
}

EXPORT int cuDevicePrimaryCtxRetain(void **out_context, int device)
{
    contexts++;
    *out_context = &context;
    return device == DEVICE ? OK : INVALID;
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int device)
{
    return device == DEVICE && contexts-- > 0 ? OK : INVALID;
}

EXPORT int cuCtxSetCurrent(void *wanted)
{
    current = wanted == &context && contexts > 0;
    return current ? OK : INVALID;
}

EXPORT int cuStreamCreate(void **out_stream, unsigned flags)
{
    struct stream *stream = streams;
    while (stream < streams + STREAMS && stream->made)
        stream++;
    if (flags > 1 || fails("cuStreamCreate") || stream == streams + STREAMS)
        return INVALID;
    stream->made = true;
    *out_stream = stream;
    return OK;
}

EXPORT int cuStreamDestroy_v2(void *in)
{
    struct stream *stream = stream_of(in);
    if (stream == NULL)
        return INVALID;
    stream->made = false;
    return OK;
}

EXPORT int cuStreamSynchronize(void *in)
{
    if (getenv("FAKE_CUDA_CRASH") != NULL)
        abort();
    struct stream *stream = stream_of(in);
    if (stream == NULL)
        return INVALID;
    do_works(stream);
    return !fails("cuStreamSynchronize") ? OK : INVALID;
}

EXPORT int cuMemAllocHost_v2(void **out_memory, size_t size)
{
    *out_memory = fails("cuMemAllocHost_v2") ? NULL : malloc(size);
    return *out_memory != NULL ? OK : NO_MEMORY;
}

EXPORT int cuMemFreeHost(void *memory)
{
    free(memory);
    return OK;
}

EXPORT int cuMemAlloc_v2(uint64_t *out_address, size_t size)
{
    void *memory = fails("cuMemAlloc_v2") ? NULL : malloc(size);
    *out_address = (uint64_t)(uintptr_t)memory;
    return memory != NULL ? OK : NO_MEMORY;
}

EXPORT int cuMemFree_v2(uint64_t address)
{
    free((void *)(uintptr_t)address);
    return OK;
}

EXPORT int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, void *in)
{
    return add((struct work){(void *)(uintptr_t)to, from, size, 0}, in);
}

EXPORT int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, void *in)
{
    return add((struct work){to, (void *)(uintptr_t)from, size, 0}, in);
}

EXPORT int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t size, void *in)
{
    return add((struct work){(void *)(uintptr_t)to, (void *)(uintptr_t)from, size, 0}, in);
}

EXPORT int cuMemsetD32Async(uint64_t to, unsigned word, size_t words, void *in)
{
    return add((struct work){(void *)(uintptr_t)to, NULL, words * sizeof word, word}, in);
}

/* --- scattered blocks ------------------------------------------------------------------------- */

EXPORT int cuMemcpyAsync(uint64_t to, uint64_t from, size_t size, void *in)
{
    return add((struct work){(void *)(uintptr_t)to, (void *)(uintptr_t)from, size, 0}, in);
}

/* The last copy of a batch is put first: there is no order. */
static int add_batch(const uint64_t *to, const uint64_t *from, const size_t *sizes, size_t count,
                     void *in)
{
    int error = count ? OK : INVALID;
    for (size_t i = count; i-- > 0 && !error;)
        error = cuMemcpyAsync(to[i], from[i], sizes[i], in);
    return error;
}

static int batch_13000(uint64_t *to, uint64_t *from, size_t *sizes, size_t count, void *attributes,
                       size_t *starts, size_t attribute_count, void *in)
{
    return attributes && starts[0] == 0 && attribute_count == 1
               ? add_batch(to, from, sizes, count, in)
               : INVALID;
}

static int batch_12080(uint64_t *to, uint64_t *from, size_t *sizes, size_t count, void *attributes,
                       size_t *starts, size_t attribute_count, size_t *failed, void *in)
{
    return failed ? batch_13000(to, from, sizes, count, attributes, starts, attribute_count, in)
                  : INVALID;
}

EXPORT int cuGetProcAddress_v2(const char *name, void **out, int version, uint64_t flags,
                               int *out_result)
{
    int (*newest)(uint64_t *, uint64_t *, size_t *, size_t, void *, size_t *, size_t, void *) =
        batch_13000;
    int (*older)(uint64_t *, uint64_t *, size_t *, size_t, void *, size_t *, size_t, size_t *,
                 void *) = batch_12080;
    const char *text = getenv("FAKE_CUDA_VERSION");
    const int has = text ? atoi(text) : 13000;
    *out = NULL;
    *out_result = 1; /* not found */
    if (flags != 0 || strcmp(name, "cuMemcpyBatchAsync") != 0 || version > has)
        return OK;
    if (version >= 13000)
        memcpy(out, &newest, sizeof newest);
    else if (version >= 12080)
        memcpy(out, &older, sizeof older);
    *out_result = *out ? 0 : 1;
    return OK;
}

static char module, function;

EXPORT int cuModuleLoadData(void **out_module, const void *image)
{
    *out_module = &module;
    return strstr(image, ".entry plain(") && !fails("cuModuleLoadData") ? OK : INVALID;
}

EXPORT int cuModuleUnload(void *in)
{
    return in == &module ? OK : INVALID;
}

EXPORT int cuModuleGetFunction(void **out_function, void *in, const char *name)
{
    *out_function = &function;
    return in == &module && strcmp(name, "plain") == 0 ? OK : INVALID;
}

/* The plain kernel: a block each. Its list is read when its turn comes. */
EXPORT int cuLaunchKernel(void *in, unsigned x, unsigned y, unsigned z, unsigned threads,
                          unsigned threads_y, unsigned threads_z, unsigned shared, void *stream_in,
                          void **parameters, void **extra)
{
    if (in != &function || y != 1 || z != 1 || threads != 256 || threads_y != 1 || threads_z != 1 ||
        shared || extra || stream_of(stream_in) == NULL)
        return INVALID;
    do_works(stream_of(stream_in));
    uint64_t address;
    memcpy(&address, parameters[0], sizeof address);
    const uint64_t(*list)[3] = (const uint64_t(*)[3])(uintptr_t)address;
    int error = OK;
    for (unsigned i = 0; i < x && !error; i++)
        error = cuMemcpyAsync(list[i][0], list[i][1], list[i][2], stream_in);
    return error;
}
