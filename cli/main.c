/* ferry: dispatches to the subcommands. */
#include "cli.h"

#include <errno.h>
#include <string.h>

static const struct {
    const char *name;
    enum cli_exit (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"transfer", cli_transfer, "move files through private memory and prove every byte"},
    {"load", cli_load, "load models into private memory and prove every byte"},
    {"devices", cli_devices, "list the devices, and why a driver has none"},
    {"explain", cli_explain, "say which path an operation would take, and why"},
    {"verify", cli_verify, "do random operations on a device, checked against plain arrays"},
    {"bench", cli_bench, "measure speed against memcpy and the targets"},
    {"metrics", cli_metrics, "move bytes and print what the library counted, for Prometheus"},
    {"send", cli_send, "send a file to the private memory of another machine"},
    {"receive", cli_receive, "listen for what another machine sends"},
    {"triton", cli_triton, "drive the backend in a Triton server, every byte compared"},
};

static void print_help(FILE *out)
{
    fprintf(out, "usage: ferry COMMAND [OPTION...] [FILE...]\n\n"
                 "Ferry moves bytes between host memory and GPU-private buffers.\n\n");
    for (size_t i = 0; i < CLI_COUNT(commands); i++)
        fprintf(out, "  ferry %-10s %s\n", commands[i].name, commands[i].help);
    fputs("  ferry help [COMMAND]     explain a command; the same as COMMAND --help\n"
          "  ferry help environment   list the environment variables\n"
          "  ferry -V, --version      print the version, and what this build has\n\n"
          "examples:\n"
          "  ferry transfer model.bin\n"
          "  ferry transfer --device host --json model.bin\n"
          "  ferry load model.safetensors\n"
          "  ferry devices\n"
          "  ferry verify --seconds 10\n\n"
          "exit codes: 0 done, 1 bytes differ, 2 bad usage, 3 device, file or output failed\n"
          "environment: FERRY_DEVICE names the device and FERRY_PATH the path, if no option does\n",
          out);
}

static void print_version(void)
{
    const char *libraries = ferry_build_libraries();
    printf("ferry %s\ndrivers: %s\nlibraries: %s\n", ferry_version_string(), ferry_build_drivers(),
           libraries[0] != 0 ? libraries : "none");
}

static const struct {
    const char *name, *reader, *form, *words, *help;
} variables[] = {
#define FERRY_VARIABLE(name, reader, form, words, help) {name, reader, form, words, help},
#include <ferry/environment.inc>
#undef FERRY_VARIABLE
};

enum { HELP_WIDTH = 80 };

/* Words, without the marks of code, in lines that a terminal shows whole. */
static void print_wrapped(const char *text)
{
    size_t column = 0;
    while (*text) {
        const size_t length = strcspn(text, " ");
        if (column > 0 && column + 1 + length > HELP_WIDTH) {
            putchar('\n');
            column = 0;
        }
        column += (size_t)printf("%s", column > 0 ? " " : "    ");
        for (size_t i = 0; i < length; i++, column++)
            if (text[i] == '`')
                column--;
            else
                putchar(text[i]);
        text += length + strspn(text + length, " ");
    }
    putchar('\n');
}

static enum cli_exit print_environment(void)
{
    for (size_t i = 0; i < CLI_COUNT(variables); i++) {
        const char *words = variables[i].words;
        printf("%s%s=", i > 0 ? "\n" : "", variables[i].name);
        for (const char *at = words[0] != 0 ? words : variables[i].form; *at != 0; at++)
            putchar(*at == ' ' ? '|' : *at);
        putchar('\n');
        print_wrapped(variables[i].help);
        printf("    Read by the %s.\n", variables[i].reader);
    }
    return CLI_DONE;
}

static enum cli_exit run_command(int argc, char **argv)
{
    for (size_t i = 0; i < CLI_COUNT(commands); i++)
        if (strcmp(argv[0], commands[i].name) == 0)
            return commands[i].run(argc, argv);
    char names[256] = "";
    for (size_t i = 0; i < CLI_COUNT(commands); i++) {
        const char *before = i == 0 ? "" : i + 1 < CLI_COUNT(commands) ? ", " : " and ";
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", before,
                 commands[i].name);
    }
    cli_complain("there is no command \"%s\"; there are %s (ferry --help)", argv[0], names);
    return CLI_USAGE;
}

static enum cli_exit help(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stdout);
        return CLI_DONE;
    }
    if (argv[1][0] == '-') { /* ferry help --help */
        print_help(stdout);
        return CLI_DONE;
    }
    if (argc > 2) {
        cli_complain("help takes one command, not \"%s\" too", argv[2]);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "environment") == 0)
        return print_environment();
    char option[] = "--help";
    char *words[] = {argv[1], option, NULL};
    return run_command(2, words);
}

static bool is_one_of(const char *word, const char *a, const char *b)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

static enum cli_exit dispatch(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    if (is_one_of(argv[1], "--help", "-h") || strcmp(argv[1], "help") == 0)
        return help(argc - 1, argv + 1);
    if (is_one_of(argv[1], "--version", "-V")) {
        print_version();
        return CLI_DONE;
    }
    return run_command(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    enum cli_exit end = dispatch(argc, argv);
    /* A full disk shows only when what was printed is written. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        cli_complain("cannot write the output: %s", strerror(errno));
        end = cli_worse(end, CLI_DEVICE);
    }
    return (int)end;
}
