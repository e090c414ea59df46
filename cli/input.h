/* A file read in windows: a regular file, a pipe, a terminal, "-" for standard input. */
#ifndef FERRY_CLI_INPUT_H
#define FERRY_CLI_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct input {
    const char *name;
    int fd;
    uint64_t size; /* of a regular file when it was opened, for the progress bar; 0: not known */
    bool seekable; /* it can be read again */
    bool has_ahead, at_end;
    unsigned char ahead; /* read to see whether there is more */
};

/* False: why says the reason (CLI_WHY_MAX bytes). A directory is refused. */
bool input_open(struct input *input, const char *name, char *why);
void input_close(struct input *input);

/* Reads size bytes, less only at the end. -1: why. A file that shrinks or grows meanwhile is read
 * as it is. */
ssize_t input_read(struct input *input, unsigned char *memory, size_t size, char *why);

/* 1: there is more to read; 0: there is not; -1: why. May block, as reading does. */
int input_more(struct input *input, char *why);

bool input_rewind(struct input *input, char *why);

#endif
