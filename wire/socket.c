#include "socket.h"

#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Connections that wait to be taken; more are turned away by the system. */
enum { BACKLOG = 128, HOST_MAX = 256 };

/* --- addresses -------------------------------------------------------------------------------- */

/* "host:port", "[v6]:port" and ":port" apart. */
static bool split(const char *text, char host[HOST_MAX], const char **out_port)
{
    const char *colon = strrchr(text, ':'), *begin = text, *end = colon;
    if (!colon || !colon[1])
        return false;
    if (*begin == '[') {
        begin++;
        if (end <= begin || *--end != ']')
            return false;
    } else if (memchr(begin, ':', (size_t)(end - begin))) {
        return false;
    }
    const char *port = colon + 1;
    if ((size_t)(end - begin) >= HOST_MAX || strspn(port, "0123456789") != strlen(port) ||
        strlen(port) > 5 || atoi(port) > UINT16_MAX)
        return false;
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    *out_port = port;
    return true;
}

enum ferry_status ferry__wire_resolve(const char *text, bool listening,
                                      struct ferry__wire_place places[FERRY_WIRE_PLACES_MAX],
                                      size_t *out_count)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICSERV | (listening ? AI_PASSIVE : 0)};
    struct addrinfo *all = NULL;
    const char *port = NULL;
    char host[HOST_MAX];
    if (!split(text, host, &port))
        return ferry__wire_fail(FERRY_ERROR_INVALID_ARGUMENT,
                                "\"%.100s\" is not an address, HOST:PORT or [IPv6]:PORT", text);
    const int error = getaddrinfo(host[0] ? host : NULL, port, &hints, &all);
    if (error)
        return ferry__wire_fail(FERRY_ERROR_IO, "\"%.100s\": %s", text, gai_strerror(error));
    *out_count = 0;
    for (const struct addrinfo *at = all; at && *out_count < FERRY_WIRE_PLACES_MAX;
         at = at->ai_next)
        if (at->ai_addrlen <= sizeof places->address) {
            memcpy(&places[*out_count].address, at->ai_addr, at->ai_addrlen);
            places[(*out_count)++].size = at->ai_addrlen;
        }
    freeaddrinfo(all);
    return *out_count ? FERRY_OK
                      : ferry__wire_fail(FERRY_ERROR_IO, "\"%.100s\" has no address", text);
}

void ferry__wire_name(const struct ferry__wire_place *place, char out[FERRY_WIRE_NAME_MAX])
{
    char host[HOST_MAX], port[16];
    if (getnameinfo((const struct sockaddr *)&place->address, place->size, host, sizeof host, port,
                    sizeof port, NI_NUMERICHOST | NI_NUMERICSERV))
        snprintf(out, FERRY_WIRE_NAME_MAX, "?");
    else
        snprintf(out, FERRY_WIRE_NAME_MAX, strchr(host, ':') ? "[%.50s]:%s" : "%.50s:%s", host,
                 port);
}

bool ferry__wire_is_loopback(const struct ferry__wire_place *place)
{
    const struct sockaddr_in *v4 = (const void *)&place->address;
    const struct sockaddr_in6 *v6 = (const void *)&place->address;
    if (place->address.ss_family == AF_INET)
        return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    if (place->address.ss_family != AF_INET6)
        return false;
    const struct in6_addr *address = &v6->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(address) ||
           (IN6_IS_ADDR_V4MAPPED(address) && address->s6_addr[12] == IN_LOOPBACKNET);
}

/* --- sockets ---------------------------------------------------------------------------------- */

static bool set_flags(int fd)
{
    return !fcntl(fd, F_SETFD, FD_CLOEXEC) && !fcntl(fd, F_SETFL, O_NONBLOCK);
}

static int make_socket(const struct ferry__wire_place *place)
{
    const int fd = socket(place->address.ss_family, SOCK_STREAM, 0);
    if (fd < 0 || set_flags(fd))
        return fd;
    close(fd);
    return -1;
}

enum ferry_status ferry__wire_listen(const struct ferry__wire_place *place, int *out_fd)
{
    char name[FERRY_WIRE_NAME_MAX];
    const int fd = make_socket(place), on = 1;
    ferry__wire_name(place, name);
    if (fd < 0)
        return ferry__wire_fail(FERRY_ERROR_IO, "no socket to listen on %s: %s", name,
                                strerror(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&place->address, place->size) || listen(fd, BACKLOG)) {
        const int error = errno;
        close(fd);
        return ferry__wire_fail(FERRY_ERROR_IO, "cannot listen on %s: %s", name, strerror(error));
    }
    *out_fd = fd;
    return FERRY_OK;
}

int ferry__wire_take(int listener, struct ferry__wire_place *out_from)
{
    out_from->size = sizeof out_from->address;
    const int fd = accept(listener, (struct sockaddr *)&out_from->address, &out_from->size);
    if (fd < 0 || set_flags(fd))
        return fd;
    close(fd);
    return -1;
}

int ferry__wire_dial(const struct ferry__wire_place *place)
{
    const int fd = make_socket(place);
    if (fd < 0)
        return -1;
    if (!connect(fd, (const struct sockaddr *)&place->address, place->size) || errno == EINPROGRESS)
        return fd;
    const int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int ferry__wire_dialled(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) ? errno : error;
}

#ifdef TCP_USER_TIMEOUT
#define GIVE_UP TCP_USER_TIMEOUT /* in ms */
#else
#define GIVE_UP TCP_RXT_CONNDROPTIME /* macOS, in s */
#endif

void ferry__wire_tune(int fd, uint64_t give_up_ns)
{
    const uint64_t unit = GIVE_UP == 18 ? 1000000u : 1000000000u; /* 18: Linux's */
    const int on = 1, give_up = (int)(give_up_ns / unit) + 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, GIVE_UP, &give_up, sizeof give_up);
}

static bool same_host(const struct sockaddr *a, const struct sockaddr *b)
{
    if (a->sa_family != b->sa_family)
        return false;
    if (a->sa_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)(const void *)b)->sin_addr.s_addr;
    return a->sa_family == AF_INET6 &&
           !memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
                   &((const struct sockaddr_in6 *)(const void *)b)->sin6_addr,
                   sizeof(struct in6_addr));
}

/* "::ffff:10.0.0.1" is 10.0.0.1: interfaces have it so. */
static void unmap(struct ferry__wire_place *place)
{
    struct sockaddr_in6 v6;
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    memcpy(&v6, &place->address, sizeof v6);
    if (v6.sin6_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
        return;
    memcpy(&v4.sin_addr, v6.sin6_addr.s6_addr + 12, 4);
    memcpy(&place->address, &v4, sizeof v4);
}

bool ferry__wire_interface(int fd, char *out, size_t capacity, bool *out_ipv6, bool *out_same)
{
    struct ferry__wire_place here = {.size = sizeof here.address}, there = here;
    struct ifaddrs *all = NULL;
    bool found = false;
    if (getsockname(fd, (struct sockaddr *)&here.address, &here.size) ||
        getpeername(fd, (struct sockaddr *)&there.address, &there.size) || getifaddrs(&all))
        return false;
    unmap(&here);
    unmap(&there);
    const struct sockaddr *address = (const struct sockaddr *)&here.address;
    *out_ipv6 = address->sa_family == AF_INET6;
    *out_same = same_host(address, (const struct sockaddr *)&there.address);
    for (const struct ifaddrs *at = all; at && !found; at = at->ifa_next)
        if (at->ifa_addr && same_host(at->ifa_addr, address)) {
            snprintf(out, capacity, "%s", at->ifa_name);
            found = true;
        }
    /* All of 127.0.0.0/8 is the loopback's, which has but one address of it. */
    for (const struct ifaddrs *at = all; at && !found && ferry__wire_is_loopback(&here);
         at = at->ifa_next)
        if (at->ifa_flags & IFF_LOOPBACK) {
            snprintf(out, capacity, "%s", at->ifa_name);
            found = true;
        }
    freeifaddrs(all);
    return found;
}

/* --- a bell ----------------------------------------------------------------------------------- */

bool ferry__wire_bell(int out_fds[2])
{
    if (pipe(out_fds))
        return false;
    if (set_flags(out_fds[0]) && set_flags(out_fds[1]))
        return true;
    close(out_fds[0]);
    close(out_fds[1]);
    return false;
}

void ferry__wire_ring(int fd)
{
    while (write(fd, "", 1) < 0 && errno == EINTR)
        ;
}

void ferry__wire_hush(int fd)
{
    char bytes[64];
    while (read(fd, bytes, sizeof bytes) > 0 || errno == EINTR)
        ;
}
