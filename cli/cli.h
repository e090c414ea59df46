/* What the subcommands share: exit codes, options, words. */
#ifndef FERRY_CLI_H
#define FERRY_CLI_H

#include <ferry/ferry.h>
#include <stdio.h>

#define CLI_COUNT(array) (sizeof(array) / sizeof *(array))

/* What the command exits with. */
enum cli_exit {
    CLI_DONE = 0,
    CLI_CHECK = 1,  /* bytes differ */
    CLI_USAGE = 2,  /* the command line is wrong */
    CLI_DEVICE = 3, /* a device, a file or the output failed */
};

/* Of two ends the worse one: differing bytes, then a failed device or file, then usage. */
enum cli_exit cli_worse(enum cli_exit a, enum cli_exit b);

/* A reason in words; functions that fail write it, their callers complain. */
enum { CLI_WHY_MAX = 1024 };

/* "ferry: ..." and a line feed to stderr: one line, of characters that a terminal only shows. */
void cli_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Writes "WHAT: ferry_last_error()" to why. */
void cli_why(char *why, const char *what);

uint64_t cli_now_ns(void);

/* --- subcommands (main.c lists them) ---------------------------------------------------------- */

enum cli_exit cli_transfer(int argc, char **argv);
enum cli_exit cli_load(int argc, char **argv);
enum cli_exit cli_devices(int argc, char **argv);
enum cli_exit cli_explain(int argc, char **argv);
enum cli_exit cli_verify(int argc, char **argv);
enum cli_exit cli_bench(int argc, char **argv);
enum cli_exit cli_metrics(int argc, char **argv);
enum cli_exit cli_send(int argc, char **argv);
enum cli_exit cli_receive(int argc, char **argv);
enum cli_exit cli_triton(int argc, char **argv);

/* --- options (options.c) ---------------------------------------------------------------------- */

enum cli_option_type {
    CLI_FLAG,    /* bool */
    CLI_TEXT,    /* const char * */
    CLI_NUMBER,  /* uint64_t, over 0 */
    CLI_SIZE,    /* uint64_t, bytes, over 0; K, M, G and T count by 1024 */
    CLI_SEED,    /* uint64_t */
    CLI_SECONDS, /* uint64_t, in nanoseconds; over 0; a decimal fraction is allowed */
    CLI_PATH,    /* enum ferry_path */
};

struct cli_option {
    const char *name; /* without the dashes */
    enum cli_option_type type;
    void *out;         /* left alone if the option is not given */
    const char *value; /* its name in the help; NULL for a flag */
    const char *help;
};

struct cli_manual {
    const char *name, *operands; /* operands: "FILE...", "[FILE...]" where
                                    none will do; NULL: none are allowed */
    const char *text;            /* what it does */
    const char *examples;        /* whole lines */
    const struct cli_option *options;
    size_t option_count;
};

/*
 * Reads options; --help is always among them. True: go on, the operands begin at argv[*out_first].
 * False: exit with *out_exit; the help or the complaint was printed.
 */
bool cli_options(const struct cli_manual *manual, int argc, char **argv, int *out_first,
                 enum cli_exit *out_exit);

/* --- words (text.c) --------------------------------------------------------------------------- */

enum { CLI_TEXT_MAX = 32, CLI_JSON_VERSION = 2 };

/* "4.0 KiB", "17 bytes": into text, of CLI_TEXT_MAX bytes; returns it. */
const char *cli_size(char *text, uint64_t bytes);

/* "12.3 us", "4.56 s", from a minute on "1:05" */
const char *cli_time(char *text, uint64_t ns);

/* GB/s: 10^9 bytes a second; 0 if there is no time or no byte to tell it from. */
double cli_rate(uint64_t bytes, uint64_t ns);

/* "64K" as bytes: digits, then nothing or K, M, G or T, in either case, with or without iB or B.
 * False: it is none, or 0, or too large. */
bool cli_read_size(const char *text, uint64_t *out);

/* A name of a file's, a device's or a server's choice, as a table may show it: into shown, of
 * CLI_SHOWN_MAX bytes; returns it. */
enum { CLI_SHOWN_MAX = 1024 };
const char *cli_show(char *shown, const char *text);

/* A JSON string with its quotes. What is not UTF-8 becomes U+FFFD, what a terminal would obey is
 * escaped. */
void cli_json_string(FILE *out, const char *text);

/* How every command's JSON begins (docs/json.md): the brace, version, ferry and command; and the
 * member "device". Each ends with a comma. */
void cli_json_head(FILE *out, const char *command);
void cli_json_device(FILE *out, const struct ferry_device_info *info);

/* The middle one; sorts values. 0 of none. */
uint64_t cli_median(uint64_t *values, size_t count);

#endif
