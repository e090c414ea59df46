/* ferry load --synthetic SIZE: a model that the command makes, and takes away when it ends. */
#include "load_synthetic.h"

#include "common/env.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LARGE = 32 << 20, SMALL = 16 << 10, PIECE = 1 << 20, SUFFIX = 12 };

static char path[512]; /* "": there is none */

/* --- taking it away --------------------------------------------------------------------------- */

static const int signals[] = {SIGHUP, SIGINT, SIGTERM};

void load_synthetic_remove(void)
{
    if (path[0])
        unlink(path);
    path[0] = '\0';
}

/* Gigabytes are not left behind; then what would have been done without us. */
static void on_signal(int number)
{
    if (path[0])
        unlink(path);
    signal(number, SIG_DFL);
    raise(number);
}

/* --- making it -------------------------------------------------------------------------------- */

static void describe(FILE *header, size_t number, uint64_t at, uint64_t size)
{
    fprintf(header,
            ",\"layers.%zu.%s\":{\"dtype\":\"U8\",\"shape\":[%" PRIu64
            "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
            number / 2, number % 2 ? "norm" : "weight", size, at, at + size);
}

/* Large and small tensors in turn, as models have them. */
static bool write_header(FILE *file, uint64_t size)
{
    char *text = NULL;
    size_t length = 0, number = 0;
    FILE *header = open_memstream(&text, &length);
    if (!header)
        return false;
    fprintf(header, "{\"__metadata__\":{\"%s\":\"made by ferry load --synthetic\"}",
            LOAD_SYNTHETIC_KEY);
    for (uint64_t at = 0; at < size; number++) {
        const uint64_t most = number % 2 ? SMALL : LARGE;
        const uint64_t bytes = size - at < most ? size - at : most;
        describe(header, number, at, bytes);
        at += bytes;
    }
    fputc('}', header);
    bool good = fclose(header) == 0;
    for (unsigned i = 0; i < 8; i++)
        fputc((int)((uint64_t)length >> (8 * i) & 0xff), file);
    good = good && fwrite(text, 1, length, file) == length;
    free(text);
    return good;
}

/* Numbers that no file system makes smaller. */
static bool write_bytes(FILE *file, uint64_t size)
{
    uint64_t *piece = malloc(PIECE), state = UINT64_C(0x9e3779b97f4a7c15);
    bool good = piece;
    for (uint64_t at = 0; at < size && good; at += PIECE) {
        const uint64_t left = size - at;
        for (size_t i = 0; i < PIECE / sizeof *piece; i++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            piece[i] = state;
        }
        const size_t bytes = left < PIECE ? (size_t)left : PIECE;
        good = fwrite(piece, 1, bytes, file) == bytes;
    }
    free(piece);
    return good;
}

const char *load_synthetic_make(uint64_t size)
{
    const char *folder = ferry__env("TMPDIR");
    snprintf(path, sizeof path - SUFFIX, "%s/ferry-synthetic-XXXXXX",
             folder && folder[0] ? folder : "/tmp");
    const int fd = mkstemp(path);
    if (fd < 0) {
        cli_complain("load: cannot make %s: %s", path, strerror(errno));
        path[0] = '\0';
        return NULL;
    }
    for (size_t i = 0; i < CLI_COUNT(signals); i++)
        if (signal(signals[i], on_signal) == SIG_IGN)
            signal(signals[i], SIG_IGN);
    FILE *file = fdopen(fd, "wb");
    if (!file)
        close(fd);
    bool good = file && write_header(file, size) && write_bytes(file, size);
    good = file && fflush(file) == 0 && good;
    const int error = errno;
    if (file)
        fclose(file);
    if (good)
        return path;
    cli_complain("load: cannot write %s: %s", path, strerror(error));
    load_synthetic_remove();
    return NULL;
}

/* --- finding it ------------------------------------------------------------------------------- */

static void look(const struct ferry_model_metadata *pair, void *user)
{
    bool *found = user;
    *found = *found || strcmp(pair->key, LOAD_SYNTHETIC_KEY) == 0;
}

bool load_synthetic_is(const ferry_model *model)
{
    bool found = false;
    return !ferry_model_read_metadata(model, look, &found) && found;
}
