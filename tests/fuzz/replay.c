/*
 * replay FILE...: runs a fuzz target on each file and on changed copies of it, always the same ones.
 * For compilers without libFuzzer, and so that each test run has a little of it. A target that finds
 * something aborts.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 1 << 16, CHANGES = 150 };

static uint64_t state = 1;

static uint64_t random_below(uint64_t limit)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % limit;
}

/* A bit turned, a byte set, eight bytes made huge, the end cut off, or bytes moved. */
static size_t change(unsigned char *bytes, size_t size)
{
    if (size == 0)
        return 0;
    unsigned char *at = bytes + random_below(size);
    const size_t left = size - (size_t)(at - bytes);
    switch (random_below(5)) {
    case 0: *at ^= (unsigned char)(1u << random_below(8)); break;
    case 1: *at = (unsigned char)random_below(256); break;
    case 2: memset(at, 0xff, left < 8 ? left : 8); break;
    case 3: return (size_t)(at - bytes);
    default: memmove(at, bytes, left < 16 ? left : 16); break;
    }
    return size;
}

/* A copy of just this size, so that a sanitizer sees what lies beyond. */
static void run(const unsigned char *bytes, size_t size)
{
    unsigned char *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL)
        exit(1);
    memcpy(copy, bytes, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static size_t replay(const char *path)
{
    static unsigned char whole[LARGEST], changed[LARGEST];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    const size_t size = fread(whole, 1, sizeof whole, file);
    fclose(file);
    run(whole, size);
    for (int i = 0; i < CHANGES; i++) {
        size_t now = size;
        memcpy(changed, whole, size);
        for (uint64_t n = random_below(4) + 1; n > 0; n--)
            now = change(changed, now);
        run(changed, now);
    }
    return CHANGES + 1;
}

int main(int argc, char **argv)
{
    size_t inputs = 0;
    for (int i = 1; i < argc; i++)
        inputs += replay(argv[i]);
    printf("%zu inputs from %d files\n", inputs, argc - 1);
    return inputs == 0;
}
