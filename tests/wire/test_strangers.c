/* Whoever reaches the port: noise, silence, frames at the wrong time, other versions and secrets; and
 * a peer that has proved itself and then sends anything. The wire refuses them in bounded time, and
 * is good for others all the while. */
#include "pair.h"

#include "control.h"
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <unistd.h>

static char secret_path[64], other_path[64];
static ferry_wire *wire;
static char address[80];
static struct sockaddr_in place;

static void write_secret(char *path, size_t capacity, const char *text)
{
    snprintf(path, capacity, "/tmp/ferry-test-XXXXXX");
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static int open_all(void **state)
{
    (void)state;
    write_secret(secret_path, sizeof secret_path, "0123456789abcdef0123456789abcdef\n");
    write_secret(other_path, sizeof other_path, "another one, of which nobody knows\n");
    const struct ferry_wire_params params = {
        .listen = "127.0.0.1:0", .secret_file = secret_path, .transports = "tcp"};
    assert_ok(ferry_wire_open(&params, &wire));
    assert_ok(ferry_wire_address(wire, address, sizeof address, NULL));
    place = (struct sockaddr_in){.sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                 .sin_port = htons((uint16_t)atoi(strchr(address, ':') + 1))};
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    ferry_wire_close(wire);
    unlink(secret_path);
    unlink(other_path);
    return 0;
}

static int dial(void)
{
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const struct timeval long_time = {.tv_sec = 60};
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &long_time, sizeof long_time);
    assert_int_equal(connect(fd, (struct sockaddr *)&place, sizeof place), 0);
    return fd;
}

/* Reads until the other side has closed; how much came. A minute at most. */
static size_t read_to_end(int fd, unsigned char *out, size_t capacity)
{
    size_t size = 0;
    for (;;) {
        unsigned char byte[256];
        const ssize_t got = recv(fd, byte, sizeof byte, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            assert_true(errno == ECONNRESET || errno == EPIPE);
        if (got <= 0)
            return size;
        for (ssize_t i = 0; i < got; i++)
            if (size < capacity)
                out[size++] = byte[i];
    }
}

/* A wire with the secret connects, and both say goodbye. */
static void still_good(void)
{
    const struct ferry_wire_params params = {.secret_file = secret_path, .transports = "tcp"};
    ferry_wire *other = NULL;
    ferry_peer *out = NULL, *in = NULL;
    const uint64_t begin = now_ns();
    assert_ok(ferry_wire_open(&params, &other));
    /* While strangers take up all the places for them, it may have to try again. */
    enum ferry_status status = FERRY_ERROR_IO;
    while (status == FERRY_ERROR_IO && now_ns() - begin < LONG_NS) {
        status = ferry_wire_connect(other, address, LONG_NS, &out);
        if (status)
            usleep(100000);
    }
    assert_ok(status);
    assert_ok(ferry_wire_accept(wire, LONG_NS, &in));
    ferry_peer_close(in);
    ferry_wire_close(other);
}

/* --- noise ------------------------------------------------------------------------------------ */

static uint64_t random_state = 7;

static unsigned char random_byte(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned char)(random_state >> 33);
}

static void test_noise(void **state)
{
    static const char *const texts[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                                        "SSH-2.0-OpenSSH_9.2\r\n",
                                        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                                        "FERYWIRE",
                                        "0123456789abcdef0",
                                        "0123456789abc"};
    unsigned char bytes[6000], got[4096];
    (void)state;
    for (size_t i = 0; i < 300; i++) {
        const int fd = dial();
        size_t size = i * 17 % 5000 + 1;
        for (size_t at = 0; at < size; at++)
            bytes[at] = random_byte();
        if (i < sizeof texts / sizeof *texts) {
            size = strlen(texts[i]);
            memcpy(bytes, texts[i], size);
        }
        /* A header that could be one of ours, before the noise. */
        if (i % 3 == 0 && size > 8) {
            ferry__wire_put(bytes, size - 8, 4);
            ferry__wire_put(bytes + 4, i % 30, 2);
        }
        (void)!send(fd, bytes, size, MSG_NOSIGNAL);
        shutdown(fd, SHUT_WR);
        read_to_end(fd, got, sizeof got);
        close(fd);
    }
    still_good();
}

/* More than 4 KiB of frames that may be skipped, from somebody who proves nothing. */
static void test_unproven_bytes(void **state)
{
    unsigned char header[8], zeros[1024] = {0}, got[4096];
    (void)state;
    const int fd = dial();
    ferry__wire_put(header, 1 << 20, 4);
    ferry__wire_put(header + 4, 1000, 2);
    ferry__wire_put(header + 6, 0, 2);
    assert_int_equal(send(fd, header, 8, MSG_NOSIGNAL), 8);
    for (int i = 0; i < 1024; i++)
        if (send(fd, zeros, sizeof zeros, MSG_NOSIGNAL) < 0)
            break;
    read_to_end(fd, got, sizeof got);
    close(fd);
    still_good();
}

static void test_thousand(void **state)
{
    enum { N = 1000 };
    static int fds[N];
    struct rlimit limit;
    unsigned char got[256];
    struct ferry_wire_stats before, after;
    (void)state;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 2 * N + 100)
        skip();
    ferry_wire_get_stats(wire, &before, sizeof before);
    for (int i = 0; i < N; i++)
        fds[i] = dial();
    for (int i = 0; i < N; i++) {
        read_to_end(fds[i], got, sizeof got);
        close(fds[i]);
    }
    ferry_wire_get_stats(wire, &after, sizeof after);
    assert_int_equal(after.refused - before.refused, N);
    still_good();
}

/* --- a handshake by hand ---------------------------------------------------------------------- */

struct stranger {
    int fd;
    struct ferry__wire_handshake handshake;
    struct ferry__wire_secret secret;
    unsigned char bytes[FERRY_WIRE_FRAME_MAX];
    size_t size;
};

static struct stranger stranger;

static void send_bytes(const void *bytes, size_t size)
{
    assert_int_equal(send(stranger.fd, bytes, size, MSG_NOSIGNAL), size);
}

/* The next frame that comes; its type is FERRY_WIRE_TYPES when the connection is over. */
static struct ferry__wire_frame next_frame(void)
{
    struct ferry__wire_frame frame = {.type = FERRY_WIRE_TYPES};
    size_t used = 0;
    const char *why = NULL;
    stranger.size = 0;
    while (stranger.size < sizeof stranger.bytes &&
           recv(stranger.fd, stranger.bytes + stranger.size, 1, 0) == 1) {
        stranger.size++;
        if (ferry__wire_frame_get(stranger.bytes, stranger.size, &frame, &used, &why) ==
            FERRY_WIRE_GOT_FRAME)
            return frame;
    }
    frame.type = FERRY_WIRE_TYPES;
    return frame;
}

static size_t begin_stranger(const char *secret, unsigned char *hello)
{
    stranger.fd = dial();
    assert_ok(ferry__wire_secret_read(&stranger.secret, secret));
    return ferry__wire_hello(&stranger.handshake, FERRY_WIRE_CLIENT, &stranger.secret, 1000, hello);
}

static void assert_refused(enum ferry_status status, const char *words)
{
    const struct ferry__wire_frame frame = next_frame();
    char text[FERRY_WIRE_WORDS_MAX + 1] = "";
    assert_int_equal(frame.type, FERRY_WIRE_REFUSED);
    assert_int_equal(frame.status, status);
    memcpy(text, frame.rest, frame.rest_size);
    if (!strstr(text, words))
        fail_msg("\"%s\" does not say \"%s\"", text, words);
    assert_int_equal(next_frame().type, FERRY_WIRE_TYPES);
    close(stranger.fd);
}

static void test_version(void **state)
{
    unsigned char hello[FERRY_WIRE_FRAME_MAX];
    (void)state;
    const size_t size = begin_stranger(secret_path, hello);
    ferry__wire_put(hello + FERRY_WIRE_HEADER + 8, 2, 2);
    ferry__wire_put(hello + FERRY_WIRE_HEADER + 10, 9, 2);
    send_bytes(hello, size);
    assert_refused(FERRY_ERROR_UNSUPPORTED, "versions 2 to 9");
}

static void test_wrong_proof(void **state)
{
    unsigned char bytes[FERRY_WIRE_FRAME_MAX];
    char why[FERRY_WIRE_WHY_MAX];
    (void)state;
    send_bytes(bytes, 0 * begin_stranger(other_path, bytes));
    send_bytes(bytes, stranger.handshake.hello_sizes[FERRY_WIRE_CLIENT]);
    const struct ferry__wire_frame hello = next_frame();
    assert_int_equal(hello.type, FERRY_WIRE_HELLO);
    assert_ok(ferry__wire_hello_came(&stranger.handshake, &hello, why));
    send_bytes(bytes, ferry__wire_prove(&stranger.handshake, "address", 7, bytes));
    assert_refused(FERRY_ERROR_IO, "the same secret");
    still_good();
}

/* Each frame at each time before the proof. */
static void test_out_of_turn(void **state)
{
    (void)state;
    for (int type = 1; type < FERRY_WIRE_TYPES; type++)
        for (int later = 0; later < 2; later++) {
            static const uint8_t rest[64];
            unsigned char bytes[FERRY_WIRE_FRAME_MAX];
            const struct ferry__wire_frame frame = {
                .type = (enum ferry__wire_type)type, .rest = rest, .rest_size = 50};
            if ((type > FERRY_WIRE_REFUSED && type < FERRY_WIRE_HEARTBEAT) ||
                type == FERRY_WIRE_HELLO || (later && type == FERRY_WIRE_PROVE))
                continue;
            const size_t size = begin_stranger(secret_path, bytes);
            if (later) {
                send_bytes(bytes, size);
                assert_int_equal(next_frame().type, FERRY_WIRE_HELLO);
            }
            send_bytes(bytes, ferry__wire_frame_put(bytes, &frame));
            const struct ferry__wire_frame answer = next_frame();
            assert_true(answer.type == FERRY_WIRE_REFUSED || answer.type == FERRY_WIRE_TYPES);
            close(stranger.fd);
        }
    still_good();
}

/* --- a peer that has proved itself, and sends anything ---------------------------------------- */

static struct ferry__wire_request *
no_piece(void *user, const struct ferry__wire_piece_header *piece, size_t size)
{
    (void)user;
    (void)piece;
    (void)size;
    return NULL;
}

static void nothing(void *user, struct ferry__wire_request *request, bool good)
{
    (void)user;
    (void)request;
    (void)good;
}

static struct ferry__wire_link rogue;

/* Proves itself, with a worker of its own, and waits until the data connection is there. */
static void become_peer(struct ferry__wire_context *context)
{
    static const struct ferry__wire_link_events events = {no_piece, nothing, nothing};
    unsigned char bytes[FERRY_WIRE_FRAME_MAX];
    char why[FERRY_WIRE_WHY_MAX];
    void *worker = NULL;
    size_t size = 0;
    const size_t hello_size = begin_stranger(secret_path, bytes);
    send_bytes(bytes, hello_size);
    const struct ferry__wire_frame hello = next_frame();
    assert_int_equal(hello.type, FERRY_WIRE_HELLO);
    assert_ok(ferry__wire_hello_came(&stranger.handshake, &hello, why));
    assert_ok(ferry__wire_link_open(&rogue, context, &events, NULL, &worker, &size));
    send_bytes(bytes, ferry__wire_prove(&stranger.handshake, worker, size, bytes));
    ferry__wire_link_address_free(&rogue, worker);
    const struct ferry__wire_frame proof = next_frame();
    assert_int_equal(proof.type, FERRY_WIRE_PROVE);
    assert_ok(ferry__wire_prove_came(&stranger.handshake, &proof, why));
    assert_ok(ferry__wire_link_connect(&rogue, stranger.handshake.addresses[FERRY_WIRE_SERVER]));
    int connected = 0;
    while (!(connected = ferry__wire_link_connected(&rogue)))
        ferry__wire_link_progress(&rogue);
    assert_int_equal(connected, 1);
}

/* A frame of any type, its fields near to what could be right. */
static size_t any_frame(unsigned char *out)
{
    static uint8_t rest[64];
    for (size_t i = 0; i < sizeof rest; i++)
        rest[i] = random_byte();
    struct ferry__wire_frame frame = {.type = FERRY_WIRE_HEARTBEAT + random_byte() % 8,
                                      .number = random_byte() % 4,
                                      .tag = random_byte() % 4,
                                      .size = random_byte() % 3 ? random_byte() * 5u : UINT64_MAX,
                                      .at = random_byte() % 8 ? 0 : random_byte(),
                                      .credit = random_byte() % 4,
                                      .chunk = random_byte() % 4 ? random_byte() * 4096u : 0,
                                      .flags = random_byte() % 2,
                                      .side = random_byte() % 3,
                                      .status = random_byte() % 16,
                                      .rest = rest,
                                      .rest_size = random_byte() % 64};
    if (frame.type == FERRY_WIRE_ANNOUNCE)
        frame.rest_size = FERRY_WIRE_ID;
    if (frame.type == FERRY_WIRE_GOODBYE && random_byte() % 8)
        frame.type = FERRY_WIRE_HEARTBEAT;
    const size_t size = ferry__wire_frame_put(out, &frame);
    if (random_byte() % 16 == 0)
        out[random_byte() % size] ^= (unsigned char)(1 << random_byte() % 8);
    return size;
}

static void test_rogue(void **state)
{
    struct ferry__wire_ucp_settings settings = {.transports = "tcp", .devices = "lo"};
    struct ferry__wire_context *context = NULL;
    ferry_device *device = open_device("host");
    ferry_buffer *buffer = make_buffer(device, 4096);
    (void)state;
    assert_ok(ferry__wire_context_open(&settings, &context));
    for (int turn = 0; turn < 40; turn++) {
        ferry_peer *peer = NULL;
        ferry_ticket tickets[8];
        become_peer(context);
        assert_ok(ferry_wire_accept(wire, LONG_NS, &peer));
        for (size_t i = 0; i < 4; i++) {
            if (ferry_send_async(peer, i, buffer, 100 + i, 0, NULL, NULL, &tickets[i]))
                tickets[i] = 0;
            if (ferry_receive_async(peer, i, buffer, 5 * i, 0, NULL, NULL, &tickets[4 + i]))
                tickets[4 + i] = 0;
        }
        for (int i = 0; i < 60; i++) {
            unsigned char bytes[FERRY_WIRE_FRAME_MAX];
            const size_t size = any_frame(bytes);
            if (send(stranger.fd, bytes, size, MSG_NOSIGNAL) < 0)
                break;
        }
        close(stranger.fd);
        /* It is gone: all that was begun with it ends. */
        for (int i = 0; i < 8; i++)
            assert_int_not_equal(ferry_wait(device, tickets[i], LONG_NS), FERRY_ERROR_TIMEOUT);
        ferry_peer_close(peer);
        ferry__wire_link_close(&rogue);
    }
    ferry__wire_context_close(context);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    still_good();
}

/* What a peer says last may come later than the end of its data connection, which goes another way. It
 * has a second; one that has not had it is no proof. */
static void test_last_words(void **state)
{
    struct ferry__wire_ucp_settings settings = {.transports = "tcp", .devices = "lo"};
    struct ferry__wire_context *context = NULL;
    struct ferry_peer_info info;
    bool heard = false;
    (void)state;
    assert_ok(ferry__wire_context_open(&settings, &context));
    for (int turn = 0; turn < 20 && !heard; turn++) {
        const struct ferry__wire_frame goodbye = {
            .type = FERRY_WIRE_GOODBYE, .rest = (const uint8_t *)"it is late", .rest_size = 10};
        unsigned char bytes[FERRY_WIRE_FRAME_MAX];
        ferry_peer *peer = NULL;
        become_peer(context);
        assert_ok(ferry_wire_accept(wire, LONG_NS, &peer));
        ferry__wire_link_close(&rogue);
        usleep(300000);
        (void)!send(stranger.fd, bytes, ferry__wire_frame_put(bytes, &goodbye), MSG_NOSIGNAL);
        do {
            usleep(1000);
            ferry_peer_get_info(peer, &info);
        } while (info.there);
        heard = strstr(info.reason, "it is late");
        close(stranger.fd);
        ferry_peer_close(peer);
    }
    assert_true(heard);
    /* And if it says nothing the data connection is the reason. */
    ferry_peer *peer = NULL;
    become_peer(context);
    assert_ok(ferry_wire_accept(wire, LONG_NS, &peer));
    ferry__wire_link_close(&rogue);
    do {
        usleep(1000);
        ferry_peer_get_info(peer, &info);
    } while (info.there);
    assert_non_null(strstr(info.reason, "data connection failed"));
    close(stranger.fd);
    ferry_peer_close(peer);
    ferry__wire_context_close(context);
    still_good();
}

/* --- secrets ---------------------------------------------------------------------------------- */

static void test_other_secret(void **state)
{
    ferry_wire *other = NULL;
    ferry_peer *peer = NULL;
    (void)state;
    const struct ferry_wire_params wrong = {.secret_file = other_path, .transports = "tcp"};
    assert_ok(ferry_wire_open(&wrong, &other));
    assert_int_equal(ferry_wire_connect(other, address, LONG_NS, &peer), FERRY_ERROR_IO);
    assert_non_null(strstr(ferry_last_error(), "same secret"));
    ferry_wire_close(other);
    assert_ok(ferry_wire_open(&(struct ferry_wire_params){.transports = "tcp"}, &other));
    assert_int_equal(ferry_wire_connect(other, address, LONG_NS, &peer), FERRY_ERROR_IO);
    assert_non_null(strstr(ferry_last_error(), "has a secret"));
    ferry_wire_close(other);
    still_good();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_noise),       cmocka_unit_test(test_unproven_bytes),
        cmocka_unit_test(test_version),     cmocka_unit_test(test_wrong_proof),
        cmocka_unit_test(test_out_of_turn), cmocka_unit_test(test_rogue),
        cmocka_unit_test(test_last_words),  cmocka_unit_test(test_other_secret),
        cmocka_unit_test(test_thousand)};
    return cmocka_run_group_tests(tests, open_all, close_all);
}
