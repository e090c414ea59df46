#include "input.h"

#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool fail(const struct input *input, const char *what, char *why)
{
    snprintf(why, CLI_WHY_MAX, "%s: %s: %s", input->name, what, strerror(errno));
    return false;
}

bool input_open(struct input *input, const char *name, char *why)
{
    bool standard = strcmp(name, "-") == 0;
    *input = (struct input){.name = standard ? "standard input" : name};
    input->fd =
        standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : open(name, O_RDONLY | O_CLOEXEC);
    if (input->fd < 0)
        return fail(input, "cannot open it", why);

    struct stat about;
    if (fstat(input->fd, &about) != 0) {
        fail(input, "cannot look at it", why);
        input_close(input);
        return false;
    }
    if (S_ISDIR(about.st_mode)) {
        snprintf(why, CLI_WHY_MAX, "%s: it is a directory; name the files in it", input->name);
        input_close(input);
        return false;
    }
    if (S_ISREG(about.st_mode)) {
        input->seekable = true;
        input->size = (uint64_t)about.st_size;
    }
    return true;
}

void input_close(struct input *input)
{
    if (input->fd >= 0)
        close(input->fd);
    input->fd = -1;
}

ssize_t input_read(struct input *input, unsigned char *memory, size_t size, char *why)
{
    size_t done = 0;
    if (input->has_ahead && size > 0) {
        memory[done++] = input->ahead;
        input->has_ahead = false;
    }
    while (done < size && !input->at_end) {
        ssize_t got = read(input->fd, memory + done, size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            fail(input, "cannot read it", why);
            return -1;
        }
        done += (size_t)got;
        input->at_end = got == 0;
    }
    return (ssize_t)done;
}

int input_more(struct input *input, char *why)
{
    if (input->has_ahead)
        return 1;
    ssize_t got = input_read(input, &input->ahead, 1, why);
    input->has_ahead = got == 1;
    return (int)got;
}

bool input_rewind(struct input *input, char *why)
{
    if (lseek(input->fd, 0, SEEK_SET) != 0)
        return fail(input, "cannot read it again", why);
    input->has_ahead = false;
    input->at_end = false;
    return true;
}
