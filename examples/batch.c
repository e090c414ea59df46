/* Batch: a thousand small uploads, a fill and a copy as one submission with one ticket. */
#include <ferry/ferry.h>
#include <stdio.h>

enum { ROWS = 1000, COLUMNS = 37 };

static unsigned char table[ROWS][COLUMNS]; /* rows that lie apart on the device */
static const size_t stride = 64;

static enum ferry_status record(ferry_batch *batch, ferry_buffer *buffer, ferry_buffer *spare)
{
    static const unsigned char blank[2] = {0xde, 0xad};
    enum ferry_status status =
        ferry_batch_fill_buffer(batch, buffer, ROWS * stride, 0, blank, sizeof blank);
    for (size_t row = 0; row < ROWS && status == FERRY_OK; row++)
        status = ferry_batch_copy_from_host(batch, buffer, table[row], COLUMNS, row * stride);
    if (status == FERRY_OK) /* sees all that stands before it in the batch */
        status = ferry_batch_copy_buffer(batch, spare, buffer, ROWS * stride, 0, 0);
    return status;
}

static enum ferry_status run(ferry_device *device, ferry_buffer *buffer, ferry_buffer *spare)
{
    ferry_batch *batch = NULL;
    ferry_ticket ticket = 0;
    enum ferry_status status = ferry_batch_create(device, &batch);
    if (status == FERRY_OK)
        status = record(batch, buffer, spare);
    if (status == FERRY_OK)
        status = ferry_batch_submit(batch, NULL, NULL, &ticket); /* empty again, for the next */
    if (status == FERRY_OK)
        status = ferry_wait(device, ticket, FERRY_FOREVER);
    ferry_batch_destroy(batch);
    return status;
}

int main(void)
{
    for (size_t i = 0; i < sizeof table; i++)
        table[i / COLUMNS][i % COLUMNS] = (unsigned char)(i % 251);
    const struct ferry_buffer_params params = {.size = ROWS * stride};
    ferry_device *device = NULL;
    ferry_buffer *buffer = NULL, *spare = NULL;
    unsigned char end[3] = {0}; /* a row's last byte, and the blank after it */
    bool good = ferry_device_open(NULL, &device) == FERRY_OK &&
                ferry_buffer_create(device, &params, &buffer) == FERRY_OK &&
                ferry_buffer_create(device, &params, &spare) == FERRY_OK &&
                run(device, buffer, spare) == FERRY_OK &&
                ferry_copy_to_host(spare, end, 3, 999 * stride + COLUMNS - 1) == FERRY_OK;
    printf("the last row ends %d, then %02x%02x %s\n", end[0], end[1], end[2],
           good ? "" : ferry_last_error());
    ferry_buffer_destroy(spare);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    return good && end[0] == table[999][COLUMNS - 1] && end[1] == 0xad && end[2] == 0xde ? 0 : 1;
}
