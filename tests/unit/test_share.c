/* Memory of a buffer given to another process, and taken there: on the host driver. */
#include <ferry/ferry.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

enum { SIZE = 100003 };

#define OK(call) assert_int_equal((call), FERRY_OK)
#define IS(status, call) assert_int_equal((call), (status))

static void words(const char *text)
{
    if (!strstr(ferry_last_error(), text))
        fail_msg("\"%s\" does not say \"%s\"", ferry_last_error(), text);
}

static ferry_device *open_host(const char *knobs)
{
    ferry_device *device = NULL;
    setenv("FERRY_HOST", knobs, 1);
    OK(ferry_device_open(&(struct ferry_device_params){.name = "host"}, &device));
    return device;
}

static ferry_buffer *make(ferry_device *device, uint64_t flags)
{
    ferry_buffer *buffer = NULL;
    OK(ferry_buffer_create(device, &(struct ferry_buffer_params){.size = SIZE, .flags = flags},
                           &buffer));
    return buffer;
}

/* A descriptor and what goes with it, over a socket. */
struct message {
    size_t memory_size, offset;
};

static void send_fd(int to, int fd, struct message message)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {&message, sizeof message};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    assert_int_equal(sendmsg(to, &header, 0), sizeof message);
}

static int receive_fd(int from, struct message *out)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    int fd = -1;
    struct iovec part = {out, sizeof *out};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    if (recvmsg(from, &header, 0) != sizeof *out || !CMSG_FIRSTHDR(&header))
        return -1;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof fd);
    return fd;
}

/* The other process: reads what the first wrote, answers with each byte plus one. Returns what was
 * wrong. */
static int other_process(int socket)
{
    static unsigned char bytes[SIZE];
    struct message message;
    ferry_device *device = NULL;
    ferry_buffer *buffer = NULL;
    char go;
    const int fd = receive_fd(socket, &message);
    const struct ferry_import_params params = {.handle = FERRY_HANDLE_OPAQUE_FD,
                                               .fd = fd,
                                               .memory_size = message.memory_size,
                                               .offset = message.offset,
                                               .size = SIZE,
                                               .label = "theirs"};
    if (fd < 0 || ferry_device_open(&(struct ferry_device_params){.name = "host"}, &device) ||
        ferry_buffer_import(device, &params, &buffer))
        return 1;
    close(fd); /* the buffer has its own */
    if (ferry_copy_to_host(buffer, bytes, SIZE, 0))
        return 2;
    for (size_t i = 0; i < SIZE; i++)
        if (bytes[i] != (unsigned char)(i * 7))
            return 3;
        else
            bytes[i]++;
    if (ferry_copy_from_host(buffer, bytes, SIZE, 0) || write(socket, "x", 1) != 1)
        return 4;
    if (read(socket, &go, 1) != 1) /* the first process has let its buffer go */
        return 5;
    if (ferry_fill_buffer(buffer, SIZE, 0, "z", 1) || ferry_copy_to_host(buffer, bytes, SIZE, 0) ||
        bytes[0] != 'z' || bytes[SIZE - 1] != 'z')
        return 6;
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    return 0;
}

static void pass(const char *knobs)
{
    static unsigned char bytes[SIZE];
    int sockets[2], fd = -1, result = -1;
    struct message message;
    char done;
    setenv("FERRY_HOST", knobs, 1);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    const pid_t child = fork();
    if (child == 0)
        _exit(other_process(sockets[1]));
    ferry_device *device = open_host(knobs);
    ferry_buffer *buffer = make(device, FERRY_BUFFER_EXPORTABLE);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (unsigned char)(i * 7);
    OK(ferry_copy_from_host(buffer, bytes, SIZE, 0));
    OK(ferry_buffer_export(buffer, FERRY_HANDLE_OPAQUE_FD, &fd, &message.memory_size,
                           &message.offset));
    assert_true(message.memory_size >= SIZE);
    send_fd(sockets[0], fd, message);
    close(fd);
    assert_int_equal(read(sockets[0], &done, 1), 1);
    OK(ferry_copy_to_host(buffer, bytes, SIZE, 0));
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(bytes[i], (unsigned char)(i * 7 + 1));
    ferry_buffer_destroy(buffer); /* the other's stays */
    ferry_device_close(device);
    assert_int_equal(write(sockets[0], "x", 1), 1);
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
    close(sockets[0]);
    close(sockets[1]);
}

static void test_two_processes(void **state)
{
    (void)state;
    pass("");
    pass("no_map,kernel");
    pass("no_map,align=4,queues=3,delay_us=20");
}

/* Two devices of one process, and memory is not used again for another buffer. */
static void test_two_devices(void **state)
{
    (void)state;
    ferry_device *first = open_host(""), *second = open_host("no_map,kernel");
    ferry_buffer *buffer = make(first, FERRY_BUFFER_EXPORTABLE), *theirs = NULL;
    unsigned char bytes[100] = {1, 2, 3}, got[100];
    size_t size, offset;
    int fd;
    OK(ferry_buffer_export(buffer, FERRY_HANDLE_OPAQUE_FD, &fd, &size, &offset));
    OK(ferry_buffer_import(
        second,
        &(struct ferry_import_params){
            .handle = FERRY_HANDLE_OPAQUE_FD, .fd = fd, .memory_size = size, .offset = 256},
        &theirs));
    assert_int_equal(ferry_buffer_size(theirs), size - 256);
    OK(ferry_copy_from_host(theirs, bytes, 100, 0));
    OK(ferry_copy_to_host(buffer, got, 100, 256));
    assert_memory_equal(bytes, got, 100);
    ferry_buffer_destroy(buffer);
    for (int i = 0; i < 4; i++) { /* what comes after it lies elsewhere */
        ferry_buffer *next = make(first, i % 2 ? FERRY_BUFFER_EXPORTABLE : 0);
        OK(ferry_fill_buffer(next, SIZE, 0, "n", 1));
        ferry_buffer_destroy(next);
    }
    OK(ferry_copy_to_host(theirs, got, 100, 0));
    assert_memory_equal(bytes, got, 100);
    ferry_buffer_destroy(theirs);
    close(fd);
    ferry_device_close(second);
    ferry_device_close(first);
}

static void test_refused(void **state)
{
    (void)state;
    ferry_device *device = open_host("");
    ferry_buffer *ordinary = make(device, 0), *buffer = make(device, FERRY_BUFFER_EXPORTABLE);
    ferry_buffer *none = NULL;
    size_t size, offset;
    int fd = -1, pipes[2];
    IS(FERRY_ERROR_UNSUPPORTED,
       ferry_buffer_export(ordinary, FERRY_HANDLE_OPAQUE_FD, &fd, &size, &offset));
    words("FERRY_BUFFER_EXPORTABLE");
    IS(FERRY_ERROR_UNSUPPORTED,
       ferry_buffer_export(buffer, FERRY_HANDLE_DMA_BUF, &fd, &size, &offset));
    words("no DMA-BUF");
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_buffer_export(buffer, (enum ferry_handle)3, &fd, &size, &offset));
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_buffer_export(NULL, FERRY_HANDLE_OPAQUE_FD, &fd, &size, &offset));
    assert_int_equal(fd, -1);
    IS(FERRY_ERROR_INVALID_ARGUMENT,
       ferry_buffer_create(device, &(struct ferry_buffer_params){.size = 1, .flags = 2}, &none));
    IS(FERRY_ERROR_UNSUPPORTED,
       ferry_buffer_create(device,
                           &(struct ferry_buffer_params){.size = 1,
                                                         .storage = FERRY_STORAGE_SHARED,
                                                         .flags = FERRY_BUFFER_EXPORTABLE},
                           &none));
    OK(ferry_buffer_export(buffer, FERRY_HANDLE_OPAQUE_FD, &fd, &size, &offset));
    assert_int_equal(pipe(pipes), 0);
    const struct {
        struct ferry_import_params params;
        enum ferry_status status;
    } cases[] = {
        {{FERRY_HANDLE_OPAQUE_FD, fd, size, 100, 0, NULL, {0}}, FERRY_ERROR_INVALID_ARGUMENT},
        {{FERRY_HANDLE_OPAQUE_FD, fd, 0, 0, 0, NULL, {0}}, FERRY_ERROR_INVALID_ARGUMENT},
        {{FERRY_HANDLE_OPAQUE_FD, -1, size, 0, 0, NULL, {0}}, FERRY_ERROR_INVALID_ARGUMENT},
        {{(enum ferry_handle)0, fd, size, 0, 0, NULL, {0}}, FERRY_ERROR_INVALID_ARGUMENT},
        {{FERRY_HANDLE_OPAQUE_FD, fd, size, 0, 0, NULL, {1}}, FERRY_ERROR_INVALID_ARGUMENT},
        {{FERRY_HANDLE_OPAQUE_FD, fd, size, 256, size, NULL, {0}}, FERRY_ERROR_OUT_OF_RANGE},
        {{FERRY_HANDLE_OPAQUE_FD, fd, size + (1 << 20), 0, 0, NULL, {0}},
         FERRY_ERROR_INVALID_ARGUMENT},
        {{FERRY_HANDLE_OPAQUE_FD, pipes[0], 4096, 0, 0, NULL, {0}}, FERRY_ERROR_INVALID_ARGUMENT},
        {{FERRY_HANDLE_OPAQUE_FD, 9999, 4096, 0, 0, NULL, {0}}, FERRY_ERROR_INVALID_ARGUMENT},
        {{FERRY_HANDLE_DMA_BUF, fd, size, 0, 0, NULL, {0}}, FERRY_ERROR_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (ferry_buffer_import(device, &cases[i].params, &none) != cases[i].status)
            fail_msg("case %zu: %s", i, ferry_last_error());
    assert_null(none);
    close(pipes[0]);
    close(pipes[1]);
    close(fd);
    ferry_buffer_destroy(buffer);
    ferry_buffer_destroy(ordinary);
    ferry_device_close(device);
}

/* A system without such memory says so. */
static int needs_sharing(void **state)
{
    ferry_device *device = NULL;
    ferry_buffer *buffer = NULL;
    (void)state;
    setenv("FERRY_HOST", "", 1);
    OK(ferry_device_open(&(struct ferry_device_params){.name = "host"}, &device));
    const enum ferry_status status = ferry_buffer_create(
        device, &(struct ferry_buffer_params){.size = 1, .flags = FERRY_BUFFER_EXPORTABLE},
        &buffer);
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    if (status == FERRY_ERROR_UNSUPPORTED)
        skip();
    return status;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_two_processes, needs_sharing),
        cmocka_unit_test_setup(test_two_devices, needs_sharing),
        cmocka_unit_test_setup(test_refused, needs_sharing),
    };
    return cmocka_run_group_tests_name("share", tests, NULL, NULL);
}
