/* The sockets that a wire listens on: where, on which ports, and what it says where none is free. */
#include "pair.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* The inodes of this process's sockets. */
static bool is_ours(unsigned long inode)
{
    char wanted[64], link[64];
    bool found = false;
    DIR *folder = opendir("/proc/self/fd");
    if (!folder)
        return false;
    snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
    for (struct dirent *entry; (entry = readdir(folder)) && !found;) {
        const ssize_t size = readlinkat(dirfd(folder), entry->d_name, link, sizeof link - 1);
        if (size > 0) {
            link[size] = '\0';
            found = !strcmp(link, wanted);
        }
    }
    closedir(folder);
    return found;
}

enum { LISTENING_MAX = 64 };

struct listening {
    struct {
        uint32_t address; /* in the host's order */
        unsigned port;
    } sockets[LISTENING_MAX];
    size_t count;
};

/* This process's TCP sockets that listen. */
static struct listening read_listening(void)
{
    struct listening all = {.count = 0};
    char line[512];
    FILE *file = fopen("/proc/self/net/tcp", "r");
    if (!file)
        skip();
    while (fgets(line, sizeof line, file)) {
        unsigned local = 0, port = 0, status = 0;
        unsigned long inode = 0;
        if (sscanf(line, " %*d: %x:%x %*x:%*x %x %*s %*s %*s %*s %*s %lu", &local, &port, &status,
                   &inode) != 4 ||
            status != 10 || !is_ours(inode))
            continue;
        assert_true(all.count < LISTENING_MAX);
        all.sockets[all.count].address = ntohl(local);
        all.sockets[all.count++].port = port;
    }
    fclose(file);
    return all;
}

/* UCX trusts whoever reaches its ports: all of them are on the interface that the peers came by. */
static void test_listening_sockets(void **state)
{
    struct pair pair;
    (void)state;
    open_pair(&pair, NULL, NULL);
    const struct listening all = read_listening();
    for (size_t i = 0; i < all.count; i++)
        assert_int_equal(all.sockets[i].address >> 24, 127);
    assert_true(all.count >= 3); /* ours, and UCX's of two workers */
    close_pair(&pair);
}

static bool had_before(const struct listening *all, unsigned port)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->sockets[i].port == port)
            return true;
    return false;
}

/* A port that was free a moment ago, with ten behind it. */
static unsigned find_ports(void)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (unsigned first = 20000 + (unsigned)getpid() % 9000;; first += 11) {
        bool all = true;
        for (unsigned i = 0; i <= 10 && all; i++) {
            const int fd = socket(AF_INET, SOCK_STREAM, 0);
            here.sin_port = htons((uint16_t)(first + i));
            all = !bind(fd, (struct sockaddr *)&here, sizeof here);
            close(fd);
        }
        if (all)
            return first;
    }
}

static void test_data_ports(void **state)
{
    struct pair pair;
    char range[32], address[80];
    (void)state;
    const struct listening before = read_listening();
    const unsigned first = find_ports();
    snprintf(range, sizeof range, "%u-%u", first, first + 10);
    const struct ferry_wire_params params = {.data_ports = range, .transports = "tcp"};
    open_pair(&pair, &params, &params);
    const struct listening all = read_listening();
    assert_ok(ferry_wire_address(pair.b, address, sizeof address, NULL));
    const unsigned control = (unsigned)atoi(strrchr(address, ':') + 1);
    size_t data = 0;
    for (size_t i = 0; i < all.count; i++) {
        const unsigned port = all.sockets[i].port;
        if (had_before(&before, port) || port == control)
            continue;
        data++;
        if (port < first || port > first + 10)
            fail_msg("port %u is not of %s", port, range);
    }
    assert_true(data >= 2); /* of two workers */
    close_pair(&pair);
}

/* All ports taken: told at once, in words. What is no range is refused when the wire is opened. */
static void test_no_data_ports(void **state)
{
    static const char *const wrong[] = {
        "",        "x",     "5",       "5-",    "-5",   "9-3",       "0-0",
        "1-70000", "1-2-3", "1-2,5-6", "1 - 2", "+1-2", "0x10-0x20", "99999999999-99999999999"};
    ferry_wire *wire = NULL, *other = NULL;
    char address[80];
    ferry_peer *peer = NULL;
    char range[32];
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const struct ferry_wire_params params = {.data_ports = wrong[i]};
        assert_int_equal(ferry_wire_open(&params, &other), FERRY_ERROR_INVALID_ARGUMENT);
        assert_non_null(strstr(ferry_last_error(), "FIRST-LAST"));
    }
    const int taken = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(taken, (struct sockaddr *)&here, sizeof here), 0);
    assert_int_equal(listen(taken, 1), 0);
    assert_int_equal(getsockname(taken, (struct sockaddr *)&here, &size), 0);
    snprintf(range, sizeof range, "%u-%u", ntohs(here.sin_port), ntohs(here.sin_port));
    const struct ferry_wire_params params = {.data_ports = range, .transports = "tcp"};
    assert_ok(ferry_wire_open(&(struct ferry_wire_params){.listen = "127.0.0.1:0"}, &wire));
    assert_ok(ferry_wire_address(wire, address, sizeof address, NULL));
    assert_ok(ferry_wire_open(&params, &other));
    assert_int_equal(ferry_wire_connect(other, address, LONG_NS, &peer), FERRY_ERROR_IO);
    assert_non_null(strstr(ferry_last_error(), "UCX"));
    ferry_wire_close(other);
    ferry_wire_close(wire);
    close(taken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listening_sockets),
        cmocka_unit_test(test_data_ports),
        cmocka_unit_test(test_no_data_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
