/* Peers that go away: processes that are killed or stopped while bytes move both ways, and control
 * connections that are cut, or go silent, after any number of bytes. What was in flight ends with IO,
 * and the wire is good for the next peer. */
#include "pair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 1 << 20, N = 4 };

static const char *program;
static const struct ferry_wire_params params = {.listen = "127.0.0.1:0", .heartbeat_ns = 400 * MS};

/* --- processes -------------------------------------------------------------------------------- */

/* Sends and receives for ever, or until something fails. */
static int child(const char *address, const char *transports)
{
    ferry_device *device = NULL;
    ferry_wire *wire = NULL;
    ferry_peer *peer = NULL;
    const struct ferry_device_params device_params = {.name = "host", .no_measuring = true};
    const struct ferry_wire_params wire_params = {.heartbeat_ns = 400 * MS,
                                                  .transports = transports};
    ferry_buffer *buffer = NULL;
    const struct ferry_buffer_params buffer_params = {.size = 2 * SIZE};
    if (ferry_device_open(&device_params, &device) ||
        ferry_buffer_create(device, &buffer_params, &buffer) || ferry_zero_buffer(buffer) ||
        ferry_wire_open(&wire_params, &wire) || ferry_wire_connect(wire, address, LONG_NS, &peer))
        return 1;
    for (enum ferry_status status = FERRY_OK; !status;) {
        ferry_ticket send = 0;
        status = ferry_send_async(peer, 1, buffer, SIZE, 0, NULL, NULL, &send);
        if (!status)
            status = ferry_receive(peer, 2, buffer, SIZE, SIZE);
        if (!status)
            status = ferry_wait(device, send, UINT64_MAX);
    }
    ferry_wire_close(wire);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    return 0;
}

static pid_t start_child(const char *address, const char *transports)
{
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        execl(program, program, address, transports, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void wait_for_child(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static void assert_nothing_left(ferry_wire *wire)
{
    struct ferry_wire_stats stats;
    const uint64_t begin = now_ns();
    do {
        ferry_wire_get_stats(wire, &stats, sizeof stats);
    } while ((stats.in_flight || stats.peers) && now_ns() - begin < LONG_NS);
    assert_int_equal(stats.in_flight, 0);
    assert_int_equal(stats.staging_bytes, 0);
    assert_int_equal(stats.peers, 0);
}

/* rounds: so many exchanges before the signal; the child is somewhere in the next. */
static void lose_child(const char *transports, int signal, int rounds)
{
    ferry_device *device = open_device("host");
    ferry_buffer *buffer = make_buffer(device, 2 * N * SIZE + 2);
    ferry_wire *wire = NULL;
    ferry_peer *peer = NULL;
    char address[80];
    ferry_ticket sends[N + 1], receives[N + 1];
    struct ferry_peer_info info;
    struct ferry_wire_params own = params;
    own.transports = transports;
    assert_ok(ferry_zero_buffer(buffer));
    assert_ok(ferry_wire_open(&own, &wire));
    assert_ok(ferry_wire_address(wire, address, sizeof address, NULL));
    for (int turn = 0; turn < 2; turn++) {
        const pid_t pid = start_child(address, transports);
        assert_ok(ferry_wire_accept(wire, LONG_NS, &peer));
        for (size_t i = 0; i < N; i++) {
            assert_ok(
                ferry_receive_async(peer, 1, buffer, SIZE, i * SIZE, NULL, NULL, &receives[i]));
            assert_ok(
                ferry_send_async(peer, 2, buffer, SIZE, (N + i) * SIZE, NULL, NULL, &sends[i]));
        }
        /* The child has answered all the others, perhaps, when the signal comes; never these. */
        assert_ok(ferry_receive_async(peer, 11, buffer, 1, 2 * N * SIZE, NULL, NULL, &receives[N]));
        assert_ok(ferry_send_async(peer, 12, buffer, 1, 2 * N * SIZE + 1, NULL, NULL, &sends[N]));
        for (int round = 0; round < rounds; round++) {
            const size_t i = (size_t)round % N;
            assert_ok(ferry_wait(device, receives[i], LONG_NS));
            assert_ok(ferry_wait(device, sends[i], LONG_NS));
            assert_ok(
                ferry_receive_async(peer, 1, buffer, SIZE, i * SIZE, NULL, NULL, &receives[i]));
            assert_ok(
                ferry_send_async(peer, 2, buffer, SIZE, (N + i) * SIZE, NULL, NULL, &sends[i]));
        }
        kill(pid, signal);
        for (size_t i = 0; i <= N; i++) {
            const enum ferry_status received = ferry_wait(device, receives[i], LONG_NS);
            const enum ferry_status sent = ferry_wait(device, sends[i], LONG_NS);
            assert_true(received == FERRY_OK || received == FERRY_ERROR_IO);
            assert_true(sent == FERRY_OK || sent == FERRY_ERROR_IO);
            if (i == N)
                assert_true(received == FERRY_ERROR_IO && sent == FERRY_ERROR_IO);
        }
        ferry_peer_get_info(peer, &info);
        assert_false(info.there);
        assert_true(info.reason[0]);
        ferry_peer_close(peer);
        assert_nothing_left(wire);
        kill(pid, SIGKILL);
        wait_for_child(pid);
        /* What failed is written anew: the buffer is good. */
        assert_ok(ferry_zero_buffer(buffer));
    }
    ferry_wire_close(wire);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
}

static void test_killed(void **state)
{
    (void)state;
    for (int rounds = 0; rounds < 6; rounds++)
        lose_child(rounds % 2 ? "tcp" : "posix", SIGKILL, rounds);
}

static void test_stopped(void **state)
{
    (void)state;
    for (int rounds = 0; rounds < 4; rounds++)
        lose_child(rounds % 2 ? "tcp" : "posix", SIGSTOP, rounds * 2);
}

/* --- cut off ---------------------------------------------------------------------------------- */

/* Passes bytes on between two sockets, until so many have gone by; then it closes both, or passes
 * nothing on any more. */
struct proxy {
    int listener, ends[2];
    struct sockaddr_in to;
    size_t limit;
    bool silent;
    _Atomic bool stop;
    pthread_t thread;
    char address[40];
};

static void *run_proxy(void *argument)
{
    struct proxy *proxy = argument;
    char bytes[4096];
    size_t passed = 0;
    proxy->ends[0] = accept(proxy->listener, NULL, NULL);
    proxy->ends[1] = socket(AF_INET, SOCK_STREAM, 0);
    if (proxy->ends[0] < 0 ||
        connect(proxy->ends[1], (struct sockaddr *)&proxy->to, sizeof proxy->to))
        return NULL;
    while (passed < proxy->limit && !proxy->stop) {
        struct pollfd polled[2] = {{proxy->ends[0], POLLIN, 0}, {proxy->ends[1], POLLIN, 0}};
        (void)!poll(polled, 2, 20);
        for (int i = 0; i < 2; i++) {
            const size_t left = proxy->limit - passed;
            if (!(polled[i].revents & (POLLIN | POLLHUP)))
                continue;
            const ssize_t got =
                read(proxy->ends[i], bytes, left < sizeof bytes ? left : sizeof bytes);
            if (got <= 0 || send(proxy->ends[!i], bytes, (size_t)got, MSG_NOSIGNAL) != got)
                return NULL;
            passed += (size_t)got;
        }
    }
    while (proxy->silent && !proxy->stop)
        usleep(10000);
    shutdown(proxy->ends[0], SHUT_RDWR);
    shutdown(proxy->ends[1], SHUT_RDWR);
    return NULL;
}

static void start_proxy(struct proxy *proxy, const char *to, size_t limit, bool silent)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    *proxy = (struct proxy){.limit = limit, .silent = silent, .ends = {-1, -1}};
    proxy->to = here;
    proxy->to.sin_port = htons((uint16_t)atoi(strchr(to, ':') + 1));
    proxy->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(proxy->listener, (struct sockaddr *)&here, sizeof here), 0);
    assert_int_equal(listen(proxy->listener, 1), 0);
    assert_int_equal(getsockname(proxy->listener, (struct sockaddr *)&here, &size), 0);
    snprintf(proxy->address, sizeof proxy->address, "127.0.0.1:%d", ntohs(here.sin_port));
    assert_int_equal(pthread_create(&proxy->thread, NULL, run_proxy, proxy), 0);
}

static void stop_proxy(struct proxy *proxy)
{
    proxy->stop = true;
    shutdown(proxy->listener, SHUT_RDWR);
    pthread_join(proxy->thread, NULL);
    for (int i = 0; i < 2; i++)
        if (proxy->ends[i] >= 0)
            close(proxy->ends[i]);
    close(proxy->listener);
}

/* A connection that is cut after limit bytes. True: it was not. */
static bool cut_at(ferry_wire *a, ferry_wire *b, ferry_device *device, ferry_buffer *buffer,
                   size_t limit, bool silent)
{
    struct proxy proxy;
    ferry_peer *to_b = NULL, *to_a = NULL;
    ferry_ticket send = 0, receive = 0;
    enum ferry_status sent = FERRY_ERROR_IO, received = FERRY_ERROR_IO;
    char address[80];
    assert_ok(ferry_wire_address(b, address, sizeof address, NULL));
    start_proxy(&proxy, address, limit, silent);
    if (!ferry_wire_connect(a, proxy.address, LONG_NS, &to_b) &&
        !ferry_wire_accept(b, 10000 * MS, &to_a)) {
        if (!ferry_send_async(to_b, 1, buffer, SIZE, 0, NULL, NULL, &send))
            sent = FERRY_OK;
        if (!ferry_receive_async(to_a, 1, buffer, SIZE, SIZE, NULL, NULL, &receive))
            received = FERRY_OK;
        sent = sent ? sent : ferry_wait(device, send, LONG_NS);
        received = received ? received : ferry_wait(device, receive, LONG_NS);
    }
    assert_true(sent == FERRY_OK || sent == FERRY_ERROR_IO);
    assert_true(received == FERRY_OK || received == FERRY_ERROR_IO);
    ferry_peer_close(to_b);
    ferry_peer_close(to_a);
    stop_proxy(&proxy);
    assert_nothing_left(a);
    assert_nothing_left(b);
    return !sent && !received;
}

static void cut_everywhere(bool silent, size_t step)
{
    ferry_device *device = open_device("host");
    ferry_buffer *buffer = make_buffer(device, 2 * SIZE);
    const struct ferry_wire_params dialling = {
        .heartbeat_ns = 400 * MS, .transports = "tcp", .match_ns = 3000 * MS};
    struct ferry_wire_params listening = dialling;
    ferry_wire *a = NULL, *b = NULL;
    ferry_peer *stale = NULL;
    size_t cut = 0, limit = 0;
    listening.listen = "127.0.0.1:0";
    assert_ok(ferry_zero_buffer(buffer));
    assert_ok(ferry_wire_open(&dialling, &a));
    assert_ok(ferry_wire_open(&listening, &b));
    for (; limit < 20000 && !cut_at(a, b, device, buffer, limit, silent); limit += step) {
        cut++;
        /* One that was open for b, while a saw it cut. */
        while (!ferry_wire_accept(b, 0, &stale))
            ferry_peer_close(stale);
        assert_ok(ferry_zero_buffer(buffer));
    }
    assert_true(cut > 3 && limit < 20000);
    ferry_wire_close(a);
    ferry_wire_close(b);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
}

static void test_cut(void **state)
{
    (void)state;
    cut_everywhere(false, 19);
}

static void test_silent(void **state)
{
    (void)state;
    cut_everywhere(true, 60);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_killed),
                                       cmocka_unit_test(test_stopped), cmocka_unit_test(test_cut),
                                       cmocka_unit_test(test_silent)};
    program = argv[0];
    if (argc > 2)
        return child(argv[1], argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
