/* A bad client of Metal, whose breaches are counted. rules.inc has the list of what it does. */
#ifndef METALSIM_RULES_H
#define METALSIM_RULES_H

#include "metal_world.h"

#include "drivers/metal/objc.h"

#define RULE(rule, kind, body) void body(void **unused);
#include "rules.inc"
#undef RULE

/* The client's device, queue of 4 command buffers, and two buffers of 4096 bytes. */
struct client {
    mtl_id device, queue, shared, priv;
    void *pool;
};

struct client client_begin(struct metalsim_config config);
void client_end(struct client *client);

/* Since the last call exactly this rule was broken, this often. */
void assert_broken(enum metalsim_rule rule, uint64_t times);

/* Like assert_broken, for what a child of this process reported. */
void note_broken(enum metalsim_rule rule);

void commit_and_wait(mtl_id commands);
void copy_once(struct client *c, mtl_id src, uint64_t from, mtl_id dst, uint64_t to, uint64_t size);
mtl_id own_device(unsigned index); /* retained */

/* A completed handler that calls run, and counts how often it was copied and disposed of. */
extern int handlers_copied, handlers_disposed;
struct mtl_closure client_handler(void (*run)(const struct mtl_closure *block, mtl_id commands),
                                  void *captured);
void handle_nothing(const struct mtl_closure *block, mtl_id commands);

#endif
