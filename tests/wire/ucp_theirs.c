#include "ucp_table.h"

#include <ucp/api/ucp.h>

const struct ucp_number ucp_theirs[] = {
#define UCP_SIZE(type) {"sizeof " #type, sizeof(ucp_##type##_t)},
#define UCP_FIELD(type, field) {#type "." #field, offsetof(ucp_##type##_t, field)},
#define UCP_VALUE(name) {#name, name},
#include "ucp_list.inc"
};
const size_t ucp_theirs_count = sizeof ucp_theirs / sizeof *ucp_theirs;
