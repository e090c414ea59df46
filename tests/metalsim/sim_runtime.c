/* objc_msgSend over GCC's runtime; objects with checked counts; autorelease pools; breaches. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* GCC's libobjc, without its headers: they are in a folder that clang cannot be given. */
typedef struct objc_class *Class;
typedef struct objc_method *Method;
typedef struct objc_object *id;
typedef const struct objc_selector *SEL;
typedef void (*IMP)(void);
struct objc_method_description {
    SEL name;
    const char *types;
};
extern IMP objc_msg_lookup(id receiver, SEL selector);
extern Class objc_allocateClassPair(Class super, const char *name, size_t extra);
extern void objc_registerClassPair(Class class);
extern Class objc_getMetaClass(const char *name);
extern signed char class_addIvar(Class class, const char *name, size_t size,
                                 unsigned char log2_alignment, const char *type);
extern signed char class_addMethod(Class class, SEL selector, IMP method, const char *types);
extern signed char class_respondsToSelector(Class class, SEL selector);
extern const char *class_getName(Class class);
extern const struct objc_method_description *method_getDescription(Method method);
extern SEL sel_registerName(const char *name);
extern const char *sel_getName(SEL selector);

enum { ALIVE = 0x0b7ec7, DEAD = 0x0dead0, QUARANTINE = 1 << 14 };

static Class class_objects[SIM_KINDS];
static struct sim_object live = {.next = &live, .previous = &live};
static struct sim_object *quarantine[QUARANTINE]; /* the last dead, in a ring */
static size_t quarantine_at;
static pthread_key_t pool_key;
_Atomic uint64_t sim_messages;
atomic_bool sim_forked;

/* --- breaches --------------------------------------------------------------------------------- */

void sim_breach(enum metalsim_rule rule, const char *format, ...)
{
    char text[256];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    sim_lock();
    sim.counts.breaches[rule]++;
    memcpy(sim.last_breach, text, sizeof text);
    bool record = sim.config.record;
    sim_unlock();
    if (record)
        return;
    fprintf(stderr, "metalsim: rule %d is broken: %s\n", rule, text);
    abort();
}

/* Apple's runtime aborts in such a child. */
void sim_check_process(const char *what)
{
    if (atomic_load_explicit(&sim_forked, memory_order_relaxed))
        sim_breach(METALSIM_FORK, "%s in a child of the process that loaded Metal", what);
}

/* --- sending ---------------------------------------------------------------------------------- */

/* Saves all that may hold an argument, asks metalsim_lookup, jumps to what it found. */
__asm__(".text\n"
        ".globl objc_msgSend\n"
        ".type objc_msgSend, @function\n"
        "objc_msgSend:\n"
        "    pushq %rbp\n"
        "    movq %rsp, %rbp\n"
        "    subq $192, %rsp\n"
        "    movq %rdi, (%rsp)\n"
        "    movq %rsi, 8(%rsp)\n"
        "    movq %rdx, 16(%rsp)\n"
        "    movq %rcx, 24(%rsp)\n"
        "    movq %r8, 32(%rsp)\n"
        "    movq %r9, 40(%rsp)\n"
        "    movups %xmm0, 48(%rsp)\n"
        "    movups %xmm1, 64(%rsp)\n"
        "    movups %xmm2, 80(%rsp)\n"
        "    movups %xmm3, 96(%rsp)\n"
        "    movups %xmm4, 112(%rsp)\n"
        "    movups %xmm5, 128(%rsp)\n"
        "    movups %xmm6, 144(%rsp)\n"
        "    movups %xmm7, 160(%rsp)\n"
        "    call metalsim_lookup@PLT\n"
        "    movq %rax, %r11\n"
        "    movq (%rsp), %rdi\n"
        "    movq 8(%rsp), %rsi\n"
        "    movq 16(%rsp), %rdx\n"
        "    movq 24(%rsp), %rcx\n"
        "    movq 32(%rsp), %r8\n"
        "    movq 40(%rsp), %r9\n"
        "    movups 48(%rsp), %xmm0\n"
        "    movups 64(%rsp), %xmm1\n"
        "    movups 80(%rsp), %xmm2\n"
        "    movups 96(%rsp), %xmm3\n"
        "    movups 112(%rsp), %xmm4\n"
        "    movups 128(%rsp), %xmm5\n"
        "    movups 144(%rsp), %xmm6\n"
        "    movups 160(%rsp), %xmm7\n"
        "    leave\n"
        "    jmp *%r11\n"
        ".size objc_msgSend, .-objc_msgSend\n"
        ".globl metalsim_nothing\n"
        ".hidden metalsim_nothing\n"
        ".type metalsim_nothing, @function\n"
        "metalsim_nothing:\n"
        "    xorl %eax, %eax\n"
        "    xorl %edx, %edx\n"
        "    xorps %xmm0, %xmm0\n"
        "    ret\n"
        ".size metalsim_nothing, .-metalsim_nothing\n"
        ".section .note.GNU-stack,\"\",@progbits\n"
        ".text\n");

void metalsim_nothing(void);

static bool is_class(const void *object)
{
    for (int i = 0; i < SIM_KINDS; i++)
        if (object == class_objects[i])
            return true;
    return false;
}

static bool is_hidden(SEL selector)
{
    for (size_t i = 0; i < sizeof sim.config.hidden / sizeof *sim.config.hidden; i++)
        if (sim.config.hidden[i] && !strcmp(sel_getName(selector), sim.config.hidden[i]))
            return true;
    return false;
}

METALSIM_API void (*metalsim_lookup(id to, SEL selector))(void)
{
    atomic_fetch_add_explicit(&sim_messages, 1, memory_order_relaxed);
    sim_check_process("a message"); /* the runtime's lock for names may be held for ever */
    if (!to || atomic_load_explicit(&sim_forked, memory_order_relaxed))
        return metalsim_nothing;
    if (!is_class(to) && !sim_is_alive(to)) {
        sim_breach(METALSIM_OBJECTS, "%s to what is no live object", sel_getName(selector));
        return metalsim_nothing;
    }
    if (is_hidden(selector)) {
        sim_breach(METALSIM_DEVICE, "%s, which this Metal does not have", sel_getName(selector));
        return metalsim_nothing;
    }
    Class class = is_class(to) ? objc_getMetaClass(class_getName((Class)to))
                               : (Class)((struct sim_object *)to)->isa;
    if (!class_respondsToSelector(class, selector)) {
        sim_breach(METALSIM_OBJECTS, "a %s does not have the method %s", class_getName(class),
                   sel_getName(selector));
        return metalsim_nothing;
    }
    return (void (*)(void))objc_msg_lookup(to, selector);
}

/* GCC has it as an inline function only. */
METALSIM_API mtl_id object_getClass(mtl_id object);
mtl_id object_getClass(mtl_id object)
{
    return object ? (mtl_id)((struct sim_object *)object)->isa : NULL;
}

METALSIM_API const char *method_getTypeEncoding(void *method)
{
    const struct objc_method_description *description = method_getDescription(method);
    if (sim.config.retyped && !strcmp(sel_getName(description->name), sim.config.retyped))
        return sim.config.encoding;
    return description->types;
}

static sim_dirty_bool object_responds(mtl_id self, mtl_sel cmd, mtl_sel selector)
{
    (void)cmd;
    Class class = (Class)((struct sim_object *)self)->isa;
    return SIM_BOOL(class_respondsToSelector(class, (SEL)selector) && !is_hidden((SEL)selector));
}

/* --- classes ---------------------------------------------------------------------------------- */

static const struct {
    const char *selector, *encoding;
} rows[MTL_SEL_COUNT] = {
#define MTL_ROW(name, s, e) [MTL_SEL_##name] = {s, e},
#define SEND0(on, name, s, e, ...) MTL_ROW(name, s, e)
#define SEND1(on, name, s, e, ...) MTL_ROW(name, s, e)
#define SEND2(on, name, s, e, ...) MTL_ROW(name, s, e)
#define SEND3(on, name, s, e, ...) MTL_ROW(name, s, e)
#define SEND4(on, name, s, e, ...) MTL_ROW(name, s, e)
#define SEND5(on, name, s, e, ...) MTL_ROW(name, s, e)
#include "../../drivers/metal/selectors.inc"
#include "../../drivers/metal/selectors_end.inc"
};

static const struct sim_method root_methods[] = {SIM_BOOL_METHOD(responds, object_responds),
                                                 {0, NULL}};

const struct sim_class sim_classes[SIM_KINDS] = {
    [SIM_STRING] = {"NSString", sim_string_methods, sim_string_class_methods, sim_string_dealloc,
                    sizeof(struct sim_string)},
    [SIM_ARRAY] = {"NSArray", sim_array_methods, NULL, sim_array_dealloc, sizeof(struct sim_array)},
    [SIM_ERROR] = {"NSError", sim_error_methods, NULL, NULL, sizeof(struct sim_error)},
    [SIM_DEVICE] = {"MetalSimDevice", sim_device_methods, NULL, sim_device_dealloc,
                    sizeof(struct sim_device)},
    [SIM_BUFFER] = {"MetalSimBuffer", sim_buffer_methods, NULL, sim_buffer_dealloc,
                    sizeof(struct sim_buffer)},
    [SIM_QUEUE] = {"MetalSimCommandQueue", sim_queue_methods, NULL, sim_queue_dealloc,
                   sizeof(struct sim_queue)},
    [SIM_COMMANDS] = {"MetalSimCommandBuffer", sim_commands_methods, NULL, sim_commands_dealloc,
                      sizeof(struct sim_commands)},
    [SIM_BLIT] = {"MetalSimBlitCommandEncoder", sim_blit_methods, NULL, sim_encoder_dealloc,
                  sizeof(struct sim_encoder)},
    [SIM_COMPUTE] = {"MetalSimComputeCommandEncoder", sim_compute_methods, NULL,
                     sim_encoder_dealloc, sizeof(struct sim_encoder)},
    [SIM_EVENT] = {"MetalSimSharedEvent", sim_event_methods, NULL, sim_event_dealloc,
                   sizeof(struct sim_event)},
    [SIM_PLAIN_EVENT] = {"MetalSimEvent", sim_plain_event_methods, NULL, sim_event_dealloc,
                         sizeof(struct sim_event)},
    [SIM_LISTENER] = {"MTLSharedEventListener", NULL, sim_listener_class_methods,
                      sim_listener_dealloc, sizeof(struct sim_listener)},
    [SIM_PROCESS] = {"NSProcessInfo", sim_process_methods, sim_process_class_methods, NULL,
                     sizeof(struct sim_object)},
    [SIM_DESCRIPTOR] = {"MTLResidencySetDescriptor", NULL, sim_descriptor_class_methods, NULL,
                        sizeof(struct sim_object)},
    [SIM_RESIDENCY] = {"MetalSimResidencySet", sim_residency_methods, NULL, sim_residency_dealloc,
                       sizeof(struct sim_residency)},
    [SIM_LIBRARY] = {"MetalSimLibrary", sim_library_methods, NULL, sim_owned_dealloc,
                     sizeof(struct sim_pipeline)},
    [SIM_FUNCTION] = {"MetalSimFunction", NULL, NULL, sim_owned_dealloc,
                      sizeof(struct sim_pipeline)},
    [SIM_PIPELINE] = {"MetalSimComputePipelineState", sim_pipeline_methods, NULL, sim_owned_dealloc,
                      sizeof(struct sim_pipeline)},
};

static void add_methods(Class class, const struct sim_method *methods)
{
    for (; methods && methods->function; methods++)
        class_addMethod(class, sel_registerName(rows[methods->selector].selector),
                        (IMP)methods->function, rows[methods->selector].encoding);
}

static void exit_thread(void *pointer);

/* Another thread may have the lock, and is not in the child to give it back. */
static void before_fork(void)
{
    sim_lock();
}

static void after_fork(void)
{
    sim_unlock();
}

static void after_fork_in_child(void)
{
    sim_unlock();
    atomic_store(&sim_forked, true);
}

__attribute__((constructor)) static void make_classes(void)
{
    pthread_key_create(&pool_key, exit_thread);
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
    Class root_class = objc_allocateClassPair(NULL, "NSObject", 0);
    class_addIvar(root_class, "isa", sizeof(Class), 3, "#");
    add_methods(root_class, root_methods);
    objc_registerClassPair(root_class);
    for (int i = 0; i < SIM_KINDS; i++) {
        Class class = objc_allocateClassPair(root_class, sim_classes[i].name, 0);
        add_methods(class, sim_classes[i].methods);
        objc_registerClassPair(class);
        add_methods(objc_getMetaClass(sim_classes[i].name), sim_classes[i].class_methods);
        class_objects[i] = class;
    }
    sim_make_constants();
}

/* --- objects ---------------------------------------------------------------------------------- */

bool sim_is_alive(const void *object)
{
    return object && ((const struct sim_object *)object)->magic == ALIVE;
}

void *sim_make_constant(enum sim_kind kind)
{
    struct sim_object *object = calloc(1, sim_classes[kind].size);
    if (!object)
        abort();
    object->isa = class_objects[kind];
    object->magic = ALIVE;
    object->kind = kind;
    atomic_init(&object->references, 1);
    return object;
}

void *sim_make(enum sim_kind kind)
{
    struct sim_object *object = sim_make_constant(kind);
    sim_lock();
    object->next = live.next;
    object->previous = &live;
    live.next->previous = object;
    live.next = object;
    sim_unlock();
    return object;
}

void *sim_check(void *object, enum sim_kind kind)
{
    if (sim_is_alive(object) && ((struct sim_object *)object)->kind == kind)
        return object;
    sim_breach(METALSIM_OBJECTS, "an argument is no live %s", sim_classes[kind].name);
    return NULL;
}

void *sim_retain(void *object)
{
    if (object && !sim_is_alive(object))
        sim_breach(METALSIM_OBJECTS, "retain of what is no live object");
    else if (object)
        atomic_fetch_add(&((struct sim_object *)object)->references, 1);
    return object;
}

/* A dead object keeps its memory until QUARANTINE more have died. */
static void bury(struct sim_object *object)
{
    sim_lock();
    object->magic = DEAD;
    object->next->previous = object->previous;
    object->previous->next = object->next;
    struct sim_object *old = quarantine[quarantine_at % QUARANTINE];
    quarantine[quarantine_at++ % QUARANTINE] = object;
    sim_unlock();
    free(old);
}

void sim_release(void *pointer)
{
    struct sim_object *object = pointer;
    if (!object)
        return;
    if (!sim_is_alive(object)) {
        sim_breach(METALSIM_OBJECTS, "release of what is no live object");
        return;
    }
    if (atomic_fetch_sub(&object->references, 1) != 1)
        return;
    if (sim_classes[object->kind].dealloc)
        sim_classes[object->kind].dealloc(object);
    bury(object);
}

static atomic_uint retain_nap_us;

METALSIM_API void metalsim_slow_retain(unsigned us)
{
    atomic_store(&retain_nap_us, us);
}

METALSIM_API mtl_id objc_retain(mtl_id object)
{
    const unsigned nap_us = atomic_load(&retain_nap_us);
    sim_check_process("objc_retain");
    if (nap_us)
        usleep(nap_us);
    return sim_retain(object);
}

METALSIM_API void objc_release(mtl_id object)
{
    sim_check_process("objc_release");
    sim_release(object);
}

METALSIM_API void metalsim_print_live(void)
{
    sim_lock();
    for (struct sim_object *o = live.next; o != &live; o = o->next)
        fprintf(stderr, "metalsim: alive: %s %p, %d references\n", sim_classes[o->kind].name,
                (void *)o, atomic_load(&o->references));
    sim_unlock();
}

/* Locked. */
void sim_count_live(uint64_t *objects, uint64_t *buffers)
{
    *objects = *buffers = 0;
    for (struct sim_object *o = live.next; o != &live; o = o->next) {
        *objects += o->kind != SIM_DEVICE;
        *buffers += o->kind == SIM_BUFFER;
    }
}

void sim_enter(void *object)
{
    if (atomic_fetch_add(&((struct sim_object *)object)->users, 1))
        sim_breach(METALSIM_THREADS, "two threads at once in a %s",
                   sim_classes[((struct sim_object *)object)->kind].name);
}

void sim_leave(void *object)
{
    atomic_fetch_sub(&((struct sim_object *)object)->users, 1);
}

METALSIM_API void metalsim_enter(void *object)
{
    sim_enter(object);
}

METALSIM_API void metalsim_leave(void *object)
{
    sim_leave(object);
}

/* --- pools: a stack of objects for each thread, with NULL where a pool begins ----------------- */

struct pool_stack {
    void **items;
    size_t count, capacity;
};

static struct pool_stack *pool_stack(void)
{
    struct pool_stack *stack = pthread_getspecific(pool_key);
    if (!stack) {
        stack = calloc(1, sizeof *stack);
        pthread_setspecific(pool_key, stack);
    }
    return stack;
}

static void pool_add(struct pool_stack *stack, void *item)
{
    if (stack->count == stack->capacity) {
        stack->capacity = stack->capacity ? 2 * stack->capacity : 32;
        stack->items = realloc(stack->items, stack->capacity * sizeof *stack->items);
    }
    stack->items[stack->count++] = item;
}

METALSIM_API void *objc_autoreleasePoolPush(void)
{
    sim_check_process("objc_autoreleasePoolPush");
    struct pool_stack *stack = pool_stack();
    pool_add(stack, NULL);
    return (void *)stack->count;
}

METALSIM_API void objc_autoreleasePoolPop(void *pool)
{
    struct pool_stack *stack = pool_stack();
    size_t base = (size_t)pool;
    if (!base || base > stack->count || stack->items[base - 1]) {
        sim_breach(METALSIM_OBJECTS, "a pool is popped that this thread did not push");
        return;
    }
    while (stack->count >= base)
        sim_release(stack->items[--stack->count]);
}

void *sim_autorelease(void *object)
{
    struct pool_stack *stack = pool_stack();
    if (object && !stack->count)
        sim_breach(METALSIM_OBJECTS, "a %s is autoreleased on a thread with no pool",
                   sim_classes[((struct sim_object *)object)->kind].name);
    else if (object)
        pool_add(stack, object);
    return object;
}

void *sim_own_pool_push(void)
{
    return objc_autoreleasePoolPush();
}

void sim_own_pool_pop(void *pool)
{
    objc_autoreleasePoolPop(pool);
}

static void exit_thread(void *pointer)
{
    struct pool_stack *stack = pointer;
    size_t left = stack->count;
    free(stack->items);
    free(stack);
    if (left)
        sim_breach(METALSIM_OBJECTS, "a thread ended with an open pool");
}
