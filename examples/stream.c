/* Stream: two pieces of host memory take turns; a callback says when one may be filled again. */
#include <ferry/ferry.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { PIECE = 1 << 16, PIECES = 64, SLOTS = 2 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards busy and failure */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool busy[SLOTS];
static enum ferry_status failure = FERRY_OK;

static void piece_done(enum ferry_status status, ferry_ticket ticket, void *user)
{
    (void)ticket;
    pthread_mutex_lock(&lock);
    *(bool *)user = false;
    if (status != FERRY_OK)
        failure = status; /* here ferry_last_error() has the reason */
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static enum ferry_status stream(ferry_device *device, ferry_buffer *buffer)
{
    unsigned char *host = NULL; /* the device reaches it at full speed: no staging */
    enum ferry_status status = ferry_host_alloc(device, SLOTS * PIECE, (void **)&host);
    for (size_t i = 0; i < PIECES && status == FERRY_OK; i++) {
        bool *mine = &busy[i % SLOTS];
        pthread_mutex_lock(&lock);
        while (*mine)
            pthread_cond_wait(&changed, &lock);
        *mine = true;
        pthread_mutex_unlock(&lock);
        unsigned char *piece = host + i % SLOTS * PIECE;
        memset(piece, (int)i, PIECE); /* here a camera, a socket or a decoder writes */
        status = ferry_copy_from_host_async(buffer, piece, PIECE, i * PIECE, piece_done, mine, 0);
    }
    if (ferry_wait_idle(device) == FERRY_OK && status == FERRY_OK)
        status = failure; /* all callbacks have returned */
    ferry_host_free(device, host);
    return status;
}

int main(void)
{
    const struct ferry_buffer_params params = {.size = PIECE * PIECES};
    ferry_device *device = NULL;
    ferry_buffer *buffer = NULL;
    unsigned char last = 0;
    bool good = ferry_device_open(NULL, &device) == FERRY_OK &&
                ferry_buffer_create(device, &params, &buffer) == FERRY_OK &&
                stream(device, buffer) == FERRY_OK &&
                ferry_copy_to_host(buffer, &last, 1, params.size - 1) == FERRY_OK;
    printf("%d pieces, the last is %d %s\n", PIECES, last, good ? "" : ferry_last_error());
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    return good && last == PIECES - 1 ? 0 : 1;
}
