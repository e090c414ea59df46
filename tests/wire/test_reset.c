/* The network resets a connection that bytes are being sent on, at each of the sends: what was on its
 * way ends, both sides hear of it, and the process lives. UCX finds this program's own calls where it
 * looks for libc's. */
#include "pair.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SIZE = (1 << 20) + 5, LARGE = 8 << 10, MOST = 20, FDS = 1024 };

static _Atomic unsigned sends, fails_at; /* of the sends that go on with what a socket had no room
                                            for; 0: none fails */
static _Atomic bool unfinished[FDS];

/* Of many bytes a socket takes a part at a time here. The peer's reset has come in between two looks at the socket. */
static bool is_reset(int fd, size_t size)
{
    if (size < LARGE || !fails_at || fd >= FDS || !unfinished[fd] || ++sends != fails_at)
        return false;
    shutdown(fd, SHUT_RDWR);
    errno = ECONNRESET;
    return true;
}

static ssize_t after(int fd, size_t size, ssize_t sent)
{
    if (fd < FDS)
        unfinished[fd] = sent < (ssize_t)size;
    return sent;
}

#define EXPORTED __attribute__((visibility("default")))

EXPORTED ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
    const size_t part = size < LARGE ? size : size / 2;
    if (is_reset(fd, size))
        return -1;
    return after(fd, size, syscall(SYS_sendto, fd, bytes, part, flags, NULL, 0));
}

EXPORTED ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    size_t size = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        size += message->msg_iov[i].iov_len;
    if (is_reset(fd, size))
        return -1;
    struct msghdr part = *message;
    struct iovec first = message->msg_iov[0];
    if (size >= LARGE) {
        first.iov_len = first.iov_len < LARGE ? first.iov_len : first.iov_len / 2;
        part.msg_iov = &first;
        part.msg_iovlen = 1;
    }
    return after(fd, size, syscall(SYS_sendmsg, fd, &part, flags));
}

/* Both ways at once, the n-th send fails. False: there were not so many. */
static bool lose_connection(ferry_device *device, ferry_buffer *buffer, unsigned n)
{
    static const struct ferry_wire_params params = {
        .match_ns = LONG_NS, .stall_ns = LONG_NS, .transports = "tcp"};
    struct pair pair;
    ferry_ticket tickets[4];
    unsigned failed = 0;
    open_pair(&pair, &params, &params);
    sends = 0;
    fails_at = n;
    assert_ok(ferry_receive_async(pair.to_a, 1, buffer, SIZE, 0, NULL, NULL, &tickets[0]));
    assert_ok(ferry_receive_async(pair.to_b, 2, buffer, SIZE, SIZE, NULL, NULL, &tickets[1]));
    assert_ok(ferry_send_async(pair.to_b, 1, buffer, SIZE, 2 * SIZE, NULL, NULL, &tickets[2]));
    assert_ok(ferry_send_async(pair.to_a, 2, buffer, SIZE, 3 * SIZE, NULL, NULL, &tickets[3]));
    for (int i = 0; i < 4; i++) {
        const enum ferry_status status = ferry_wait(device, tickets[i], LONG_NS);
        failed += status != FERRY_OK;
        if (status && status != FERRY_ERROR_IO)
            fail_msg("send %u: %s: %s", n, ferry_status_name(status), ferry_last_error());
    }
    fails_at = 0;
    const bool was_reset = sends >= n;
    assert_true(was_reset || !failed);
    close_pair(&pair);
    assert_ok(ferry_zero_buffer(buffer));
    return was_reset;
}

static void test_reset(void **state)
{
    (void)state;
    ferry_device *device = open_device("host");
    ferry_buffer *buffer = make_buffer(device, 4 * (size_t)SIZE);
    unsigned n = 1;
    assert_ok(ferry_zero_buffer(buffer));
    /* Each loss takes a second: both sides wait for the other's last words. */
    while (n < MOST && lose_connection(device, buffer, n))
        n *= 2;
    assert_true(n >= MOST);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reset)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
