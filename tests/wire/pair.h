/* Two wires of one process, connected with each other. */
#ifndef FERRY_TEST_WIRE_PAIR_H
#define FERRY_TEST_WIRE_PAIR_H

#include <ferry/wire.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)
#define LONG_NS (60000 * MS) /* that nothing takes, on any machine */

struct pair {
    ferry_wire *a, *b;
    ferry_peer *to_b, *to_a; /* a's peer, and b's */
};

#define assert_ok(call)                                                                    \
    do {                                                                                   \
        const enum ferry_status status_ = (call);                                          \
        if (status_)                                                                       \
            fail_msg("%s: %s: %s", #call, ferry_status_name(status_), ferry_last_error()); \
    } while (0)

static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* a connects to b. listen: b's; NULL: the loopback, any port. */
static inline void open_pair(struct pair *pair, const struct ferry_wire_params *a,
                             const struct ferry_wire_params *b)
{
    static const struct ferry_wire_params none;
    struct ferry_wire_params listening = *(b ? b : &none);
    char address[80];
    if (!listening.listen)
        listening.listen = "127.0.0.1:0";
    assert_ok(ferry_wire_open(&listening, &pair->b));
    assert_ok(ferry_wire_open(a, &pair->a));
    assert_ok(ferry_wire_address(pair->b, address, sizeof address, NULL));
    assert_ok(ferry_wire_connect(pair->a, address, LONG_NS, &pair->to_b));
    assert_ok(ferry_wire_accept(pair->b, LONG_NS, &pair->to_a));
}

static inline void close_pair(struct pair *pair)
{
    ferry_peer_close(pair->to_b);
    ferry_peer_close(pair->to_a);
    ferry_wire_close(pair->a);
    ferry_wire_close(pair->b);
}

static inline ferry_device *open_device(const char *name)
{
    ferry_device *device = NULL;
    const struct ferry_device_params params = {.name = name, .no_measuring = true};
    assert_ok(ferry_device_open(&params, &device));
    return device;
}

static inline ferry_buffer *make_buffer(ferry_device *device, size_t size)
{
    ferry_buffer *buffer = NULL;
    const struct ferry_buffer_params params = {.size = size};
    assert_ok(ferry_buffer_create(device, &params, &buffer));
    return buffer;
}

static inline void fill_bytes(unsigned char *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)((i * 2654435761u + seed * 40503u) >> 7);
}

#endif
