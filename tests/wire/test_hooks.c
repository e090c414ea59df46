/* UCX can put jumps to its own code into the C library's mmap, munmap and others. A wire leaves them
 * alone, and the environment too; a program that asks for the hooks, by UCX's variable, has them. */
#include "pair.h"

#include <dlfcn.h>
#include <unistd.h>

extern char **environ;

static const char *const names[] = {"mmap",  "munmap", "mremap", "shmat",
                                    "shmdt", "brk",    "sbrk",   "madvise"};
enum { NAMES = sizeof names / sizeof *names, CODE = 16 };

struct code {
    unsigned char bytes[NAMES][CODE];
};

/* The C library's own, whatever a sanitizer has put before them. */
static struct code read_code(void)
{
    struct code code;
    void *library = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    assert_non_null(library);
    for (int i = 0; i < NAMES; i++) {
        const void *function = dlsym(library, names[i]);
        assert_non_null(function);
        memcpy(code.bytes[i], function, CODE);
    }
    dlclose(library);
    return code;
}

static void exchange(void)
{
    enum { SIZE = 3 << 20 };
    static unsigned char sent[SIZE], got[SIZE];
    struct pair pair;
    ferry_ticket send = 0;
    ferry_device *device = open_device("host");
    ferry_buffer *src = make_buffer(device, SIZE), *dst = make_buffer(device, SIZE);
    fill_bytes(sent, SIZE, 1);
    assert_ok(ferry_copy_from_host(src, sent, SIZE, 0));
    open_pair(&pair, NULL, NULL);
    assert_ok(ferry_send_async(pair.to_b, 1, src, SIZE, 0, NULL, NULL, &send));
    assert_ok(ferry_receive(pair.to_a, 1, dst, SIZE, 0));
    assert_ok(ferry_wait(device, send, LONG_NS));
    assert_ok(ferry_copy_to_host(dst, got, SIZE, 0));
    assert_memory_equal(got, sent, SIZE);
    close_pair(&pair);
    ferry_buffer_destroy(src);
    ferry_buffer_destroy(dst);
    ferry_device_close(device);
}

static size_t count_variables(void)
{
    size_t count = 0;
    while (environ[count])
        count++;
    return count;
}

static void test_none(void **state)
{
    (void)state;
    const struct code before = read_code();
    char **const variables = environ;
    const size_t count = count_variables();
    exchange();
    const struct code after = read_code();
    for (int i = 0; i < NAMES; i++)
        if (memcmp(after.bytes[i], before.bytes[i], CODE))
            fail_msg("%s is another function than before", names[i]);
    assert_ptr_equal(environ, variables);
    assert_int_equal(count_variables(), count);
    assert_null(getenv("UCX_MEM_EVENTS"));
}

/* So this test sees hooks where there are some. */
static void test_asked_for(void **state)
{
    (void)state;
    const struct code before = read_code();
    exchange();
    const struct code after = read_code();
    assert_memory_not_equal(after.bytes[1], before.bytes[1], CODE);
    assert_string_equal(getenv("UCX_MEM_EVENTS"), "y");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest none[] = {cmocka_unit_test(test_none)};
    const struct CMUnitTest asked_for[] = {cmocka_unit_test(test_asked_for)};
    (void)argv;
    return argc > 1 ? cmocka_run_group_tests(asked_for, NULL, NULL)
                    : cmocka_run_group_tests(none, NULL, NULL);
}
