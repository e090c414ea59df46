/*
 * Models: files of tensors, straight into device memory. Reads safetensors and GGUF (versions 2 and
 * 3), also split into several files; any other file is one tensor of plain bytes.
 *
 * Files are not trusted: every size, offset, count and name in a header is checked before it is
 * used, and a file that contradicts itself is refused with a message. Ferry does not look at what a
 * tensor's bytes mean. A file must not change while its model is open.
 */
#ifndef FERRY_MODEL_H
#define FERRY_MODEL_H

#include <ferry/ferry.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ferry_model ferry_model;

enum ferry_model_format {
    FERRY_MODEL_BYTES = 0, /* not a model that Ferry knows: one tensor, the whole file */
    FERRY_MODEL_SAFETENSORS,
    FERRY_MODEL_GGUF,
};

/* "bytes", "safetensors", "gguf". A static string, never NULL. */
FERRY_API const char *ferry_model_format_name(enum ferry_model_format format);

struct ferry_model_info {
    enum ferry_model_format format;
    uint32_t version; /* of the format; 0 where it has none */
    size_t files;     /* that contain the tensors */
    size_t tensors;
    uint64_t bytes;      /* of all tensors */
    uint64_t arena_size; /* of one buffer that holds them all (ferry_model_load); 0: no bytes */
    uint64_t reserved[8];
};

enum { FERRY_TENSOR_RANK_MAX = 8 };

struct ferry_tensor_info {
    const char *name; /* lives as long as the model; unique; may hold any byte but 0 */
    const char *type; /* as the format names it: "BF16", "Q4_K"; of plain bytes "U8" */
    uint32_t rank;
    uint64_t shape[FERRY_TENSOR_RANK_MAX]; /* the outermost first, in elements */
    uint64_t size;                         /* bytes */
    uint64_t arena_offset;                 /* a multiple of FERRY_BUFFER_ALIGNMENT */
    size_t file;                           /* index, for ferry_model_file_name */
    uint64_t file_offset;                  /* of its first byte */
    uint64_t reserved[4];
};

/*
 * Opens a model and reads its headers; blocks. path is one of
 *   - a file of safetensors or GGUF, or any other regular file;
 *   - NAME-00001-of-00003.gguf, or another of its parts: all parts are opened;
 *   - model.safetensors.index.json: all files that it names, from its own directory;
 *   - a directory that holds one of these, or only safetensors files.
 * IO: a file cannot be read. INVALID_ARGUMENT: a file is not what it claims to be, or a part is
 * missing. UNSUPPORTED: a version or type that Ferry does not know; more than FERRY_TENSOR_RANK_MAX
 * dimensions; more tensors than Ferry counts (the message has the number).
 */
FERRY_CHECK enum ferry_status ferry_model_open(const char *path, ferry_model **out_model);

/* NULL is allowed. No other call on the model may be running. Buffers that were loaded stay. */
FERRY_API void ferry_model_close(ferry_model *model);

FERRY_API void ferry_model_get_info(const ferry_model *model, struct ferry_model_info *out_info);

/* The path of a file; NULL if there is no such file. Lives as long as the model. */
FERRY_API const char *ferry_model_file_name(const ferry_model *model, size_t file);

/* Tensors are numbered from 0 in the order of the files. OUT_OF_RANGE: there is no such tensor. */
FERRY_CHECK enum ferry_status ferry_model_get_tensor(const ferry_model *model, size_t index,
                                                     struct ferry_tensor_info *out_info);

/* INVALID_ARGUMENT: no tensor has this name. */
FERRY_CHECK enum ferry_status ferry_model_find_tensor(const ferry_model *model, const char *name,
                                                      size_t *out_index);

enum { FERRY_METADATA_TEXT_MAX = 65535 }; /* the most bytes of a key or a value that are given */

/* What a file says about itself besides its tensors: a pair of GGUF's metadata, or of safetensors'
 * __metadata__. The texts live as long as the call; a byte 0 in them is given as U+FFFD. */
struct ferry_model_metadata {
    size_t file; /* index, for ferry_model_file_name */
    const char *key;
    const char *type;  /* as GGUF names it: "string", "uint32", "bool", ...; of arrays "string[]" */
    const char *value; /* as text: a string as it is, true or false, a number; [1, 2, ...] */
    uint64_t count;    /* values of an array; else 1 */
    uint32_t cut;      /* not 0: the value is longer than what is given */
    uint32_t reserved[9];
};

typedef void (*ferry_model_metadata_callback)(const struct ferry_model_metadata *pair, void *user);

/* Calls callback with each pair, one after another and file by file, on this thread. Reads the
 * headers again, because an open model keeps no metadata. IO: a file cannot be read. Plain bytes
 * have none. */
FERRY_CHECK enum ferry_status ferry_model_read_metadata(const ferry_model *model,
                                                        ferry_model_metadata_callback callback,
                                                        void *user);

/* Reads a part of a tensor into host memory. OUT_OF_RANGE: the range does not lie in the tensor. */
FERRY_CHECK enum ferry_status ferry_model_read(const ferry_model *model, size_t index, void *memory,
                                               size_t size, uint64_t offset);

/* done: bytes loaded so far, of total. Called on the loading thread. */
typedef void (*ferry_model_progress)(uint64_t done, uint64_t total, void *user);

/*
 * Loads all tensors into one buffer of at least offset + arena_size bytes, each at
 * offset + arena_offset; the bytes between them stay as they are. Blocks until everything is in the
 * buffer; the files are read in order, as ferry_batch_copy_from_file does it. progress may
 * be NULL. IO: a file could not be read, or is shorter than when it was opened. After a failure
 * some tensors may have been loaded, and some in part; bytes outside their places never change.
 * In a callback: IN_CALLBACK. Several threads may load from one model at once.
 */
FERRY_CHECK enum ferry_status ferry_model_load(const ferry_model *model, ferry_buffer *arena,
                                               uint64_t offset, ferry_model_progress progress,
                                               void *user);

/* Where a tensor goes. */
struct ferry_tensor_place {
    ferry_buffer *buffer; /* NULL: this tensor is not loaded */
    uint64_t offset;
};

/* As ferry_model_load, but tensor i goes to places[i]: there are as many places as tensors, and all
 * their buffers belong to one device. OUT_OF_RANGE: a place is too small for its tensor; nothing is
 * loaded. */
FERRY_CHECK enum ferry_status ferry_model_load_into(const ferry_model *model,
                                                    const struct ferry_tensor_place *places,
                                                    ferry_model_progress progress, void *user);

/* How to load, and where. */
struct ferry_model_load_params {
    /* Give one of the two: arena, to load into one buffer from offset on, as ferry_model_load does;
     * or places, as for ferry_model_load_into. */
    ferry_buffer *arena;
    uint64_t offset;
    const struct ferry_tensor_place *places;
    /* The most bytes of tensors on their way at once; 0: 512 MiB. Staging for them needs no more
     * host memory than that, and never more than the device's staging_budget. */
    uint64_t memory;
    ferry_model_progress progress; /* may be NULL */
    void *user;
    uint64_t reserved[8]; /* zero */
};

FERRY_CHECK enum ferry_status ferry_model_load_as(const ferry_model *model,
                                                  const struct ferry_model_load_params *params);

/* Loads one tensor. */
FERRY_CHECK enum ferry_status ferry_model_load_tensor(const ferry_model *model, size_t index,
                                                      ferry_buffer *buffer, uint64_t offset);

#ifdef __cplusplus
}
#endif

#endif
