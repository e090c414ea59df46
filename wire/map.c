#include "map.h"

#include "memory.h"

#include <stdlib.h>

enum { FIRST_CAPACITY = 16 };

/* Keys of peers may be chosen to meet in one bucket: what is theirs has a bound. */
static size_t bucket_of(const struct ferry__wire_map *map, uint64_t key)
{
    key ^= key >> 32;
    key *= UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(key >> 32) & (map->capacity - 1);
}

static bool grow(struct ferry__wire_map *map)
{
    struct ferry__wire_map larger = {.capacity = map->capacity ? 2 * map->capacity : FIRST_CAPACITY,
                                     .count = map->count};
    larger.buckets = ferry__wire_alloc(larger.capacity * sizeof(struct ferry__wire_node *));
    if (!larger.buckets)
        return map->capacity; /* it is slower then */
    for (size_t i = 0; i < map->capacity; i++)
        for (struct ferry__wire_node *node = map->buckets[i], *next; node; node = next) {
            struct ferry__wire_node **bucket = &larger.buckets[bucket_of(&larger, node->key)];
            next = node->next;
            node->next = *bucket;
            *bucket = node;
        }
    free(map->buckets);
    *map = larger;
    return true;
}

bool ferry__wire_map_add(struct ferry__wire_map *map, struct ferry__wire_node *node)
{
    if (map->count >= map->capacity && !grow(map))
        return false;
    struct ferry__wire_node **bucket = &map->buckets[bucket_of(map, node->key)];
    node->next = *bucket;
    *bucket = node;
    map->count++;
    return true;
}

struct ferry__wire_node *ferry__wire_map_find(const struct ferry__wire_map *map, uint64_t key)
{
    struct ferry__wire_node *node = map->count ? map->buckets[bucket_of(map, key)] : NULL;
    while (node && node->key != key)
        node = node->next;
    return node;
}

bool ferry__wire_map_remove(struct ferry__wire_map *map, struct ferry__wire_node *node)
{
    if (!map->count)
        return false;
    struct ferry__wire_node **at = &map->buckets[bucket_of(map, node->key)];
    while (*at && *at != node)
        at = &(*at)->next;
    if (!*at)
        return false;
    *at = node->next;
    node->next = NULL;
    map->count--;
    return true;
}

struct ferry__wire_node *ferry__wire_map_take(struct ferry__wire_map *map)
{
    for (size_t i = 0; map->count && i < map->capacity; i++)
        if (map->buckets[i]) {
            struct ferry__wire_node *node = map->buckets[i];
            map->buckets[i] = node->next;
            map->count--;
            return node;
        }
    return NULL;
}

void ferry__wire_map_finish(struct ferry__wire_map *map)
{
    free(map->buckets);
    *map = (struct ferry__wire_map){0};
}
