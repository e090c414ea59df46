#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 24, HELP_KEY = 1000 };

static void print_help(const struct cli_manual *manual)
{
    printf("usage: ferry %s [OPTION...]%s%s\n\n%s\n\noptions:\n", manual->name,
           manual->operands ? " " : "", manual->operands ? manual->operands : "", manual->text);
    for (size_t i = 0; i < manual->option_count; i++) {
        const struct cli_option *option = &manual->options[i];
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", option->name, option->value ? " " : "",
                 option->value ? option->value : "");
        printf("  %-18s %s\n", left, option->help);
    }
    printf("  %-18s %s\n\nexamples:\n%s", "-h, --help", "print this", manual->examples);
}

/* Digits only: strtoull alone takes signs and spaces. */
static bool read_number(const char *text, uint64_t least, uint64_t *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 0);
    if (!isdigit((unsigned char)text[0]) || *end != 0 || errno != 0 || value < least)
        return false;
    *out = value;
    return true;
}

static bool read_seconds(const char *text, uint64_t *out)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (!isdigit((unsigned char)text[0]) || *end != 0 || !(value >= 1e-3) || value > 1e9)
        return false;
    *out = (uint64_t)(value * 1e9);
    return true;
}

/* The paths that a caller may force. */
static bool read_path(const char *text, enum ferry_path *out)
{
    for (enum ferry_path path = FERRY_PATH_AUTO; path <= FERRY_PATH_IMPORTED; path++) {
        if (strcmp(text, ferry_path_name(path)) == 0) {
            *out = path;
            return true;
        }
    }
    return false;
}

static const char *const wanted[] = {
    [CLI_NUMBER] = "a whole number over 0",
    [CLI_SIZE] = "a size in bytes over 0, such as 4096, 64K, 16M or 1G",
    [CLI_SEED] = "a whole number",
    [CLI_SECONDS] = "a number of seconds, from 0.001 on",
    [CLI_PATH] = "auto, direct, staged, pipelined or imported",
};

static bool take(const struct cli_manual *manual, const struct cli_option *option, const char *text)
{
    bool good = true;
    switch (option->type) {
    case CLI_FLAG: *(bool *)option->out = true; break;
    case CLI_TEXT: *(const char **)option->out = text; break;
    case CLI_NUMBER: good = read_number(text, 1, option->out); break;
    case CLI_SIZE: good = cli_read_size(text, option->out); break;
    case CLI_SEED: good = read_number(text, 0, option->out); break;
    case CLI_SECONDS: good = read_seconds(text, option->out); break;
    case CLI_PATH: good = read_path(text, option->out); break;
    }
    if (!good)
        cli_complain("%s: --%s takes %s, not \"%s\"", manual->name, option->name,
                     wanted[option->type], text);
    return good;
}

/* getopt_long's own words name the program by argv[0]; ours name the subcommand. */
static void complain_of(const struct cli_manual *manual, int answer, const char *argument)
{
    if (answer == ':')
        cli_complain("%s: %s needs a value (ferry %s --help)", manual->name, argument,
                     manual->name);
    else
        cli_complain("%s: there is no option %s (ferry %s --help)", manual->name, argument,
                     manual->name);
}

bool cli_options(const struct cli_manual *manual, int argc, char **argv, int *out_first,
                 enum cli_exit *out_exit)
{
    struct option list[OPTIONS_MAX + 2] = {{NULL, 0, NULL, 0}};
    for (size_t i = 0; i < manual->option_count && i < OPTIONS_MAX; i++) {
        const struct cli_option *option = &manual->options[i];
        list[i] = (struct option){option->name,
                                  option->type == CLI_FLAG ? no_argument : required_argument, NULL,
                                  (int)i + HELP_KEY + 1};
    }
    list[manual->option_count] = (struct option){"help", no_argument, NULL, HELP_KEY};

    opterr = 0;
    *out_exit = CLI_USAGE;
    for (;;) {
        int answer = getopt_long(argc, argv, ":h", list, NULL);
        if (answer == -1)
            break;
        if (answer == HELP_KEY || answer == 'h') {
            print_help(manual);
            *out_exit = CLI_DONE;
            return false;
        }
        if (answer < HELP_KEY) {
            complain_of(manual, answer, argv[optind - 1]);
            return false;
        }
        if (!take(manual, &manual->options[answer - HELP_KEY - 1], optarg))
            return false;
    }
    if (!manual->operands && optind < argc) {
        cli_complain("%s takes no \"%s\" (ferry %s --help)", manual->name, argv[optind],
                     manual->name);
        return false;
    }
    if (manual->operands && manual->operands[0] != '[' && optind == argc) {
        cli_complain("%s: no file is named (ferry %s --help)", manual->name, manual->name);
        return false;
    }
    *out_first = optind;
    *out_exit = CLI_DONE;
    return true;
}
