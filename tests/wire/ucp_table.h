/* The numbers of ucp_list.inc, as one header has them. */
#ifndef FERRY_TEST_UCP_TABLE_H
#define FERRY_TEST_UCP_TABLE_H

#include <stddef.h>

struct ucp_number {
    const char *name;
    long value;
};

extern const struct ucp_number ucp_ours[], ucp_theirs[];
extern const size_t ucp_ours_count, ucp_theirs_count;

#endif
