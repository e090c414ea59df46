/*
 * All that the driver knows of the Objective-C runtime: objects, typed message sends, blocks and
 * autorelease pools, in plain C and without any header of Apple's. docs/metal.md explains.
 *
 * Ownership. A send whose row in selectors.inc says NEW gives an object to release with
 * mtl_release; GET gives one that lives until the pool is popped: mtl_retain keeps it.
 * Pools. Every function of the driver that sends messages, every block that Metal calls and every
 * release runs inside mtl_pool_push and mtl_pool_pop, on whatever thread that is.
 * A message to NULL does nothing and gives 0.
 */
#ifndef FERRY_METAL_OBJC_H
#define FERRY_METAL_OBJC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct mtl_object *mtl_id;
typedef struct mtl_selector *mtl_sel;
typedef const struct mtl_block_head *mtl_block;

/* BOOL, whose type is not the same on the two kinds of Mac. */
#if defined(__x86_64__)
typedef signed char mtl_bool;
#else
typedef bool mtl_bool;
#endif

struct mtl_range {
    uint64_t location, length;
};

struct mtl_size {
    uint64_t width, height, depth;
};

struct mtl_version {
    int64_t major, minor, patch;
};

/* Kinds of receiver, for the check of encodings. */
enum {
    MTL_ON_NONE = 0,
    MTL_ON_ARRAY = 1 << 0,
    MTL_ON_ERROR = 1 << 1,
    MTL_ON_DEVICE = 1 << 2,
    MTL_ON_BUFFER = 1 << 3,
    MTL_ON_QUEUE = 1 << 4,
    MTL_ON_COMMANDS = 1 << 5,
    MTL_ON_BLIT = 1 << 6,
    MTL_ON_COMPUTE = 1 << 7,
    MTL_ON_EVENT = 1 << 8,
    MTL_ON_LIBRARY = 1 << 9,
    MTL_ON_PIPELINE = 1 << 10,
    MTL_ON_PROCESS = 1 << 11,
    MTL_ON_PLAIN_EVENT = 1 << 12,
    MTL_ON_RESIDENCY = 1 << 13,
    MTL_ON_ENCODERS = MTL_ON_BLIT | MTL_ON_COMPUTE,
    MTL_ON_OWNED = MTL_ON_BUFFER | MTL_ON_QUEUE,
    MTL_ON_LABELED =
        MTL_ON_BUFFER | MTL_ON_QUEUE | MTL_ON_COMMANDS | MTL_ON_EVENT | MTL_ON_PLAIN_EVENT,
    MTL_ON_ALL = MTL_ON_DEVICE | MTL_ON_BUFFER | MTL_ON_QUEUE | MTL_ON_COMMANDS | MTL_ON_ENCODERS |
                 MTL_ON_PROCESS,
};

/* --- selectors: MTL_SEL_name indexes mtl.sel -------------------------------------------------- */

enum mtl_selector_index {
#define MTL_ROW(name) MTL_SEL_##name,
#define SEND0(on, name, ...) MTL_ROW(name)
#define SEND1(on, name, ...) MTL_ROW(name)
#define SEND2(on, name, ...) MTL_ROW(name)
#define SEND3(on, name, ...) MTL_ROW(name)
#define SEND4(on, name, ...) MTL_ROW(name)
#define SEND5(on, name, ...) MTL_ROW(name)
#include "selectors.inc"
#include "selectors_end.inc"
    MTL_SEL_COUNT
};

/* --- the runtime, loaded once and never unloaded ---------------------------------------------- */

struct mtl_runtime {
    void (*msg_send)(void); /* objc_msgSend: always called through an exact prototype */
    mtl_sel sel[MTL_SEL_COUNT];
    mtl_sel (*register_selector)(const char *name);
    mtl_id (*get_class)(const char *name);
    mtl_id (*class_of)(mtl_id object);
    void *(*instance_method)(mtl_id cls, mtl_sel selector);
    const char *(*method_encoding)(void *method);
    void *(*pool_push)(void);
    void (*pool_pop)(void *pool);
    mtl_id (*retain)(mtl_id object);
    void (*release)(mtl_id object);
    void *stack_block_class; /* &_NSConcreteStackBlock */
    mtl_id string_class, listener_class, process_class, residency_class;
    mtl_id (*copy_all_devices)(void);
    const mtl_id *error_domain; /* of command buffers: a constant NSString; NULL: there is none */
    _Atomic pid_t process;      /* that loaded it: no other may use it */
    char why[160];              /* not empty: Metal cannot be used, and why */
};

extern struct mtl_runtime ferry__mtl;

/* Loads Metal on the first call; OK: ferry__mtl is complete. NO_DEVICE, OUT_OF_HOST_MEMORY:
 * ferry__mtl_why() says why not. Never OK in a child of the process that loaded it: the Objective-C
 * runtime aborts there. */
enum ferry_status ferry__mtl_load(void);
const char *ferry__mtl_why(void);
bool ferry__mtl_is_child(void); /* nothing may be sent, not even a release */

/* Compares what the list says of these receivers with object's own methods. False: why (of size
 * bytes) names the selector and both encodings, or the one that is missing. */
bool ferry__mtl_check(mtl_id object, unsigned receivers, char *why, size_t size);

/* Do two encodings pass their values in the same registers? Names and qualifiers do not count. */
bool ferry__mtl_same_encoding(const char *a, const char *b);

static inline void *mtl_pool_push(void)
{
    return ferry__mtl.pool_push();
}

static inline void mtl_pool_pop(void *pool)
{
    ferry__mtl.pool_pop(pool);
}

static inline mtl_id mtl_retain(mtl_id object)
{
    return object ? ferry__mtl.retain(object) : NULL;
}

/* Inside a pool: the last release of a buffer autoreleases its device. */
static inline void mtl_release(mtl_id object)
{
    if (object)
        ferry__mtl.release(object);
}

/* --- typed message sends: mtl_name(receiver, arguments...) ------------------------------------ */

#define MTL_SEND(name, R, ...) ((R(*)(__VA_ARGS__))ferry__mtl.msg_send)
#define SEND0(on, name, s, e, o, v, n, R)                                              \
    static inline R mtl_##name(mtl_id to)                                              \
    {                                                                                  \
        return MTL_SEND(name, R, mtl_id, mtl_sel)(to, ferry__mtl.sel[MTL_SEL_##name]); \
    }
#define SEND1(on, name, s, e, o, v, n, R, A)                                                 \
    static inline R mtl_##name(mtl_id to, A a)                                               \
    {                                                                                        \
        return MTL_SEND(name, R, mtl_id, mtl_sel, A)(to, ferry__mtl.sel[MTL_SEL_##name], a); \
    }
#define SEND2(on, name, s, e, o, v, n, R, A, B)                                                    \
    static inline R mtl_##name(mtl_id to, A a, B b)                                                \
    {                                                                                              \
        return MTL_SEND(name, R, mtl_id, mtl_sel, A, B)(to, ferry__mtl.sel[MTL_SEL_##name], a, b); \
    }
#define SEND3(on, name, s, e, o, v, n, R, A, B, C)                                                \
    static inline R mtl_##name(mtl_id to, A a, B b, C c)                                          \
    {                                                                                             \
        return MTL_SEND(name, R, mtl_id, mtl_sel, A, B, C)(to, ferry__mtl.sel[MTL_SEL_##name], a, \
                                                           b, c);                                 \
    }
#define SEND4(on, name, s, e, o, v, n, R, A, B, C, D)                                             \
    static inline R mtl_##name(mtl_id to, A a, B b, C c, D d)                                     \
    {                                                                                             \
        return MTL_SEND(name, R, mtl_id, mtl_sel, A, B, C, D)(to, ferry__mtl.sel[MTL_SEL_##name], \
                                                              a, b, c, d);                        \
    }
#define SEND5(on, name, s, e, o, v, n, R, A, B, C, D, E)                        \
    static inline R mtl_##name(mtl_id to, A a, B b, C c, D d, E e_)             \
    {                                                                           \
        return MTL_SEND(name, R, mtl_id, mtl_sel, A, B, C, D,                   \
                        E)(to, ferry__mtl.sel[MTL_SEL_##name], a, b, c, d, e_); \
    }
#include "selectors.inc"
#include "selectors_end.inc"
#undef MTL_SEND

/* Does the object have this optional method? */
#define MTL_RESPONDS(object, name) (mtl_responds((object), ferry__mtl.sel[MTL_SEL_##name]) != 0)

/* An autoreleased NSString; NULL for NULL and for what is not UTF-8. */
static inline mtl_id mtl_string(const char *text)
{
    return text ? mtl_string_with(ferry__mtl.string_class, text) : NULL;
}

/* --- blocks: what clang makes of ^{ }, by hand ------------------------------------------------ */

enum { MTL_BLOCK_HAS_COPY_DISPOSE = 1 << 25, MTL_BLOCK_HAS_SIGNATURE = 1 << 30 };

struct mtl_block_head {
    void *isa;
    int flags;
    int reserved;
    void (*invoke)(void);
    const struct mtl_block_description *description;
};

struct mtl_block_description {
    unsigned long reserved, size;
    void (*copy)(void *to, const void *from);
    void (*dispose)(const void *block);
    const char *signature;
};

/* A block with one captured pointer. Metal copies it from the stack, calling copy, and calls
 * dispose once for each copy, when it will never be called again. */
struct mtl_closure {
    struct mtl_block_head head;
    void *captured;
};

/* A closure of type void (^)(id), for addCompletedHandler:. */
static inline struct mtl_closure
mtl_closure(void (*invoke)(void), const struct mtl_block_description *description, void *captured)
{
    return (struct mtl_closure){
        .head = {.isa = ferry__mtl.stack_block_class,
                 .flags = MTL_BLOCK_HAS_COPY_DISPOSE | MTL_BLOCK_HAS_SIGNATURE,
                 .invoke = invoke,
                 .description = description},
        .captured = captured,
    };
}

/* --- Metal's numbers -------------------------------------------------------------------------- */

enum {
    MTL_OPTION_WRITE_COMBINED = 0x1,
    MTL_OPTION_SHARED = 0x00,
    MTL_OPTION_MANAGED = 0x10,
    MTL_OPTION_PRIVATE = 0x20,
    MTL_OPTION_UNTRACKED = 0x100,
    MTL_STORAGE_SHARED = 0,
    MTL_STORAGE_MANAGED = 1,
    MTL_STORAGE_PRIVATE = 2,
    MTL_HAZARDS_DEFAULT = 0, /* tracked, but in a heap */
    MTL_HAZARDS_UNTRACKED = 1,
    MTL_HAZARDS_TRACKED = 2,
    MTL_FAMILY_APPLE1 = 1001,
    MTL_COMMANDS_COMPLETED = 4,
    MTL_COMMANDS_ERROR = 5,
};

/* NSError codes of a command buffer. */
enum {
    MTL_ERROR_INTERNAL = 1,
    MTL_ERROR_TIMEOUT = 2,
    MTL_ERROR_PAGE_FAULT = 3,
    MTL_ERROR_ACCESS_REVOKED = 4,
    MTL_ERROR_NOT_PERMITTED = 7,
    MTL_ERROR_OUT_OF_MEMORY = 8,
    MTL_ERROR_INVALID_RESOURCE = 9,
    MTL_ERROR_MEMORYLESS = 10,
    MTL_ERROR_DEVICE_REMOVED = 11,
    MTL_ERROR_STACK_OVERFLOW = 12,
};

#endif
