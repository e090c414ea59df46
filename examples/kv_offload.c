/* KV offload: blocks of a cache go out to page-locked memory and come back, while the other half of
 * the cache is written. */
#include <ferry/ferry.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 4096, BLOCKS = 512, HALF = BLOCKS / 2 }; /* the even blocks are one sequence's */

/* The even blocks of the cache, one behind the other on the host; out, or back. */
static void list_even(struct ferry_block blocks[HALF], bool out)
{
    for (size_t i = 0; i < HALF; i++) {
        const size_t cache = 2 * i * BLOCK, host = i * BLOCK;
        blocks[i] = out ? (struct ferry_block){host, cache, BLOCK}
                        : (struct ferry_block){cache, host, BLOCK};
    }
}

static enum ferry_status offload(ferry_device *device, ferry_buffer *cache, void *host,
                                 const void *tokens)
{
    struct ferry_block even[HALF], odd[HALF];
    ferry_ticket out = 0;
    list_even(even, true);
    enum ferry_status status =
        ferry_copy_blocks_to_host_async(cache, host, even, HALF, NULL, NULL, &out);
    for (size_t i = 0; i < HALF; i++) /* shares no byte with what goes out: neither waits */
        odd[i] = (struct ferry_block){(2 * i + 1) * BLOCK, i * BLOCK, BLOCK};
    if (status == FERRY_OK)
        status = ferry_copy_blocks_from_host(cache, tokens, odd, HALF);
    if (status == FERRY_OK)
        status = ferry_wait(device, out, FERRY_FOREVER);
    list_even(even, false);
    return status == FERRY_OK ? ferry_copy_blocks_from_host(cache, host, even, HALF) : status;
}

int main(void)
{
    static unsigned char tokens[HALF * BLOCK], found[BLOCKS * BLOCK];
    ferry_device *device = NULL;
    ferry_buffer *cache = NULL;
    void *host = NULL;
    const struct ferry_buffer_params params = {.size = sizeof found};
    memset(tokens, 7, sizeof tokens);
    bool good = ferry_device_open(NULL, &device) == FERRY_OK &&
                ferry_buffer_create(device, &params, &cache) == FERRY_OK &&
                ferry_host_alloc(device, sizeof tokens, &host) == FERRY_OK &&
                ferry_fill_buffer(cache, sizeof found, 0, "\x05", 1) == FERRY_OK &&
                offload(device, cache, host, tokens) == FERRY_OK &&
                ferry_copy_to_host(cache, found, sizeof found, 0) == FERRY_OK;
    for (size_t i = 0; i < sizeof found && good; i++)
        good = found[i] == (i / BLOCK % 2 ? 7 : 5);
    printf("%d blocks went out and came back: %s\n", HALF, good ? "good" : ferry_last_error());
    if (device)
        ferry_host_free(device, host);
    ferry_buffer_destroy(cache);
    ferry_device_close(device);
    return good ? 0 : 1;
}
