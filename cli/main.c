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
    {"devices", cli_devices, "list the devices"},
    {"verify", cli_verify, "random operations on a device, checked against a plain array"},
    {"bench", cli_bench, "measure speed against memcpy and the targets"},
    {"triton", cli_triton, "drive the backend in a Triton server, every byte compared"},
};

static void print_help(FILE *out)
{
    fprintf(out, "usage: ferry COMMAND [OPTION...] [FILE...]\n\n"
                 "Ferry moves bytes between host memory and GPU-private buffers.\n\n");
    for (size_t i = 0; i < CLI_COUNT(commands); i++)
        fprintf(out, "  ferry %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(out,
            "  ferry --version   print the version\n"
            "  ferry COMMAND --help\n\n"
            "examples:\n"
            "  ferry transfer model.bin\n"
            "  ferry transfer --device host --json model.bin\n"
            "  ferry load model.safetensors\n"
            "  ferry devices\n"
            "  ferry verify --seconds 10\n\n"
            "exit codes: 0 done, 1 bytes differ, 2 bad usage, 3 device, file or output failed\n"
            "environment: FERRY_DEVICE names the device, FERRY_PATH the path, where no option "
            "does\n");
}

static void print_version(void)
{
    uint32_t version = ferry_version();
    printf("ferry %u.%u.%u\n", version >> 16, version >> 8 & 0xff, version & 0xff);
}

static enum cli_exit dispatch(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return CLI_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        print_version();
        return CLI_DONE;
    }
    for (size_t i = 0; i < CLI_COUNT(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    cli_complain("there is no command \"%s\"; there are transfer, load, devices, verify, bench and "
                 "triton (ferry --help)",
                 argv[1]);
    return CLI_USAGE;
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
