/* Host memory that is registered, or imported for one transfer. */
#ifndef FERRY_MEMORY_HOST_MEMORY_H
#define FERRY_MEMORY_HOST_MEMORY_H

#include "base/tree.h"
#include "driver.h"

#include <ferry/ferry.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct ferry__gpu;

/* Host memory that is registered, or imported for one transfer. */
struct ferry__region {
    _Atomic unsigned refs; /* the table's one, and one for each operation in flight */
    unsigned char *base;
    uint64_t size;
    bool imported, read_only, allocated;
    bool for_call;               /* imported for one transfer */
    bool pages;                  /* of the system, mapped by us */
    struct ferry__region *more;  /* the next piece of the same allocation; NULL: none */
    struct ferry__node node;     /* of the device's table, if it is in that */
    struct ferry__memory memory; /* if imported */
    unsigned char *memory_base;  /* the address that memory begins at */
};

/* The registered region that holds all of [host, host + size), with a reference; NULL: none. */
struct ferry__region *ferry__region_find(struct ferry__gpu *gpu, const void *host, uint64_t size);

/* Does any registered region share a byte with [host, host + size)? size is over 0. */
bool ferry__regions_meet(struct ferry__gpu *gpu, const void *host, uint64_t size);

/* Looks at memory that is not in the table: others may have made it known to the device (a region,
 * at *out_region), and what is no host memory is refused. Leaves *out_region as it is otherwise. */
enum ferry_status ferry__region_look(struct ferry__gpu *gpu, const void *host, uint64_t size,
                                     struct ferry__region **out_region);

/* Imports the pages of a range for one transfer. */
enum ferry_status ferry__region_import(struct ferry__gpu *gpu, const void *host, uint64_t size,
                                       bool read_only, struct ferry__region **out_region);
void ferry__region_unref(struct ferry__gpu *gpu, struct ferry__region *region);
void ferry__host_finish(struct ferry__gpu *gpu);

/* Gives back an import of pages that we mapped, and unmaps them. */
void ferry__pages_free(struct ferry__gpu *gpu, struct ferry__memory *memory, void *pages,
                       uint64_t size);

/* Imports the pages around a range. */
enum ferry_status ferry__region_import_pages(struct ferry__gpu *gpu, struct ferry__region *region,
                                             const void *host, uint64_t size, char *why);

/* Puts a region in the table. */
enum ferry_status ferry__regions_add(struct ferry__gpu *gpu, struct ferry__region *region);

/* Under host_lock: the region that begins exactly at memory; NULL: none. */
struct ferry__region *ferry__regions_exact(struct ferry__gpu *gpu, const void *memory);
void ferry__regions_remove(struct ferry__gpu *gpu, struct ferry__region *region);

#endif
