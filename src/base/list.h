/* A list whose links are parts of what it holds. Not locked. */
#ifndef FERRY_BASE_LIST_H
#define FERRY_BASE_LIST_H

#include <stddef.h>

struct ferry__link {
    struct ferry__link *next, *previous; /* NULL: it is the last, the first */
};

struct ferry__list {
    struct ferry__link *first, *last; /* NULL: empty, which all zero is */
};

/* What a link is a part of. */
#define FERRY__OF_LINK(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

/* Behind another of the list; NULL: in front of all. */
static inline void ferry__list_insert(struct ferry__list *list, struct ferry__link *behind,
                                      struct ferry__link *link)
{
    link->previous = behind;
    link->next = behind ? behind->next : list->first;
    *(link->next ? &link->next->previous : &list->last) = link;
    *(behind ? &behind->next : &list->first) = link;
}

static inline void ferry__list_push(struct ferry__list *list, struct ferry__link *link)
{
    ferry__list_insert(list, list->last, link);
}

static inline void ferry__list_remove(struct ferry__list *list, struct ferry__link *link)
{
    *(link->previous ? &link->previous->next : &list->first) = link->next;
    *(link->next ? &link->next->previous : &list->last) = link->previous;
}

/* Takes the first; NULL: it is empty. */
static inline struct ferry__link *ferry__list_pop(struct ferry__list *list)
{
    struct ferry__link *link = list->first;
    if (link)
        ferry__list_remove(list, link);
    return link;
}

/* Takes all. */
static inline struct ferry__list ferry__list_take(struct ferry__list *list)
{
    const struct ferry__list taken = *list;
    *list = (struct ferry__list){NULL, NULL};
    return taken;
}

#endif
