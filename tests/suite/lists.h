/* Lists of scattered blocks, in any way and on a model. */
#ifndef FERRY_TESTS_SUITE_LISTS_H
#define FERRY_TESTS_SUITE_LISTS_H

#include "suite.h"

enum way { WAIT, ASYNC, BATCH, WAYS };

struct list {
    enum ferry_operation operation;
    struct mirror *dst, *src; /* NULL: the host's side */
    unsigned char *host;      /* NULL: offsets are addresses */
    const struct ferry_block *blocks;
    size_t count;
};

void list_model(const struct list *list); /* what it does, on what the mirrors and the host hold */
enum ferry_status list_wait(const struct list *list);
enum ferry_status list_start(const struct list *list, ferry_ticket *out);
enum ferry_status list_add(ferry_batch *batch, const struct list *list);

/* Carries it out. The list that is given is overwritten while it is under way: it was copied. */
void list_run(ferry_device *device, const struct list *list, enum way way);

/* MANY blocks over ARENA bytes. Apart: each in a place of its own, in any order; else anywhere. All
 * sizes and phases. Returns MANY. */
enum { ARENA = 1 << 18, MANY = 300 };

size_t list_random(struct ferry_block *blocks, bool apart, uint32_t seed);

/* Host memory with a model of what it holds. */
struct twin {
    unsigned char *bytes, *want;
    size_t size;
};

struct twin make_twin(size_t size, unsigned seed);
void drop_twin(struct twin *twin); /* compares */
void list_run_on_host(ferry_device *device, struct list list, struct twin *twin, enum way way);

#endif
