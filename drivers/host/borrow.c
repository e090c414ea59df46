/*
 * What peers read. A peer's commands borrow the bytes from their submission to its end: meanwhile
 * the owner has no command in flight that writes them, since between devices it is the host that
 * waits; nor does it free the memory.
 */
#include "host_internal.h"

void ferry__host_borrow(struct host_command *command)
{
    struct host_memory *memory = command->src;
    pthread_mutex_lock(&memory->borrow_lock);
    ferry__list_push(&memory->borrows, &command->borrow);
    pthread_mutex_unlock(&memory->borrow_lock);
    atomic_fetch_add(&memory->borrowed, 1);
}

void ferry__host_give_back(struct host_command *command)
{
    struct host_memory *memory = command->src;
    pthread_mutex_lock(&memory->borrow_lock);
    ferry__list_remove(&memory->borrows, &command->borrow);
    pthread_mutex_unlock(&memory->borrow_lock);
    atomic_fetch_sub(&memory->borrowed, 1);
}

static bool meets(const struct host_command *reader, uintptr_t begin, uint64_t size)
{
    const uintptr_t from = (uintptr_t)reader->from;
    return begin < from + reader->size && from < begin + size;
}

static bool writes_what_is_read(const struct host_command *writer,
                                const struct host_command *reader)
{
    bool met = !writer->list && meets(reader, (uintptr_t)writer->to, writer->size);
    for (uint32_t i = 0; writer->list && i < writer->block_count && !met; i++)
        met = meets(reader, (uintptr_t)writer->blocks[i].dst, writer->blocks[i].size);
    return met;
}

static bool writes_borrowed(const struct host_command *writer)
{
    struct host_memory *memory = writer->dst;
    bool met = false;
    if (!atomic_load(&memory->borrowed))
        return false;
    pthread_mutex_lock(&memory->borrow_lock);
    for (struct ferry__link *link = memory->borrows.first; link && !met; link = link->next)
        met = writes_what_is_read(writer, FERRY__OF_LINK(link, struct host_command, borrow));
    pthread_mutex_unlock(&memory->borrow_lock);
    return met;
}

const char *ferry__host_check_borrowed(const struct host_submission *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (writes_borrowed(&s->commands[i]))
            return "a write of what a peer is reading";
    return NULL;
}

static bool submission_writes(const struct host_submission *s, const struct host_command *reader)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->commands[i].dst == reader->src && writes_what_is_read(&s->commands[i], reader))
            return true;
    return false;
}

static bool owner_writes(const struct host_command *reader)
{
    struct host_device *owner = reader->src->device;
    bool met = false;
    pthread_mutex_lock(&owner->lock);
    for (uint32_t q = 0; q < owner->limits.queue_count; q++)
        for (struct host_submission *s = owner->queues[q].head; s && !met; s = s->next)
            met = submission_writes(s, reader);
    pthread_mutex_unlock(&owner->lock);
    return met;
}

const char *ferry__host_check_owners(const struct host_submission *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct host_command *command = &s->commands[i];
        if (command->src && command->src->device != command->dst->device && owner_writes(command))
            return "a read of what its owner is writing";
    }
    return NULL;
}
