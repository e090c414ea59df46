#include "base/status.h"

#include "base/log.h"
#include "common/show.h"

#include <assert.h>
#include <errno.h>
#include <ferry/ferry.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ERROR_MAX = 512 };

/* The user's, and that of what is only tried. */
static _Thread_local char errors[2][ERROR_MAX];
static _Thread_local unsigned trying;

static const struct {
    const char *name, *text;
} statuses[] = {
#define FERRY_STATUS(value, name, text) [value] = {"FERRY_" #name, text},
#include <ferry/status.inc>
#undef FERRY_STATUS
};

static const char *const path_names[] = {
    [FERRY_PATH_AUTO] = "auto",         [FERRY_PATH_DIRECT] = "direct",
    [FERRY_PATH_STAGED] = "staged",     [FERRY_PATH_PIPELINED] = "pipelined",
    [FERRY_PATH_IMPORTED] = "imported", [FERRY_PATH_DEVICE] = "device",
    [FERRY_PATH_BRIDGED] = "bridged",   [FERRY_PATH_NONE] = "none",
    [FERRY_PATH_BLOCKS] = "blocks",     [FERRY_PATH_PEER] = "peer",
};
static_assert(sizeof path_names / sizeof *path_names == FERRY_PATH_COUNT, "a path has no name");

static bool is_status(enum ferry_status status)
{
    size_t index = (size_t)status; /* a negative value becomes a large one */
    return index < sizeof statuses / sizeof *statuses && statuses[index].name;
}

const char *ferry_status_name(enum ferry_status status)
{
    return is_status(status) ? statuses[status].name : "FERRY_ERROR_UNKNOWN";
}

const char *ferry_status_text(enum ferry_status status)
{
    return is_status(status) ? statuses[status].text : "no such status";
}

const char *ferry_path_name(enum ferry_path path)
{
    return (size_t)path < FERRY_PATH_COUNT ? path_names[path] : "unknown";
}

uint32_t ferry_version(void)
{
    return FERRY_VERSION;
}

const char *ferry_last_error(void)
{
    return errors[trying > 0];
}

void ferry__error_begin(void)
{
    trying++;
}

void ferry__error_end(enum ferry_status status)
{
    trying--;
    if (status && !trying)
        memcpy(errors[0], errors[1], sizeof errors[0]);
}

void ferry__set_error(const char *why)
{
    char shown[ERROR_MAX]; /* why may be one of errors, or be of it */
    ferry__show_text(shown, sizeof shown, why);
    strcpy(errors[trying > 0], shown);
}

enum ferry_status ferry__fail(enum ferry_status status, const char *format, ...)
{
    char why[ERROR_MAX]; /* the arguments may be of last_error itself */
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    ferry__set_error(why);
    ferry__log(FERRY_LOG_INFO, "%s: %s", ferry_status_name(status), ferry_last_error());
    return status;
}

enum ferry_status ferry__status_of_errno(int error)
{
    return error == ENOMEM ? FERRY_ERROR_OUT_OF_HOST_MEMORY : FERRY_ERROR_IO;
}
