#include "bench_quick.h"

static void print_number(double value)
{
    printf("%.*f", value < 20 ? 2 : 0, value);
}

static void print_text(const struct bench_verdict *verdict)
{
    if (verdict->why) {
        printf("-       %-34s not measured: %s\n", verdict->name, verdict->why);
        return;
    }
    printf("%-7s %-34s ",
           verdict->noisy ? "noisy"
           : verdict->met ? "met"
                          : "missed",
           verdict->name);
    print_number(verdict->figure.median);
    printf(" %s (", verdict->unit);
    print_number(verdict->figure.low);
    printf(" to ");
    print_number(verdict->figure.high);
    printf("), %s ", verdict->at_most ? "at most" : "at least");
    print_number(verdict->bound);
    puts(verdict->noisy ? ": too noisy to judge" : "");
}

static void print_json(const struct bench_verdict *verdict)
{
    printf("  {\"name\": \"%s\", \"unit\": \"%s\", \"%s\": %g, ", verdict->name, verdict->unit,
           verdict->at_most ? "at_most" : "at_least", verdict->bound);
    if (verdict->why) {
        fputs("\"met\": null, \"why\": ", stdout);
        cli_json_string(stdout, verdict->why);
    } else {
        printf("\"met\": %s, \"measured\": %.6g, \"low\": %.6g, \"high\": %.6g%s",
               verdict->noisy ? "null"
               : verdict->met ? "true"
                              : "false",
               verdict->figure.median, verdict->figure.low, verdict->figure.high,
               verdict->noisy ? ", \"why\": \"too noisy to judge\"" : "");
    }
    fputs("}", stdout);
}

void bench_quick_print(const struct bench_session *session, const struct bench_verdict *verdicts,
                       size_t count, enum bench_format format)
{
    if (format != BENCH_JSON) {
        for (size_t i = 0; i < count; i++)
            print_text(&verdicts[i]);
        return;
    }
    fputs("{", stdout);
    bench_json_device(session);
    fputs(" \"targets\": [\n", stdout);
    for (size_t i = 0; i < count; i++) {
        fputs(i > 0 ? ",\n" : "", stdout);
        print_json(&verdicts[i]);
    }
    fputs("\n]}\n", stdout);
}
