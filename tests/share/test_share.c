/*
 * Memory of a buffer given to another process, and taken there: `test_share [DEVICE VARIABLE OPTIONS...]`
 * on that device, else on the host's; first without options, then with each, in a process of its own.
 */
#define _GNU_SOURCE /* memfd_create, mkstemp */
#include <ferry/ferry.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

static const char *name = "host", *variable = "FERRY_HOST", *options = "";

static ferry_device *open_device(void)
{
    ferry_device *device = NULL;
    if (ferry_device_open(&(struct ferry_device_params){.name = name}, &device))
        fail_msg("%s", ferry_last_error());
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
    enum ferry_handle handle;
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
    const struct ferry_import_params params = {.handle = message.handle,
                                               .fd = fd,
                                               .memory_size = message.memory_size,
                                               .offset = message.offset,
                                               .size = SIZE,
                                               .label = "theirs"};
    if (fd < 0 || ferry_device_open(&(struct ferry_device_params){.name = name}, &device) ||
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

static void pass(enum ferry_handle handle)
{
    static unsigned char bytes[SIZE];
    int sockets[2], fd = -1, result = -1;
    struct message message = {.handle = handle};
    char done;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    const pid_t child = fork();
    if (child == 0) { /* a new program: CUDA, once begun, does not work in a forked one */
        char socket[16];
        snprintf(socket, sizeof socket, "%d", sockets[1]);
        execl("/proc/self/exe", "test_share", "--other", name, socket, (char *)NULL);
        _exit(100);
    }
    ferry_device *device = open_device();
    ferry_buffer *buffer = make(device, FERRY_BUFFER_EXPORTABLE);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (unsigned char)(i * 7);
    OK(ferry_copy_from_host(buffer, bytes, SIZE, 0));
    OK(ferry_buffer_export(buffer, handle, &fd, &message.memory_size, &message.offset));
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
    pass(FERRY_HANDLE_OPAQUE_FD);
}

/* What is given as a DMA-BUF is taken as one, and as nothing else. */
static void pass_dma_buf(ferry_device *device, ferry_buffer *buffer)
{
    static unsigned char bytes[SIZE], got[SIZE];
    struct ferry_import_params params = {.handle = FERRY_HANDLE_DMA_BUF, .size = SIZE};
    ferry_buffer *other = NULL;
    size_t size, offset;
    int fd;
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (unsigned char)(i * 11);
    OK(ferry_buffer_export(buffer, FERRY_HANDLE_DMA_BUF, &params.fd, &params.memory_size,
                           &params.offset));
    OK(ferry_buffer_import(device, &params, &other));
    OK(ferry_copy_from_host(buffer, bytes, SIZE, 0));
    OK(ferry_copy_to_host(other, got, SIZE, 0));
    assert_memory_equal(got, bytes, SIZE);
    IS(FERRY_ERROR_UNSUPPORTED,
       ferry_buffer_export(other, FERRY_HANDLE_OPAQUE_FD, &fd, &size, &offset));
    OK(ferry_buffer_export(other, FERRY_HANDLE_DMA_BUF, &fd, &size, &offset));
    close(fd);
    ferry_buffer_destroy(other);
    params.handle = FERRY_HANDLE_OPAQUE_FD;
    IS(FERRY_ERROR_INVALID_ARGUMENT, ferry_buffer_import(device, &params, &other));
    words("ferry_buffer_import: ");
    close(params.fd);
}

/* CUDA gives memory as a DMA-BUF and takes none, others do neither. */
static void test_dma_bufs(void **state)
{
    (void)state;
    if (!strcmp(name, "cuda"))
        skip();
    ferry_device *device = open_device();
    ferry_buffer *buffer = make(device, FERRY_BUFFER_EXPORTABLE);
    const bool has = strstr(options, "dmabuf=1");
    size_t size, offset;
    int fd;
    if (has) {
        pass_dma_buf(device, buffer);
        pass(FERRY_HANDLE_DMA_BUF);
    } else {
        IS(FERRY_ERROR_UNSUPPORTED,
           ferry_buffer_export(buffer, FERRY_HANDLE_DMA_BUF, &fd, &size, &offset));
        words("DMA-BUF");
    }
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
}

/* A foreign memfd is not taken for the host device's own, though it could be mapped. */
static void test_foreign_memfd(void **state)
{
    (void)state;
    ferry_device *device = open_device();
    ferry_buffer *none = NULL;
    char path[] = "/tmp/ferry-share-XXXXXX";
    const int file = mkstemp(path);
    const int memory = memfd_create("theirs", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const int fds[] = {file, memory};
    assert_true(file >= 0 && memory >= 0);
    unlink(path);
    for (int sealed = 0; sealed < 2; sealed++) {
        for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
            assert_int_equal(ftruncate(fds[i], SIZE), 0);
            IS(FERRY_ERROR_INVALID_ARGUMENT,
               ferry_buffer_import(device,
                                   &(struct ferry_import_params){.handle = FERRY_HANDLE_OPAQUE_FD,
                                                                 .fd = fds[i],
                                                                 .memory_size = 4096},
                                   &none));
            words("ferry_buffer_import: ");
        }
        assert_int_equal(fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    }
    close(file);
    close(memory);
    ferry_device_close(device);
}

/* In a process of its own: what stands in for a driver reads its options once. */
static int run_with(const char *program_options)
{
    int result = -1;
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "test_share", "--one", name, variable, program_options,
              (char *)NULL);
        _exit(100);
    }
    return child > 0 && waitpid(child, &result, 0) == child ? result : -1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_processes),
        cmocka_unit_test(test_dma_bufs),
        cmocka_unit_test(test_foreign_memfd),
    };
    if (argc == 4 && !strcmp(argv[1], "--other")) {
        name = argv[2];
        return other_process(atoi(argv[3]));
    }
    if (argc == 5 && !strcmp(argv[1], "--one")) {
        name = argv[2];
        variable = argv[3];
        options = argv[4];
    } else if (argc > 2) {
        name = argv[1];
        variable = argv[2];
        int failed = run_with("");
        for (int i = 3; i < argc; i++)
            failed |= run_with(argv[i]);
        return failed != 0;
    }
    setenv(variable, options, 1);
    return cmocka_run_group_tests_name("share", tests, NULL, NULL);
}
