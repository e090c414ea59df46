/* The knobs: one table. docs/host-driver.md tells what each does. */
#include "host_internal.h"

#include <stdio.h>
#include <string.h>

enum kind {
    FLAG,   /* takes no value and sets the knob to maximum */
    NUMBER, /* from minimum to maximum, with K, M or G */
    POWER,  /* likewise, 0 (where minimum is) or a power of 2 */
    COUNT,  /* likewise, or "all": may change on an open device */
};

struct row {
    const char *name;
    enum host_knob knob;
    enum kind kind;
    uint64_t minimum, maximum, initial;
};

static const struct row rows[] = {
    {"align", HOST_ALIGN, POWER, 1, FERRY_BUFFER_ALIGNMENT, 1},
    {"fill_pattern", HOST_FILL_PATTERN, POWER, 0, FERRY__PATTERN_MAX, FERRY__PATTERN_MAX},
    {"kernel", HOST_KERNEL, FLAG, 0, 1, 0},
    {"no_kernel", HOST_KERNEL, FLAG, 0, 0, 0},
    {"late_kernel", HOST_LATE_KERNEL, COUNT, 0, UINT64_MAX, 0},
    {"kernel_from", HOST_KERNEL_FROM, NUMBER, 0, UINT64_MAX, 0},
    {"blocks", HOST_BLOCKS, NUMBER, 0, UINT32_MAX, 1 << 20},
    {"block_size", HOST_BLOCK_SIZE, POWER, 1, 1 << 30, 1 << 20},
    {"blocks_copy_from", HOST_BLOCKS_COPY_FROM, NUMBER, 0, UINT64_MAX, 0},
    {"max_copy", HOST_MAX_COPY, NUMBER, 1, UINT64_MAX, UINT64_MAX},
    {"max_allocation", HOST_MAX_ALLOCATION, NUMBER, 1, UINT64_MAX, UINT64_MAX},
    {"no_import", HOST_NO_IMPORT, FLAG, 0, 1, 0},
    {"import_costly", HOST_IMPORT_COSTLY, FLAG, 0, 1, 0},
    {"import_fail", HOST_IMPORT_FAIL, COUNT, 0, UINT64_MAX, 0},
    {"no_map", HOST_NO_MAP, FLAG, 0, 1, 0},
    {"noncoherent", HOST_NONCOHERENT, FLAG, 0, 1, 0},
    {"zero_off", HOST_ZERO_OFF, FLAG, 0, 1, 0},
    {"memory", HOST_MEMORY, NUMBER, 1, UINT64_MAX, 0},
    {"queues", HOST_QUEUES, NUMBER, 1, FERRY__QUEUES_MAX, 0},
    {"delay_us", HOST_DELAY_US, COUNT, 0, 10 * 1000 * 1000, 0},
    {"out_of_order", HOST_OUT_OF_ORDER, FLAG, 0, 1, 0},
    {"fail_alloc", HOST_FAIL_ALLOC, COUNT, 0, UINT64_MAX, 0},
    {"fail_submit", HOST_FAIL_SUBMIT, COUNT, 0, UINT64_MAX, 0},
    {"fail_exec", HOST_FAIL_EXEC, COUNT, 0, UINT64_MAX, 0},
    {"fail_every", HOST_FAIL_EVERY, COUNT, 0, UINT64_MAX, 0},
    {"lose_at", HOST_LOSE_AT, COUNT, 0, UINT64_MAX, 0},
    {"seed", HOST_SEED, NUMBER, 0, UINT64_MAX, 1},
    {"devices", HOST_DEVICES, NUMBER, 1, 64, 2},
    {"events", HOST_EVENTS, FLAG, 0, 1, 0},
    {"peers", HOST_PEERS, FLAG, 0, 1, 0},
};

enum { ROWS = sizeof rows / sizeof rows[0] };

static const struct row *find(const char *name, size_t length)
{
    for (size_t i = 0; i < ROWS; i++)
        if (strlen(rows[i].name) == length && memcmp(rows[i].name, name, length) == 0)
            return &rows[i];
    return NULL;
}

static bool number(const char *text, size_t length, uint64_t *out)
{
    uint64_t value = 0;
    size_t i = 0;
    for (; i < length && text[i] >= '0' && text[i] <= '9'; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (i == 0)
        return false;
    if (i + 1 == length) {
        static const char units[] = "KMG";
        const char *unit = memchr(units, text[i], 3);
        unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 64;
        if (shift == 64 || value > UINT64_MAX >> shift)
            return false;
        value <<= shift;
        i++;
    }
    *out = value;
    return i == length;
}

/* text is what stands behind the name, of length bytes; NULL: no "=". */
static bool set(struct host_knobs *knobs, const struct row *row, const char *text, size_t length,
                char *why)
{
    uint64_t value = row->maximum;
    if (row->kind == FLAG) {
        if (text) {
            snprintf(why, FERRY__WHY_MAX, "FERRY_HOST: knob %s takes no value", row->name);
            return false;
        }
    } else if (row->kind == COUNT && text && length == 3 && memcmp(text, "all", 3) == 0) {
        value = UINT64_MAX;
    } else if (!text || !number(text, length, &value)) {
        snprintf(why, FERRY__WHY_MAX, "FERRY_HOST: knob %s takes a number, as %s=4 or %s=4K",
                 row->name, row->name, row->name);
        return false;
    }
    if (value < row->minimum || value > row->maximum) {
        snprintf(why, FERRY__WHY_MAX, "FERRY_HOST: %s=%.*s is not from %llu to %llu", row->name,
                 (int)length, text ? text : "", (unsigned long long)row->minimum,
                 (unsigned long long)row->maximum);
        return false;
    }
    if (row->kind == POWER && (value & (value - 1)) != 0) {
        snprintf(why, FERRY__WHY_MAX, "FERRY_HOST: %s=%llu is not a power of 2", row->name,
                 (unsigned long long)value);
        return false;
    }
    atomic_store(&knobs->value[row->knob], value);
    return true;
}

void ferry__host_knobs_default(struct host_knobs *knobs)
{
    for (size_t i = 0; i < ROWS; i++)
        atomic_store(&knobs->value[rows[i].knob], rows[i].initial);
}

bool ferry__host_knobs_parse(struct host_knobs *knobs, const char *text, char *why)
{
    while (text && *text) {
        size_t length = strcspn(text, ",");
        const char *equals = memchr(text, '=', length);
        size_t name = equals ? (size_t)(equals - text) : length;
        const struct row *row = find(text, name);
        if (length && !row) {
            snprintf(why, FERRY__WHY_MAX,
                     "FERRY_HOST: no knob is called \"%.*s\" (docs/host-driver.md lists them)",
                     (int)(name < 40 ? name : 40), text);
            return false;
        }
        if (length &&
            !set(knobs, row, equals ? equals + 1 : NULL, equals ? length - name - 1 : 0, why))
            return false;
        text += length + (text[length] == ',');
    }
    return true;
}

enum host_knob ferry__host_knob_live(const char *name)
{
    const struct row *row = find(name, strlen(name));
    return row && row->kind == COUNT ? row->knob : HOST_KNOB_COUNT;
}

bool ferry__host_reaches(void *state, void *other)
{
    const struct host_device *device = state, *peer = other;
    return ferry__host_knob(&device->knobs, HOST_PEERS) &&
           ferry__host_knob(&peer->knobs, HOST_PEERS);
}
