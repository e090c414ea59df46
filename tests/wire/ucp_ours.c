#include "ucp_table.h"

#include "ucp_api.h"

const struct ucp_number ucp_ours[] = {
#define UCP_SIZE(type) {"sizeof " #type, sizeof(struct ucp_##type)},
#define UCP_FIELD(type, field) {#type "." #field, offsetof(struct ucp_##type, field)},
#define UCP_VALUE(name) {#name, name},
#include "ucp_list.inc"
};
const size_t ucp_ours_count = sizeof ucp_ours / sizeof *ucp_ours;
