/* The least that proves a library was found, linked and loaded. */
#include <ferry/ferry.h>
#include <stdio.h>

int main(void)
{
    if (ferry_version() != FERRY_VERSION) {
        fprintf(stderr, "the header is %#x, the library %#x\n", FERRY_VERSION, ferry_version());
        return 1;
    }
    ferry_device *device = NULL;
    if (ferry_device_open(&(struct ferry_device_params){.name = "host"}, &device) != FERRY_OK) {
        fprintf(stderr, "%s\n", ferry_last_error());
        return 1;
    }
    ferry_device_close(device);
    return 0;
}
