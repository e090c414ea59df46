/* UCX's functions, found at run time. */
#ifndef FERRY_WIRE_UCP_LIBRARY_H
#define FERRY_WIRE_UCP_LIBRARY_H

#include "ucp_api.h"

#include <ferry/ferry.h>

struct ferry__wire_ucp {
#define FERRY_UCP(result, name, parameters) result(*name) parameters;
    FERRY_UCP_FUNCTIONS
#undef FERRY_UCP
};

extern struct ferry__wire_ucp ferry__wire_ucp;

#endif
