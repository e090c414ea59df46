/* Two processes connect, and one dies after each of its sends in turn: the other one hears of it, and
 * lives. UCX finds this program's own send where it looks for libc's. */
#define _GNU_SOURCE
#include "pair.h"

#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 6, MOST = 40 };

static _Atomic bool connects;
static _Atomic unsigned sends, dies_at; /* 0: it lives */

/* Ferry's own words are late, so that UCX's connection comes before what tells of it. */
__attribute__((visibility("default"))) ssize_t send(int fd, const void *bytes, size_t size,
                                                    int flags)
{
    Dl_info caller;
    if (connects &&
        (!dladdr(__builtin_return_address(0), &caller) || !strstr(caller.dli_fname, "libuc")))
        nanosleep(&(struct timespec){.tv_nsec = 2 * MS}, NULL);
    const ssize_t sent = syscall(SYS_sendto, fd, bytes, size, flags, NULL, 0);
    if (connects && ++sends == dies_at)
        raise(SIGKILL);
    return sent;
}

/* other: a socket to the other process, which ends when that one does. */
static bool is_gone(int other)
{
    struct pollfd polled = {.fd = other, .events = POLLIN};
    return poll(&polled, 1, 0) == 1;
}

static enum ferry_status accept_one(ferry_wire *wire, int other, ferry_peer **out_peer)
{
    char address[80];
    enum ferry_status status = ferry_wire_address(wire, address, sizeof address, NULL);
    if (status || write(other, address, sizeof address) != sizeof address)
        return FERRY_ERROR_INTERNAL;
    do
        status = ferry_wire_accept(wire, 20 * MS, out_peer);
    while (status == FERRY_ERROR_TIMEOUT && !is_gone(other));
    return status;
}

static enum ferry_status connect_one(ferry_wire *wire, int other, ferry_peer **out_peer)
{
    char address[80];
    if (read(other, address, sizeof address) != sizeof address)
        return FERRY_ERROR_INTERNAL;
    return ferry_wire_connect(wire, address, LONG_NS, out_peer);
}

static void be_one(bool server, int other, unsigned dies)
{
    static const struct ferry_wire_params params = {.transports = "tcp", .listen = "127.0.0.1:0"};
    ferry_wire *wire = NULL;
    ferry_peer *peer = NULL;
    dies_at = dies;
    connects = true;
    enum ferry_status status = ferry_wire_open(&params, &wire);
    if (!status)
        status = (server ? accept_one : connect_one)(wire, other, &peer);
    connects = false;
    ferry_peer_close(peer);
    ferry_wire_close(wire);
    const bool told = !status || status == FERRY_ERROR_IO || status == FERRY_ERROR_TIMEOUT;
    if (!told)
        fprintf(stderr, "%s: %s\n", ferry_status_name(status), ferry_last_error());
    _exit(told ? 0 : 1);
}

static pid_t start(bool server, const int sockets[2], unsigned dies)
{
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid)
        return pid;
    close(sockets[!server]);
    be_one(server, sockets[server], dies);
    return pid;
}

/* False: there were not so many sends. */
static bool die(bool server, unsigned n)
{
    int sockets[2], ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    const pid_t dying = start(server, sockets, n), living = start(!server, sockets, 0);
    close(sockets[0]);
    close(sockets[1]);
    assert_int_equal(waitpid(dying, &ends[0], 0), dying);
    assert_int_equal(waitpid(living, &ends[1], 0), living);
    if (ends[1])
        fail_msg("send %u: the one that lives ended with %#x", n, (unsigned)ends[1]);
    if (!ends[0])
        return false;
    assert_true(WIFSIGNALED(ends[0]) && WTERMSIG(ends[0]) == SIGKILL);
    return true;
}

static void test_deaths(void **state)
{
    (void)state;
    for (int round = 0; round < 2 * ROUNDS; round++) {
        const bool server = round % 2;
        unsigned n = 1;
        while (n < MOST && die(server, n))
            n++;
        print_message("the %s died after each of %u sends\n", server ? "server" : "client", n - 1);
        assert_true(n > 3 && n < MOST);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_deaths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
