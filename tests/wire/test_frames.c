/* Frames, checksums and the handshake, as bytes: no socket, no UCX. */
#include "crc32c.h"
#include "handshake.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* --- checksums -------------------------------------------------------------------------------- */

/* The vectors of RFC 3720, B.4. */
static void test_crc_vectors(void **state)
{
    unsigned char zeros[32] = {0}, ones[32], up[32], down[32];
    (void)state;
    memset(ones, 0xff, sizeof ones);
    for (int i = 0; i < 32; i++) {
        up[i] = (unsigned char)i;
        down[i] = (unsigned char)(31 - i);
    }
    assert_int_equal(ferry__crc32c("123456789", 9), 0xe3069283);
    assert_int_equal(ferry__crc32c(zeros, 32), 0x8a9136aa);
    assert_int_equal(ferry__crc32c(ones, 32), 0x62a8ab43);
    assert_int_equal(ferry__crc32c(up, 32), 0x46dd794e);
    assert_int_equal(ferry__crc32c(down, 32), 0x113fdb5c);
    assert_int_equal(ferry__crc32c("", 0), 0);
}

/* The instruction, three lanes at once, says what tables say, at every length and phase. */
static void test_crc_ways(void **state)
{
    static const size_t sizes[] = {0,    1,    3,    4,    5,    7,    8,     9,     31,
                                   33,   63,   1359, 1360, 1361, 4079, 4080,  4081,  4095,
                                   4096, 4097, 8159, 8160, 8161, 9000, 65537, 200003};
    unsigned char *bytes = malloc(200003 + 16);
    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < 200003 + 16; i++)
        bytes[i] = (unsigned char)(i * 2654435761u >> 13);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t phase = 0; phase < 9; phase++)
            assert_int_equal(ferry__crc32c(bytes + phase, sizes[i]),
                             ferry__crc32c_portable(bytes + phase, sizes[i]));
    const uint32_t before = ferry__crc32c(bytes, 200003);
    bytes[150001] ^= 1;
    assert_int_not_equal(ferry__crc32c(bytes, 200003), before);
    free(bytes);
}

/* --- frames ----------------------------------------------------------------------------------- */

static const uint8_t rest[FERRY_WIRE_PAYLOAD_MAX];

static size_t make(enum ferry__wire_type type, uint8_t *out)
{
    static const size_t rests[FERRY_WIRE_TYPES] = {[FERRY_WIRE_HELLO] = FERRY_WIRE_NONCE,
                                                   [FERRY_WIRE_PROVE] = 100,
                                                   [FERRY_WIRE_REFUSED] = 10,
                                                   [FERRY_WIRE_GOODBYE] = 3,
                                                   [FERRY_WIRE_ANNOUNCE] = FERRY_WIRE_ID,
                                                   [FERRY_WIRE_END] = 5};
    const struct ferry__wire_frame frame = {
        .type = type,
        .magic = FERRY_WIRE_MAGIC,
        .number = UINT64_C(0x1122334455667788),
        .tag = UINT64_MAX,
        .size = UINT64_C(0x8000000000000001),
        .at = 3,
        .credit = 4,
        .features = 5,
        .heartbeat_ms = 6,
        .chunk = UINT32_C(0xfffffffe),
        .flags = 8,
        .version_min = 0x0102,
        .version_max = 0xffff,
        .role = 1,
        .side = 1,
        .status = 13,
        .rest = rest,
        .rest_size = rests[type],
    };
    return ferry__wire_frame_put(out, &frame);
}

static const enum ferry__wire_type types[] = {
    FERRY_WIRE_HELLO,   FERRY_WIRE_PROVE,    FERRY_WIRE_REFUSED, FERRY_WIRE_HEARTBEAT,
    FERRY_WIRE_GOODBYE, FERRY_WIRE_ANNOUNCE, FERRY_WIRE_READY,   FERRY_WIRE_MATCH,
    FERRY_WIRE_CREDIT,  FERRY_WIRE_ACK,      FERRY_WIRE_END};
enum { TYPES = sizeof types / sizeof *types };

static void test_round_trip(void **state)
{
    uint8_t bytes[FERRY_WIRE_FRAME_MAX], again[FERRY_WIRE_FRAME_MAX];
    (void)state;
    for (int i = 0; i < TYPES; i++) {
        struct ferry__wire_frame frame;
        const char *why = NULL;
        size_t used = 0;
        const size_t size = make(types[i], bytes);
        for (size_t cut = 0; cut < size; cut++)
            assert_int_equal(ferry__wire_frame_get(bytes, cut, &frame, &used, &why),
                             FERRY_WIRE_GOT_PART);
        assert_int_equal(ferry__wire_frame_get(bytes, size, &frame, &used, &why),
                         FERRY_WIRE_GOT_FRAME);
        assert_int_equal(used, size);
        assert_int_equal(frame.type, types[i]);
        assert_int_equal(ferry__wire_frame_put(again, &frame), size);
        assert_memory_equal(bytes, again, size);
    }
}

/* As they stand in docs/wire.md, on every machine. */
static void test_layout(void **state)
{
    static const uint8_t credit[] = {28,   0,    0,    0,    21,   0,    0,    0, /* header */
                                     0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
                                     4,    0,    0,    0,    0,    0,    0,    0, /* credit */
                                     3,    0,    0,    0,    0,    0,    0,    0, /* at */
                                     0xfe, 0xff, 0xff, 0xff};                     /* size */
    uint8_t bytes[FERRY_WIRE_FRAME_MAX];
    (void)state;
    assert_int_equal(make(FERRY_WIRE_CREDIT, bytes), sizeof credit);
    assert_memory_equal(bytes, credit, sizeof credit);
    assert_int_equal(make(FERRY_WIRE_HELLO, bytes), FERRY_WIRE_HEADER + 24 + FERRY_WIRE_NONCE);
    assert_memory_equal(bytes + FERRY_WIRE_HEADER, "FERYWIRE", 8);
}

/* A payload a byte short, a byte long, or longer than any. */
static void test_wrong_sizes(void **state)
{
    static uint8_t bytes[FERRY_WIRE_FRAME_MAX + 16];
    (void)state;
    for (int i = 0; i < TYPES; i++) {
        struct ferry__wire_frame frame;
        const char *why = NULL;
        size_t used = 0, wrong = 0;
        const size_t size = make(types[i], bytes) - FERRY_WIRE_HEADER;
        for (size_t payload = 0; payload <= FERRY_WIRE_PAYLOAD_MAX + 1; payload++) {
            ferry__wire_put(bytes, payload, 4);
            const enum ferry__wire_got got =
                ferry__wire_frame_get(bytes, sizeof bytes, &frame, &used, &why);
            assert_true(got == FERRY_WIRE_GOT_FRAME || got == FERRY_WIRE_GOT_WRONG);
            if (payload == size)
                assert_int_equal(got, FERRY_WIRE_GOT_FRAME);
            if (got == FERRY_WIRE_GOT_WRONG)
                assert_true(why && *why);
            wrong += got == FERRY_WIRE_GOT_WRONG;
        }
        assert_true(wrong > 0);
        ferry__wire_put(bytes, UINT32_MAX, 4);
        assert_int_equal(ferry__wire_frame_get(bytes, sizeof bytes, &frame, &used, &why),
                         FERRY_WIRE_GOT_WRONG);
    }
}

/* A later version's frames are skipped by their length, but not without end. */
static void test_unknown(void **state)
{
    uint8_t bytes[FERRY_WIRE_HEADER] = {0};
    struct ferry__wire_frame frame;
    const char *why = NULL;
    size_t used = 0;
    (void)state;
    for (unsigned type = 0; type < 0x10000; type++) {
        bool known = false;
        for (int i = 0; i < TYPES; i++)
            known |= type == (unsigned)types[i];
        ferry__wire_put(bytes, 70000, 4);
        ferry__wire_put(bytes + 4, type, 2);
        assert_int_equal(ferry__wire_frame_get(bytes, sizeof bytes, &frame, &used, &why),
                         known ? FERRY_WIRE_GOT_WRONG : FERRY_WIRE_GOT_UNKNOWN);
        if (!known)
            assert_int_equal(used, FERRY_WIRE_HEADER + 70000);
    }
    ferry__wire_put(bytes, FERRY_WIRE_SKIPPED_MAX + 1, 4);
    assert_int_equal(ferry__wire_frame_get(bytes, sizeof bytes, &frame, &used, &why),
                     FERRY_WIRE_GOT_WRONG);
}

/* --- the handshake ---------------------------------------------------------------------------- */

static struct ferry__wire_secret secret = {.size = 32, .bytes = "abcdefghijklmnopqrstuvwxyz012345"},
                                 other = {.size = 32, .bytes = "abcdefghijklmnopqrstuvwxyz012346"},
                                 none;

struct side {
    struct ferry__wire_handshake handshake;
    uint8_t hello[FERRY_WIRE_FRAME_MAX], prove[FERRY_WIRE_FRAME_MAX];
    size_t hello_size, prove_size;
};

struct both {
    struct side client, server;
};

static struct ferry__wire_frame parse(const uint8_t *bytes, size_t size)
{
    struct ferry__wire_frame frame = {.type = FERRY_WIRE_TYPES};
    const char *why = NULL;
    size_t used = 0;
    if (ferry__wire_frame_get(bytes, size, &frame, &used, &why) != FERRY_WIRE_GOT_FRAME)
        frame.type = FERRY_WIRE_TYPES;
    return frame;
}

static enum ferry_status hello_to(struct side *to, const uint8_t *bytes, size_t size)
{
    char why[FERRY_WIRE_WHY_MAX] = "";
    const struct ferry__wire_frame frame = parse(bytes, size);
    if (frame.type != FERRY_WIRE_HELLO)
        return FERRY_ERROR_IO;
    const enum ferry_status status = ferry__wire_hello_came(&to->handshake, &frame, why);
    assert_int_equal(!status, !why[0]);
    return status;
}

static enum ferry_status prove_to(struct side *to, const uint8_t *bytes, size_t size)
{
    char why[FERRY_WIRE_WHY_MAX] = "";
    const struct ferry__wire_frame frame = parse(bytes, size);
    if (frame.type != FERRY_WIRE_PROVE)
        return FERRY_ERROR_IO;
    const enum ferry_status status = ferry__wire_prove_came(&to->handshake, &frame, why);
    assert_int_equal(!status, !why[0]);
    return status;
}

static void greet(struct both *both, const struct ferry__wire_secret *clients,
                  const struct ferry__wire_secret *servers)
{
    both->client.hello_size = ferry__wire_hello(&both->client.handshake, FERRY_WIRE_CLIENT, clients,
                                                1000, both->client.hello);
    both->server.hello_size = ferry__wire_hello(&both->server.handshake, FERRY_WIRE_SERVER, servers,
                                                2000, both->server.hello);
    assert_true(both->client.hello_size && both->server.hello_size);
}

static void prove(struct side *side, const char *address)
{
    side->prove_size = ferry__wire_prove(&side->handshake, address, strlen(address), side->prove);
    assert_true(side->prove_size);
}

/* All of it, as it should be. */
static void shake(struct both *both)
{
    greet(both, &secret, &secret);
    assert_int_equal(hello_to(&both->server, both->client.hello, both->client.hello_size), 0);
    assert_int_equal(hello_to(&both->client, both->server.hello, both->server.hello_size), 0);
    prove(&both->client, "the client's worker");
    assert_int_equal(prove_to(&both->server, both->client.prove, both->client.prove_size), 0);
    prove(&both->server, "the server's");
    assert_int_equal(prove_to(&both->client, both->server.prove, both->server.prove_size), 0);
}

static struct both one, two;

static void test_handshake(void **state)
{
    (void)state;
    shake(&one);
    assert_int_equal(one.client.handshake.heartbeat_ms, 2000);
    assert_int_equal(one.server.handshake.heartbeat_ms, 1000);
    assert_int_equal(one.server.handshake.address_sizes[FERRY_WIRE_CLIENT], 19);
    assert_memory_equal(one.server.handshake.addresses[FERRY_WIRE_CLIENT], "the client's worker",
                        19);
    assert_memory_equal(one.client.handshake.addresses[FERRY_WIRE_SERVER], "the server's", 12);
}

static void test_wrong_secret(void **state)
{
    (void)state;
    greet(&one, &secret, &other);
    assert_int_equal(hello_to(&one.server, one.client.hello, one.client.hello_size), 0);
    assert_int_equal(hello_to(&one.client, one.server.hello, one.server.hello_size), 0);
    prove(&one.client, "x");
    assert_int_equal(prove_to(&one.server, one.client.prove, one.client.prove_size),
                     FERRY_ERROR_IO);
    prove(&one.server, "y");
    assert_int_equal(prove_to(&one.client, one.server.prove, one.server.prove_size),
                     FERRY_ERROR_IO);
    /* One side without any. */
    greet(&one, &secret, &none);
    assert_int_equal(hello_to(&one.server, one.client.hello, one.client.hello_size),
                     FERRY_ERROR_IO);
    assert_int_equal(hello_to(&one.client, one.server.hello, one.server.hello_size),
                     FERRY_ERROR_IO);
}

/* What was said in another handshake proves nothing in this one. */
static void test_replay(void **state)
{
    (void)state;
    shake(&one);
    greet(&two, &secret, &secret);
    assert_int_equal(hello_to(&two.server, one.client.hello, one.client.hello_size), 0);
    assert_int_equal(prove_to(&two.server, one.client.prove, one.client.prove_size),
                     FERRY_ERROR_IO);
    greet(&two, &secret, &secret);
    assert_int_equal(hello_to(&two.client, one.server.hello, one.server.hello_size), 0);
    prove(&two.client, "the client's worker");
    assert_int_equal(prove_to(&two.client, one.server.prove, one.server.prove_size),
                     FERRY_ERROR_IO);
}

/* A side's own words sent back to it. */
static void test_reflection(void **state)
{
    (void)state;
    greet(&one, &secret, &secret);
    assert_int_equal(hello_to(&one.client, one.client.hello, one.client.hello_size),
                     FERRY_ERROR_IO);
    assert_int_equal(hello_to(&one.server, one.server.hello, one.server.hello_size),
                     FERRY_ERROR_IO);
    /* With the role changed it is taken, and the proof is not. */
    ferry__wire_put(one.client.hello + FERRY_WIRE_HEADER + 12, FERRY_WIRE_SERVER, 2);
    assert_int_equal(hello_to(&one.client, one.client.hello, one.client.hello_size), 0);
    prove(&one.client, "x");
    assert_int_equal(prove_to(&one.client, one.client.prove, one.client.prove_size),
                     FERRY_ERROR_IO);
}

static void test_versions(void **state)
{
    static const struct {
        unsigned min, max;
        enum ferry_status status;
    } versions[] = {{1, 1, FERRY_OK},
                    {0, 9, FERRY_OK},
                    {2, 9, FERRY_ERROR_UNSUPPORTED},
                    {0, 0, FERRY_ERROR_UNSUPPORTED},
                    {0xffff, 0xffff, FERRY_ERROR_UNSUPPORTED}};
    (void)state;
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        greet(&one, &secret, &secret);
        ferry__wire_put(one.client.hello + FERRY_WIRE_HEADER + 8, versions[i].min, 2);
        ferry__wire_put(one.client.hello + FERRY_WIRE_HEADER + 10, versions[i].max, 2);
        assert_int_equal(hello_to(&one.server, one.client.hello, one.client.hello_size),
                         versions[i].status);
    }
}

/* Each bit of each frame, turned on its way: nobody is let in. So no version, feature, role, nonce or
 * address can be changed by whoever stands between. */
static void turn_each_bit(int which)
{
    for (size_t bit = 0;; bit++) {
        greet(&one, &secret, &secret);
        struct side *from = which % 2 ? &one.server : &one.client;
        if (which < 2) {
            if (bit >= 8 * from->hello_size)
                return;
            from->hello[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        enum ferry_status status = hello_to(&one.server, one.client.hello, one.client.hello_size);
        if (!status)
            status = hello_to(&one.client, one.server.hello, one.server.hello_size);
        if (status)
            continue;
        prove(&one.client, "address");
        if (which == 2) {
            if (bit >= 8 * one.client.prove_size)
                return;
            one.client.prove[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        status = prove_to(&one.server, one.client.prove, one.client.prove_size);
        if (status)
            continue;
        prove(&one.server, "address");
        if (which == 3) {
            if (bit >= 8 * one.server.prove_size)
                return;
            one.server.prove[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        status = prove_to(&one.client, one.server.prove, one.server.prove_size);
        /* Two bytes of a header mean nothing, and are in no proof. */
        if (bit / 8 != 6 && bit / 8 != 7)
            assert_int_not_equal(status, FERRY_OK);
    }
}

static void test_every_bit(void **state)
{
    (void)state;
    for (int which = 0; which < 4; which++)
        turn_each_bit(which);
}

/* --- secrets ---------------------------------------------------------------------------------- */

static enum ferry_status read_secret(const char *bytes, size_t size, struct ferry__wire_secret *out)
{
    char path[] = "/tmp/ferry-secret-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    close(fd);
    const enum ferry_status status = ferry__wire_secret_read(out, path);
    unlink(path);
    return status;
}

static void test_secret_files(void **state)
{
    static struct ferry__wire_secret got;
    static char large[FERRY_WIRE_SECRET_MAX + 2];
    (void)state;
    memset(large, 'x', sizeof large);
    assert_int_equal(read_secret("0123456789abcdef\n", 17, &got), FERRY_OK);
    assert_int_equal(got.size, 16);
    assert_memory_equal(got.bytes, "0123456789abcdef", 16);
    assert_int_equal(read_secret("0123456789abcdef\n\n", 18, &got), FERRY_OK);
    assert_int_equal(got.size, 17);
    assert_int_equal(read_secret("0123456789abcde\n", 16, &got), FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(got.size, 0);
    assert_int_equal(read_secret("", 0, &got), FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(read_secret(large, FERRY_WIRE_SECRET_MAX, &got), FERRY_OK);
    assert_int_equal(read_secret(large, FERRY_WIRE_SECRET_MAX + 1, &got),
                     FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(ferry__wire_secret_read(&got, "/nowhere/at/all"),
                     FERRY_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(ferry_last_error(), "/nowhere/at/all"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc_vectors), cmocka_unit_test(test_crc_ways),
        cmocka_unit_test(test_round_trip),  cmocka_unit_test(test_layout),
        cmocka_unit_test(test_wrong_sizes), cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_handshake),   cmocka_unit_test(test_wrong_secret),
        cmocka_unit_test(test_replay),      cmocka_unit_test(test_reflection),
        cmocka_unit_test(test_versions),    cmocka_unit_test(test_every_bit),
        cmocka_unit_test(test_secret_files)};
    if (ferry__wire_crypto_start()) {
        printf("%s\n", ferry_last_error());
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
