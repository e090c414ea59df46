/* A client of the strict CUDA that calls it directly, well or badly: breaches are counted. */
#ifndef STRICTCUDA_CLIENT_H
#define STRICTCUDA_CLIENT_H

#include "strictcuda.h"

#include "drivers/cuda/cuda_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIZE = 4096 };

/* A context that is current, a stream, an event, and memory of SIZE bytes of either kind. */
struct client {
    struct cuda_functions cu;
    cu_device device;
    cu_context context;
    cu_stream stream;
    cu_event event;
    cu_address memory;
    unsigned char *host;
};

struct client client_begin(const char *options);
/* Gives everything back; finds that no breach is left over. */
void client_end(struct client *client);
void client_wait(struct client *client, cu_event event); /* until it is done */
void client_finish(struct client *client);               /* until the stream is idle */

cu_address client_address(const void *host);

/* Since the last call exactly this rule was broken, this often. 0: none was. */
void assert_broken(int rule, uint64_t times);
/* How often, all in all. */
extern uint64_t client_broken[STRICTCUDA_RULES];

#define GOOD(call) assert_int_equal((call), CU_SUCCESS)

#endif
