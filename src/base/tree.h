/* An ordered set whose nodes are parts of what it orders: a treap. The next and the last are found
 * at once; what is added behind the last, or taken off the front, costs no more than that. */
#ifndef FERRY_BASE_TREE_H
#define FERRY_BASE_TREE_H

#include <stdint.h>

struct ferry__node {
    struct ferry__node *left, *right, *up;
    uint64_t key; /* set before it is added; no two are the same in a tree */
};

struct ferry__tree {
    struct ferry__node *root, *first, *last; /* NULL: empty, which all zero is */
};

void ferry__tree_add(struct ferry__tree *tree, struct ferry__node *node);
void ferry__tree_remove(struct ferry__tree *tree, struct ferry__node *node);
struct ferry__node *ferry__tree_next(const struct ferry__node *node); /* NULL: it is the last */
struct ferry__node *ferry__tree_previous(const struct ferry__node *node);
/* The last whose key is at most this; NULL: there is none. */
struct ferry__node *ferry__tree_floor(const struct ferry__tree *tree, uint64_t key);

/* What a node is a part of. */
#define FERRY__OF_NODE(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

#endif
