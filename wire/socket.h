/* Addresses and sockets of control connections. */
#ifndef FERRY_WIRE_SOCKET_H
#define FERRY_WIRE_SOCKET_H

#include <ferry/ferry.h>
#include <sys/socket.h>

enum { FERRY_WIRE_PLACES_MAX = 8, FERRY_WIRE_NAME_MAX = 64 };

struct ferry__wire_place {
    struct sockaddr_storage address;
    socklen_t size;
};

/* What "HOST:PORT" stands for; asks the name service, which may take its time. */
enum ferry_status ferry__wire_resolve(const char *text, bool listening,
                                      struct ferry__wire_place places[FERRY_WIRE_PLACES_MAX],
                                      size_t *out_count);

void ferry__wire_name(const struct ferry__wire_place *place, char out[FERRY_WIRE_NAME_MAX]);
bool ferry__wire_is_loopback(const struct ferry__wire_place *place);

enum ferry_status ferry__wire_listen(const struct ferry__wire_place *place, int *out_fd);

/* -1: none waits. */
int ferry__wire_take(int listener, struct ferry__wire_place *out_from);

/* Begins to connect; -1: it failed, and errno says why. */
int ferry__wire_dial(const struct ferry__wire_place *place);

/* The error of a connection that was dialled, once it is writable; 0: connected. */
int ferry__wire_dialled(int fd);

/* How a control connection is to be: small frames at once, and a dead way noticed. */
void ferry__wire_tune(int fd, uint64_t give_up_ns);

/* The name of the network interface that a connection goes by, and whether both its ends are here.
 * False: it cannot be told. */
bool ferry__wire_interface(int fd, char *out, size_t capacity, bool *out_ipv6, bool *out_same);

/* Two descriptors, the first readable once ferry__wire_ring was called on the second. */
bool ferry__wire_bell(int out_fds[2]);
void ferry__wire_ring(int fd);
void ferry__wire_hush(int fd);

#endif
