/* Tables by a 64-bit key. The nodes are members of what they stand for. */
#ifndef FERRY_WIRE_MAP_H
#define FERRY_WIRE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ferry__wire_node {
    uint64_t key;
    struct ferry__wire_node *next;
};

struct ferry__wire_map {
    struct ferry__wire_node **buckets; /* NULL: none yet */
    size_t capacity, count;            /* capacity: a power of two */
};

#define FERRY_WIRE_OF(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* Adds a node that is in no table, with its key set. False: no memory. */
bool ferry__wire_map_add(struct ferry__wire_map *map, struct ferry__wire_node *node);
struct ferry__wire_node *ferry__wire_map_find(const struct ferry__wire_map *map, uint64_t key);
/* Takes out the node itself; false: it is not in the table. */
bool ferry__wire_map_remove(struct ferry__wire_map *map, struct ferry__wire_node *node);
/* Any of them, taken out; NULL: it is empty. */
struct ferry__wire_node *ferry__wire_map_take(struct ferry__wire_map *map);
void ferry__wire_map_finish(struct ferry__wire_map *map); /* an empty one */

#endif
