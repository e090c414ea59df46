/* HMAC-SHA256 of OpenSSL's libcrypto, opened when it is first needed; secrets; random bytes. */
#ifndef FERRY_WIRE_CRYPTO_H
#define FERRY_WIRE_CRYPTO_H

#include <ferry/ferry.h>

enum {
    FERRY_WIRE_MAC = 32,
    FERRY_WIRE_SECRET_MIN = 16,
    FERRY_WIRE_SECRET_MAX = 4096,
};

struct ferry__wire_secret {
    size_t size; /* 0: none */
    unsigned char bytes[FERRY_WIRE_SECRET_MAX + 2];
};

/* UNSUPPORTED: there is no libcrypto. */
enum ferry_status ferry__wire_crypto_start(void);

enum ferry_status ferry__wire_secret_read(struct ferry__wire_secret *secret, const char *file);

/* False: libcrypto failed. */
bool ferry__wire_mac(const struct ferry__wire_secret *secret, const void *bytes, size_t size,
                     unsigned char out[FERRY_WIRE_MAC]);

/* In a time that does not depend on where they differ. */
bool ferry__wire_equal(const unsigned char *a, const unsigned char *b, size_t size);

bool ferry__wire_random(void *out, size_t size); /* at most 256 bytes */

/* Overwrites, also where nobody reads it any more. */
void ferry__wire_wipe(void *bytes, size_t size);

#endif
