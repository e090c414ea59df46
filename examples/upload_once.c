/* Upload once: weights go to private memory before the work begins, and stay there. */
#include <ferry/ferry.h>
#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 1 << 20 };

static enum ferry_status upload(ferry_device *device, const float *weights, ferry_buffer **out)
{
    ferry_buffer *buffer = NULL;
    enum ferry_status status = ferry_buffer_create(
        device,
        &(struct ferry_buffer_params){
            .size = COUNT * sizeof *weights, .storage = FERRY_STORAGE_PRIVATE, .label = "weights"},
        &buffer);
    if (status == FERRY_OK)
        status = ferry_copy_from_host(buffer, weights, COUNT * sizeof *weights, 0);
    if (status != FERRY_OK) {
        ferry_buffer_destroy(buffer);
        return status;
    }
    *out = buffer;
    return FERRY_OK;
}

int main(void)
{
    float *weights = malloc(COUNT * sizeof *weights);
    if (weights == NULL)
        return 1;
    for (size_t i = 0; i < COUNT; i++)
        weights[i] = (float)i;

    ferry_device *device = NULL;
    ferry_buffer *buffer = NULL;
    enum ferry_status status = ferry_device_open(NULL, &device);
    if (status == FERRY_OK)
        status = upload(device, weights, &buffer);
    free(weights); /* the operation waited: host memory is ours again */

    float last = 0;
    if (status == FERRY_OK) /* one value back, from the buffer's end */
        status = ferry_copy_to_host(buffer, &last, sizeof last, (COUNT - 1) * sizeof last);
    if (status != FERRY_OK)
        fprintf(stderr, "upload_once: %s\n", ferry_last_error());
    else
        printf("%d weights in private memory, the last is %.0f\n", COUNT, (double)last);

    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    return status == FERRY_OK && last == COUNT - 1 ? 0 : 1;
}
