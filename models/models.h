/* What the files of this folder share: a file as parsers see it, tensors, what parsers find. */
#ifndef FERRY_MODELS_H
#define FERRY_MODELS_H

#include "base/base.h"
#include "common/json.h"

#include <ferry/model.h>

/* --- texts (tensors.c) ------------------------------------------------------------------------ */

char *ferry__copy_text(const char *text, size_t length); /* NULL: no memory */

/* --- a file (source.c) ------------------------------------------------------------------------ */

struct ferry__source {
    char *path;
    int fd;
    const unsigned char *memory; /* not NULL: read this instead; of fuzz targets */
    uint64_t size;               /* when it was opened */
};

/* Regular files only. */
enum ferry_status ferry__source_open(struct ferry__source *source, const char *path);
void ferry__source_close(struct ferry__source *source);

/* Reads exactly size bytes; fewer are an error. */
enum ferry_status ferry__source_read(const struct ferry__source *source, void *memory, size_t size,
                                     uint64_t offset);

/* The file contradicts itself: INVALID_ARGUMENT, with its path before the words. */
enum ferry_status ferry__source_wrong(const struct ferry__source *source, const char *format, ...)
    FERRY__PRINTF(2, 3) FERRY__COLD;

/* --- tensors (tensors.c) ---------------------------------------------------------------------- */

struct ferry__tensor {
    char *name;
    const char *type; /* static */
    uint32_t rank;
    uint64_t shape[FERRY_TENSOR_RANK_MAX];
    uint64_t size, arena_offset, file_offset;
    size_t file;
};

enum { FERRY__TENSORS_MAX = 2 << 20 }; /* of a model */

struct ferry__tensors {
    struct ferry__tensor *items;
    size_t count, capacity;
};

/* Takes a copy of tensor with a copy of name, which must hold no 0. */
enum ferry_status ferry__tensors_add(struct ferry__tensors *tensors,
                                     const struct ferry__source *source,
                                     const struct ferry__tensor *tensor, const char *name,
                                     size_t name_length);
/* There will be no more of them: they take no more room than that. */
enum ferry_status ferry__tensors_fit(struct ferry__tensors *tensors);
void ferry__tensors_free(struct ferry__tensors *tensors);

/* Sorts those from index first on as they lie in their file, and checks that they lie inside
 * [begin, source's size) and apart; gaps: bytes between them are allowed. */
enum ferry_status ferry__tensors_settle(struct ferry__tensors *tensors, size_t first,
                                        const struct ferry__source *source, uint64_t begin,
                                        bool gaps);

/* Names of untrusted files in messages: cut, and as ferry__show_text has them. */
struct ferry__shown {
    char text[84];
};
struct ferry__shown ferry__show(const char *name);

/* --- JSON in a file (json_file.c) -------------------------------------------------------------- */

/* The reader stands after the opening brace of the whole. */
struct ferry__json_file {
    const struct ferry__source *source;
    struct ferry__json json;
    char *bytes;
    char name[FERRY__JSON_KEY_MAX + 1]; /* room for a key */
};
enum ferry_status ferry__json_file_open(const struct ferry__source *source, uint64_t offset,
                                        uint64_t length, struct ferry__json_file **out);
void ferry__json_file_close(struct ferry__json_file *file);

/* What is wrong with the JSON, where it is. */
enum ferry_status ferry__json_file_wrong(const struct ferry__json_file *file) FERRY__COLD;

/* After the closing brace there is nothing more. */
enum ferry_status ferry__json_file_finish(struct ferry__json_file *file);

struct ferry__shown ferry__json_show(struct ferry__json_text text);

/* --- metadata (metadata.c) -------------------------------------------------------------------- */

/* One pair on its way to the user. */
struct ferry__told {
    ferry_model_metadata_callback callback;
    void *user;
    struct ferry_model_metadata pair; /* file is set from outside */
    size_t size;                      /* of value, so far */
    char key[FERRY_METADATA_TEXT_MAX + 1], value[FERRY_METADATA_TEXT_MAX + 1];
    char scratch[FERRY_METADATA_TEXT_MAX + 1]; /* of who adds */
};

void ferry__told_begin(struct ferry__told *told, const char *key, size_t key_size,
                       const char *type);
void ferry__told_add(struct ferry__told *told, const char *bytes, size_t size); /* to its value */
bool ferry__told_full(const struct ferry__told *told);
void ferry__told_end(struct ferry__told *told); /* the user hears of it */

/* All pairs of a file that was parsed. */
enum ferry_status ferry__gguf_tell(const struct ferry__source *source, struct ferry__told *told);
enum ferry_status ferry__safetensors_tell(const struct ferry__source *source,
                                          struct ferry__told *told);

/* --- formats ---------------------------------------------------------------------------------- */

struct ferry__gguf {
    uint32_t version;
    bool has_split;
    uint64_t split_number, split_count, split_tensors; /* split_tensors 0: not told */
};

/* Adds the tensors of a file, number file of the model. */
enum ferry_status ferry__gguf_parse(const struct ferry__source *source, size_t file,
                                    struct ferry__tensors *tensors, struct ferry__gguf *out);
enum ferry_status ferry__safetensors_parse(const struct ferry__source *source, size_t file,
                                           struct ferry__tensors *tensors);

/* What model.safetensors.index.json says: which tensor is in which file. */
struct ferry__index {
    char **files; /* names without a directory, sorted, no two equal */
    size_t file_count;
    struct ferry__index_entry {
        char *tensor, *file_name;
    } * entries; /* sorted by tensor, no two equal */
    size_t count;
};
enum ferry_status ferry__index_parse(const struct ferry__source *source, struct ferry__index *out);
const struct ferry__index_entry *ferry__index_find(const struct ferry__index *index,
                                                   const char *tensor); /* NULL: not there */
void ferry__index_free(struct ferry__index *index);

/* --- names of files (paths.c) ----------------------------------------------------------------- */

bool ferry__ends_with(const char *text, const char *suffix);

/* Is it NAME-00002-of-00003SUFFIX? Then part is 2, parts is 3, prefix the length of NAME. */
struct ferry__part {
    size_t prefix;
    unsigned part, parts;
};
bool ferry__part_name(const char *name, const char *suffix, struct ferry__part *out);

/* Sorted paths. */
struct ferry__paths {
    char **items;
    size_t count, capacity;
};
void ferry__paths_free(struct ferry__paths *paths);

/* Adds DIRECTORY/NAME, where directory ends at directory_length (0: NAME alone). */
enum ferry_status ferry__paths_add(struct ferry__paths *paths, const char *directory,
                                   size_t directory_length, const char *name);

/* How long the directory in front of a path is, with its slash. */
size_t ferry__directory_length(const char *path);

/* The files of a model in a directory: an index alone, or files of safetensors or GGUF. */
enum ferry_status ferry__directory_read(const char *path, struct ferry__paths *out);

/* All parts of NAME-00001-of-00003.gguf, any of which path is. */
enum ferry_status ferry__parts_of(const char *path, const struct ferry__part *part,
                                  struct ferry__paths *out);

/* --- the model (model.c) ---------------------------------------------------------------------- */

struct ferry_model {
    enum ferry_model_format format;
    uint32_t version;
    struct ferry__source *files;
    size_t file_count;
    struct ferry__tensors tensors;
    size_t *by_name; /* indices of tensors, sorted by name */
    uint64_t bytes, arena_size;
};

#endif
