/* What ferry transfer prints: tables, or one JSON object. */
#ifndef FERRY_CLI_REPORT_H
#define FERRY_CLI_REPORT_H

#include "journey.h"
#include "reference.h"

struct report {
    bool json, quiet;
    enum ferry_path path; /* that was asked for */
    size_t files;         /* printed so far */
};

void report_device(struct report *report, const struct ferry_device_info *info);

/* A file that got as far as end; why it got no further is in journey->why. */
void report_file(struct report *report, const char *name, const struct journey *journey,
                 enum cli_exit end);

/* The last: end is what the command ends with. */
void report_references(struct report *report, const struct reference *references, size_t count,
                       enum cli_exit end);

#endif
