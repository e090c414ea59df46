#include "base/env.h"

#include "base/log.h"
#include "base/status.h"

#include <ferry/ferry.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* Whether the environment makes sense: values that come from a list of words are of that list, and
 * names that are nearly ours are told, since they do nothing. */

extern char **environ;

static const struct variable {
    const char *name, *words;
} variables[] = {
#define FERRY_VARIABLE(name, reader, form, words, help) {name, words},
#include <ferry/environment.inc>
#undef FERRY_VARIABLE
};

enum { VARIABLES = sizeof variables / sizeof *variables, WORD_MAX = 64, FAR = 3 };

/* --- how alike two words are ------------------------------------------------------------------ */

/* How many letters are to be added, dropped, changed or swapped with the next to make b of a; FAR
 * for FAR and more, and where a word is too long to be one of ours. */
static unsigned distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    unsigned rows[3][WORD_MAX + 1];
    if (a_size > WORD_MAX || b_size > WORD_MAX)
        return FAR;
    for (size_t j = 0; j <= b_size; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a_size; i++) {
        unsigned *now = rows[i % 3], *before = rows[(i + 2) % 3], *earlier = rows[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b_size; j++) {
            unsigned best = before[j - 1] + (a[i - 1] != b[j - 1]);
            if (before[j] + 1 < best)
                best = before[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                earlier[j - 2] + 1 < best)
                best = earlier[j - 2] + 1;
            now[j] = best;
        }
    }
    const unsigned result = rows[a_size % 3][b_size];
    return result < FAR ? result : FAR;
}

/* Is one the beginning of the other, as "warn" is of "warning"? */
static bool begins(const char *a, size_t a_size, const char *b, size_t b_size)
{
    const size_t shorter = a_size < b_size ? a_size : b_size;
    return shorter >= 3 && !memcmp(a, b, shorter);
}

/* The next word of a list, from *at on; its length, 0 at the end. */
static size_t next_word(const char **at, const char **out_word)
{
    *at += strspn(*at, " ");
    *out_word = *at;
    const size_t size = strcspn(*at, " ");
    *at += size;
    return size;
}

/* --- values ----------------------------------------------------------------------------------- */

/* The words as they stand in a sentence: "uring or threads". */
static void join(char *out, size_t capacity, const char *words)
{
    const char *word;
    size_t length = 0;
    out[0] = '\0';
    for (size_t size = next_word(&words, &word); size && length < capacity;) {
        const char *following;
        const size_t following_size = next_word(&words, &following);
        const char *before = !length ? "" : following_size ? ", " : " or ";
        length +=
            (size_t)snprintf(out + length, capacity - length, "%s%.*s", before, (int)size, word);
        word = following;
        size = following_size;
    }
}

static enum ferry_status check_value(const struct variable *variable)
{
    const char *value = ferry__env(variable->name), *words = variable->words, *word;
    const char *nearest = "";
    size_t nearest_size = 0;
    unsigned nearest_distance = FAR;
    char all[160], hint[WORD_MAX + 32] = "";
    if (!value || !*value || !*words)
        return FERRY_OK;
    for (size_t size; (size = next_word(&words, &word));) {
        unsigned away = distance(value, strlen(value), word, size);
        if (!away)
            return FERRY_OK;
        if (away > 1 && begins(value, strlen(value), word, size))
            away = 1;
        /* Of a word of three letters hardly anything is near. */
        if (away < nearest_distance && away < size - 1) {
            nearest = word;
            nearest_size = size;
            nearest_distance = away;
        }
    }
    join(all, sizeof all, variable->words);
    if (nearest_size)
        snprintf(hint, sizeof hint, "; did you mean \"%.*s\"?", (int)nearest_size, nearest);
    return ferry__fail(FERRY_ERROR_INVALID_ARGUMENT, "%s is \"%.64s\", not %s%s", variable->name,
                       value, all, hint);
}

/* --- names ------------------------------------------------------------------------------------ */

/* The variable that a name is nearest to, which is not the name itself; NULL: none is near. A short
 * name has many near it that are somebody else's. */
static const char *meant(const char *name)
{
    const char *nearest = NULL;
    unsigned nearest_distance = FAR;
    for (size_t i = 0; i < VARIABLES; i++) {
        const char *known = variables[i].name;
        const unsigned away = distance(name, strlen(name), known, strlen(known));
        if (!away)
            return NULL;
        if (away < nearest_distance && (away == 1 || strlen(known) > 12)) {
            nearest = known;
            nearest_distance = away;
        }
    }
    return nearest;
}

/* Mistakes are made in our own name, too: FERY_DEVICE. */
static void check_names(void)
{
    static atomic_flag done = ATOMIC_FLAG_INIT;
    if (!environ || atomic_flag_test_and_set(&done))
        return;
    for (char *const *entry = environ; *entry; entry++) {
        char name[WORD_MAX];
        const size_t size = strcspn(*entry, "=");
        if (**entry != 'F' || size >= sizeof name)
            continue;
        memcpy(name, *entry, size);
        name[size] = '\0';
        const char *known = ferry__env(name) ? meant(name) : NULL;
        if (known)
            ferry__log(FERRY_LOG_WARN,
                       "the environment has %s, which does nothing: did you mean %s?", name, known);
    }
}

/* --- both ------------------------------------------------------------------------------------- */

static void set_log_level(void)
{
    static const char *const levels[] = {
        [FERRY_LOG_NONE] = "none", [FERRY_LOG_ERROR] = "error", [FERRY_LOG_WARN] = "warn",
        [FERRY_LOG_INFO] = "info", [FERRY_LOG_DEBUG] = "debug",
    };
    const char *value = ferry__env("FERRY_LOG");
    for (size_t i = 0; value && i < sizeof levels / sizeof *levels; i++)
        if (!strcmp(value, levels[i]))
            ferry__log_default((enum ferry_log_level)i);
}

enum ferry_status ferry__env_check(void)
{
    set_log_level();
    for (size_t i = 0; i < VARIABLES; i++) {
        const enum ferry_status status = check_value(&variables[i]);
        if (status)
            return status;
    }
    check_names();
    return FERRY_OK;
}
