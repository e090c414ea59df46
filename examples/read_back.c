/* Read back: a result comes to the host while the program does something else. */
#include <ferry/ferry.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIZE = 8 << 20 };

static enum ferry_status read_back(ferry_device *device, ferry_buffer *result, unsigned char *host)
{
    ferry_ticket ticket = 0;
    size_t looked = 0;
    enum ferry_status status = ferry_copy_to_host_async(result, host, SIZE, 0, NULL, NULL, &ticket);
    if (status != FERRY_OK)
        return status;
    while ((status = ferry_poll(device, ticket)) == FERRY_PENDING && looked < 1000)
        looked++; /* here other work is done; nobody touches the memory meanwhile */
    if (status == FERRY_PENDING)
        status = ferry_wait(device, ticket, FERRY_FOREVER);
    printf("%d bytes came back; looked %zu times before that\n", SIZE, looked);
    return status;
}

int main(void)
{
    const unsigned char pattern[3] = {1, 2, 3};
    const struct ferry_buffer_params params = {.size = SIZE, .label = "result"};
    ferry_device *device = NULL;
    ferry_buffer *result = NULL;
    unsigned char *host = malloc(SIZE);
    if (host == NULL)
        return 1;
    /* The fill stands for a kernel: the download comes after it, because it was called after it. */
    bool good = ferry_device_open(NULL, &device) == FERRY_OK &&
                ferry_buffer_create(device, &params, &result) == FERRY_OK &&
                ferry_fill_buffer_async(result, SIZE, 0, pattern, 3, NULL, NULL, NULL) == 0 &&
                read_back(device, result, host) == FERRY_OK;
    if (!good)
        fprintf(stderr, "read_back: %s\n", ferry_last_error());
    size_t right = 0;
    for (size_t i = 0; good && i < SIZE; i++)
        right += host[i] == pattern[i % 3];

    ferry_buffer_destroy(result);
    ferry_device_close(device);
    free(host);
    return right == SIZE ? 0 : 1;
}
