/* The file of a trace: a JSON array that is complete after every write. */
#ifndef FERRY_TRACE_FILE_H
#define FERRY_TRACE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What ends the array, and how long it is: room for it is left behind the text to be written. */
#define FERRY__TRACE_END "\n]\n"
enum { FERRY__TRACE_END_SIZE = sizeof FERRY__TRACE_END - 1 };

struct ferry__trace_file {
    int fd;
    uint64_t end; /* of the events, where FERRY__TRACE_END begins */
};

enum { FERRY__TRACE_FIRST_MAX = 160 };

/* Opens the file that name stands for, and writes first, the array's first element, whose last word
 * is the process. A new file is this user's alone (0600). Of files that are there, the one that
 * this process closed last is continued, an earlier trace of this user's, or an empty file, begun
 * anew; nothing else is touched, and no symbolic link is followed. False: why says the reason, of
 * why_size bytes. */
bool ferry__trace_file_open(struct ferry__trace_file *file, const char *name, const char *first,
                            char *why, size_t why_size);
/* Appends length bytes: each element begins with a comma. False: errno, and what is in the file
 * stays loadable as far as the system lets it. */
bool ferry__trace_file_append(struct ferry__trace_file *file, char *text, size_t length);
void ferry__trace_file_close(struct ferry__trace_file *file);
/* In a child of fork(): the file is the parent's. */
void ferry__trace_file_forget(struct ferry__trace_file *file);

#endif
