/* The environment: read as it is, and not at all in a program with its owner's rights. */
#include "env.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char *self;

static void test_reads_what_is_there(void **state)
{
    (void)state;
    assert_int_equal(setenv("FERRY_TEST", "value", 1), 0);
    assert_string_equal(ferry__env("FERRY_TEST"), "value");
    assert_int_equal(setenv("FERRY_TEST", "", 1), 0);
    assert_string_equal(ferry__env("FERRY_TEST"), "");
    assert_int_equal(unsetenv("FERRY_TEST"), 0);
    assert_null(ferry__env("FERRY_TEST"));
}

static void copy_file(const char *from, const char *to)
{
    char bytes[1 << 16];
    const int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(in >= 0 && out >= 0);
    for (ssize_t n; (n = read(in, bytes, sizeof bytes)) != 0;)
        assert_int_equal(write(out, bytes, (size_t)n), n);
    assert_int_equal(fchmod(out, 04755), 0);
    close(in);
    close(out);
}

/* Answers of the copy, which runs with rights that its caller has not. */
enum { READ_NOTHING = 10, READ_IT, NO_MORE_RIGHTS, NO_VARIABLE };

static int answer(void)
{
    if (getuid() == geteuid())
        return NO_MORE_RIGHTS;
    if (!getenv("FERRY_TEST"))
        return NO_VARIABLE;
    return ferry__env("FERRY_TEST") ? READ_IT : READ_NOTHING;
}

/* Only root can give a program to somebody else. */
static void test_reads_nothing_with_the_owners_rights(void **state)
{
    (void)state;
    char folder[] = "/tmp/ferry-env-XXXXXX", path[64];
    int status = 0;
    if (geteuid() != 0)
        skip();
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chmod(folder, 0755), 0);
    snprintf(path, sizeof path, "%s/copy", folder);
    copy_file(self, path);
    assert_int_equal(setenv("FERRY_TEST", "value", 1), 0);
    const pid_t child = fork();
    if (child == 0) {
        if (setgid(65534) == 0 && setuid(65534) == 0)
            execl(path, path, "answer", (char *)NULL);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    unlink(path);
    rmdir(folder);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_MORE_RIGHTS)
        skip(); /* the folder is mounted without setuid */
    assert_int_equal(WEXITSTATUS(status), READ_NOTHING);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_is_there),
        cmocka_unit_test(test_reads_nothing_with_the_owners_rights),
    };
    if (argc == 2 && strcmp(argv[1], "answer") == 0)
        return answer();
    self = argv[0];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
