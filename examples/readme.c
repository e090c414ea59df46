/* README's example: bytes into private memory, a copy there, and back. */
#include <ferry/ferry.h>
#include <stdio.h>

int main(void)
{
    ferry_device *device = NULL;
    ferry_buffer *a = NULL, *b = NULL;
    const char sent[] = "across the water";
    char got[sizeof sent] = "";
    enum ferry_status status = ferry_device_open(NULL, &device);
    if (!status)
        status = ferry_buffer_create(device, &(struct ferry_buffer_params){.size = 4096}, &a);
    if (!status)
        status = ferry_buffer_create(device, &(struct ferry_buffer_params){.size = 4096}, &b);
    if (!status)
        status = ferry_copy_from_host(a, sent, sizeof sent, 7);
    if (!status)
        status = ferry_copy_buffer(b, a, sizeof sent, 0, 7);
    if (!status)
        status = ferry_copy_to_host(b, got, sizeof got, 0);
    puts(status ? ferry_last_error() : got);
    ferry_buffer_destroy(a);
    ferry_buffer_destroy(b);
    ferry_device_close(device);
    return status != FERRY_OK;
}
