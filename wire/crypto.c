#include "crypto.h"

#include "words.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* Two functions that every version of OpenSSL since 1.1 has as they are here. */
static struct {
    const void *(*sha256)(void);
    unsigned char *(*hmac)(const void *digest, const void *key, int key_size,
                           const unsigned char *bytes, size_t size, unsigned char *out,
                           unsigned *out_size);
} crypto;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void open_library(void)
{
    static const char *const names[] = {"libcrypto.so.3", "libcrypto.so.1.1", "libcrypto.3.dylib"};
    void *library = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library)
        return;
    *(void **)&crypto.sha256 = dlsym(library, "EVP_sha256");
    *(void **)&crypto.hmac = dlsym(library, "HMAC");
}

enum ferry_status ferry__wire_crypto_start(void)
{
    pthread_once(&once, open_library);
    if (crypto.sha256 && crypto.hmac)
        return FERRY_OK;
    return ferry__wire_fail(FERRY_ERROR_UNSUPPORTED,
                            "the wire needs OpenSSL's libcrypto (Debian: libssl3), which is not "
                            "here");
}

/* What a read system call gives, until the end or capacity. */
static ssize_t read_all(int fd, unsigned char *out, size_t capacity)
{
    size_t length = 0;
    while (length < capacity) {
        const ssize_t got = read(fd, out + length, capacity - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (!got)
            break;
        length += (size_t)got;
    }
    return (ssize_t)length;
}

enum ferry_status ferry__wire_secret_read(struct ferry__wire_secret *secret, const char *file)
{
    struct stat about;
    const int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ferry__wire_fail(FERRY_ERROR_INVALID_ARGUMENT, "secret file %s: %s", file,
                                strerror(errno));
    const ssize_t got = read_all(fd, secret->bytes, sizeof secret->bytes);
    const int error = errno;
    if (!fstat(fd, &about) && S_ISREG(about.st_mode) && (about.st_mode & S_IRWXO))
        ferry__wire_log(FERRY_LOG_WARN, "the secret's file %s can be read by everybody", file);
    close(fd);
    if (got < 0)
        return ferry__wire_fail(FERRY_ERROR_INVALID_ARGUMENT, "secret file %s: %s", file,
                                strerror(error));
    secret->size = (size_t)got;
    if (secret->size && secret->bytes[secret->size - 1] == '\n')
        secret->size--;
    if (secret->size >= FERRY_WIRE_SECRET_MIN && secret->size <= FERRY_WIRE_SECRET_MAX)
        return FERRY_OK;
    const size_t size = secret->size;
    ferry__wire_wipe(secret, sizeof *secret);
    return ferry__wire_fail(FERRY_ERROR_INVALID_ARGUMENT,
                            "the secret in %s has %s%zu bytes, not %d to %d", file,
                            size > FERRY_WIRE_SECRET_MAX ? "at least " : "", size,
                            FERRY_WIRE_SECRET_MIN, FERRY_WIRE_SECRET_MAX);
}

bool ferry__wire_mac(const struct ferry__wire_secret *secret, const void *bytes, size_t size,
                     unsigned char out[FERRY_WIRE_MAC])
{
    unsigned length = FERRY_WIRE_MAC;
    return crypto.hmac(crypto.sha256(), secret->bytes, (int)secret->size, bytes, size, out,
                       &length) &&
           length == FERRY_WIRE_MAC;
}

bool ferry__wire_equal(const unsigned char *a, const unsigned char *b, size_t size)
{
    volatile unsigned char differences = 0;
    for (size_t i = 0; i < size; i++)
        differences |= a[i] ^ b[i];
    return !differences;
}

bool ferry__wire_random(void *out, size_t size)
{
    return !getentropy(out, size);
}

void ferry__wire_wipe(void *bytes, size_t size)
{
    volatile unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++)
        at[i] = 0;
}
