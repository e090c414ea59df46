/* schedule [--config NAME] [--seed N] [--seeds N] [--steps N] [--inject WHAT [--every N]]: random
 * schedules of operations against a model. Whatever goes wrong is told with the arguments that show it
 * again. */
#include "schedule.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *config, *inject;
    uint64_t seed, seeds, every;
    size_t steps;
};

static int usage(void)
{
    fprintf(stderr, "usage: schedule [--config NAME] [--seed N] [--seeds N] [--steps N]\n"
                    "       schedule --inject allocations|KNOB [--every N] [--seed N] [--steps N]\n"
                    "configurations:\n");
    for (size_t i = 0; i < config_count; i++)
        fprintf(stderr, "  %s\n", configs[i].name);
    return 2;
}

static bool parse(int argc, char **argv, struct options *options)
{
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc)
            return false;
        if (strcmp(argv[i], "--config") == 0)
            options->config = argv[i + 1];
        else if (strcmp(argv[i], "--inject") == 0)
            options->inject = argv[i + 1];
        else if (strcmp(argv[i], "--every") == 0)
            options->every = strtoull(argv[i + 1], NULL, 0);
        else if (strcmp(argv[i], "--seed") == 0)
            options->seed = strtoull(argv[i + 1], NULL, 0);
        else if (strcmp(argv[i], "--seeds") == 0)
            options->seeds = strtoull(argv[i + 1], NULL, 0);
        else if (strcmp(argv[i], "--steps") == 0)
            options->steps = strtoull(argv[i + 1], NULL, 0);
        else
            return false;
    }
    return options->every > 0;
}

/* What the host driver says of its contract is always wrong; that operations fail is not. */
static void contract_broken(enum ferry_log_level level, const char *message, void *user)
{
    (void)level, (void)user;
    if (strstr(message, "contract:"))
        told_wrong(message);
}

int main(int argc, char **argv)
{
    struct options options = {.seed = 1, .seeds = 1, .every = 1, .steps = 400};
    bool found = false;
    if (!parse(argc, argv, &options))
        return usage();
    signal(SIGALRM, hung);
    setenv("FERRY_THRESHOLDS", "default", 1); /* the same paths on every run */
    setvbuf(stdout, NULL, _IONBF, 0);
    ferry_set_log(contract_broken, NULL, FERRY_LOG_ERROR);
    if (options.inject != NULL)
        return inject(options.inject, options.every, options.seed, options.steps) ? 0 : usage();
    for (size_t i = 0; i < config_count; i++) {
        if (options.config != NULL && strcmp(options.config, configs[i].name) != 0)
            continue;
        found = true;
        for (uint64_t n = 0; n < options.seeds; n++) {
            struct run run = {.config = &configs[i],
                              .seed = options.seed + n,
                              .steps = options.steps,
                              .refusing = configs[i].failing};
            printf("schedule --config %s --seed %llu --steps %zu\n", run.config->name,
                   (unsigned long long)run.seed, run.steps);
            run_all(&run);
        }
    }
    return found ? 0 : usage();
}
