/* A process with more rights than its caller opens no wire: UCX obeys the environment, which is the
 * caller's. Nor does it load UCX. This needs to be root, who makes a program another user's. */
#include "pair.h"

#include "common/env.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GOOD = 0, OPENED = 1, OTHER_WORDS = 2, LOADED = 3, NO_RIGHTS = 4, NO_EXEC = 5 };

static bool has_loaded(const char *name)
{
    char line[512];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        found |= strstr(line, name) != NULL;
    if (maps)
        fclose(maps);
    return found;
}

/* In the process with more rights. */
static int child(void)
{
    ferry_wire *wire = NULL;
    if (!ferry__env_is_another_users())
        return NO_RIGHTS;
    if (ferry_wire_open(NULL, &wire) != FERRY_ERROR_UNSUPPORTED || wire)
        return OPENED;
    if (!strstr(ferry_last_error(), "setuid or setgid"))
        return OTHER_WORDS;
    return has_loaded("libucp") || has_loaded("libucs") ? LOADED : GOOD;
}

static void copy_program(const char *to)
{
    static char bytes[1 << 16];
    const int in = open("/proc/self/exe", O_RDONLY), out = open(to, O_WRONLY | O_TRUNC);
    ssize_t got;
    assert_true(in >= 0 && out >= 0);
    while ((got = read(in, bytes, sizeof bytes)) > 0)
        assert_int_equal(write(out, bytes, (size_t)got), got);
    assert_int_equal(got, 0);
    close(in);
    close(out);
}

static int run_child(const char *program)
{
    int status = 0;
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        execl(program, program, "child", (char *)NULL);
        _exit(NO_EXEC);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_more_rights(void **state)
{
    enum { NOBODY = 65534 };
    char program[] = "/tmp/ferry-test-XXXXXX";
    (void)state;
    if (geteuid())
        skip();
    const int fd = mkstemp(program);
    assert_true(fd >= 0);
    close(fd);
    copy_program(program);
    assert_int_equal(chown(program, NOBODY, NOBODY), 0);
    assert_int_equal(chmod(program, 04755), 0);
    const int result = run_child(program);
    unlink(program);
    if (result == NO_RIGHTS || result == NO_EXEC) /* the file system has no setuid */
        skip();
    assert_int_equal(result, GOOD);
}

/* One with its caller's rights does open it. */
static void test_own_rights(void **state)
{
    ferry_wire *wire = NULL;
    (void)state;
    assert_false(ferry__env_is_another_users());
    assert_ok(ferry_wire_open(NULL, &wire));
    assert_true(has_loaded("libucp"));
    ferry_wire_close(wire);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_more_rights),
                                       cmocka_unit_test(test_own_rights)};
    (void)argv;
    if (argc > 1)
        _exit(child());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
