#include "base/tree.h"

#include <stddef.h>
#include <stdint.h>

/* Heap order in a treap: numbers that look random, and differ where keys do. */
static uint64_t weight(const struct ferry__node *node)
{
    uint64_t x = node->key;
    x = (x ^ (x >> 32)) * UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 29)) * UINT64_C(0xBF58476D1CE4E5B9);
    return x ^ (x >> 32);
}

/* The place that points to a node. */
static struct ferry__node **link_of(struct ferry__tree *tree, const struct ferry__node *node)
{
    if (!node->up)
        return &tree->root;
    return node->up->left == node ? &node->up->left : &node->up->right;
}

/* A node takes its parent's place, and the parent becomes its child. */
static void rotate_up(struct ferry__tree *tree, struct ferry__node *node)
{
    struct ferry__node *up = node->up, **link = link_of(tree, up), *moved;
    if (up->left == node) {
        moved = up->left = node->right;
        node->right = up;
    } else {
        moved = up->right = node->left;
        node->left = up;
    }
    if (moved)
        moved->up = up;
    node->up = up->up;
    up->up = node;
    *link = node;
}

/* Behind all others: up the right edge from the last, which is a step or two on average. */
static void add_last(struct ferry__tree *tree, struct ferry__node *node)
{
    struct ferry__node *up = tree->last, *below = NULL;
    const uint64_t own = weight(node);
    while (up && weight(up) < own) {
        below = up;
        up = up->up;
    }
    node->left = below;
    node->right = NULL;
    node->up = up;
    if (below)
        below->up = node;
    *(up ? &up->right : &tree->root) = node;
    tree->last = node;
    if (!tree->first)
        tree->first = node;
}

void ferry__tree_add(struct ferry__tree *tree, struct ferry__node *node)
{
    struct ferry__node *up = NULL, **link = &tree->root;
    if (!tree->last || tree->last->key < node->key) {
        add_last(tree, node);
        return;
    }
    while (*link) {
        up = *link;
        link = node->key < up->key ? &up->left : &up->right;
    }
    node->left = node->right = NULL;
    node->up = up;
    *link = node;
    const uint64_t own = weight(node);
    while (node->up && weight(node->up) < own)
        rotate_up(tree, node);
    if (node->key < tree->first->key)
        tree->first = node;
}

void ferry__tree_remove(struct ferry__tree *tree, struct ferry__node *node)
{
    struct ferry__node *left = node->left, *right = node->right;
    struct ferry__node **link = link_of(tree, node), *up = node->up;
    if (tree->first == node)
        tree->first = ferry__tree_next(node);
    if (tree->last == node)
        tree->last = ferry__tree_previous(node);
    while (left && right) { /* its two sides become one */
        struct ferry__node *top = weight(left) > weight(right) ? left : right;
        *link = top;
        top->up = up;
        up = top;
        link = top == left ? &top->right : &top->left;
        *(top == left ? &left : &right) = *link;
    }
    *link = left ? left : right;
    if (*link)
        (*link)->up = up;
    node->left = node->right = node->up = NULL;
}

struct ferry__node *ferry__tree_next(const struct ferry__node *node)
{
    if (node->right) {
        node = node->right;
        while (node->left)
            node = node->left;
        return (struct ferry__node *)node;
    }
    while (node->up && node->up->right == node)
        node = node->up;
    return node->up;
}

struct ferry__node *ferry__tree_previous(const struct ferry__node *node)
{
    if (node->left) {
        node = node->left;
        while (node->right)
            node = node->right;
        return (struct ferry__node *)node;
    }
    while (node->up && node->up->left == node)
        node = node->up;
    return node->up;
}

struct ferry__node *ferry__tree_floor(const struct ferry__tree *tree, uint64_t key)
{
    struct ferry__node *node = tree->root, *found = NULL;
    while (node) {
        if (node->key <= key)
            found = node;
        node = node->key <= key ? node->right : node->left;
    }
    return found;
}
