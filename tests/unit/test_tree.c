/* The ordered set against a sorted array, in every order of coming and going. */
#include "base/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 300, LONG = 200000 };

static struct ferry__node nodes[LONG];
static bool in[MOST];

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* Keys are the nodes' numbers times 3: those between belong to nobody. */
static void check(const struct ferry__tree *tree)
{
    const struct ferry__node *node = tree->first, *before = NULL;
    for (size_t i = 0; i < MOST; i++) {
        if (in[i]) {
            assert_ptr_equal(node, &nodes[i]);
            assert_ptr_equal(ferry__tree_previous(node), before);
            before = node;
            node = ferry__tree_next(node);
        }
        for (uint64_t key = 3 * i; key < 3 * i + 3; key++)
            assert_ptr_equal(ferry__tree_floor(tree, key), before);
    }
    assert_null(node);
    assert_ptr_equal(tree->last, before);
}

static void comes_and_goes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct ferry__tree tree = {0};
        uint64_t luck = seed;
        memset(in, 0, sizeof in);
        for (size_t step = 0; step < 2000; step++) {
            /* Now and then a run in order, as tickets come. */
            const size_t i = step % 400 < 200 ? next_random(&luck) % MOST : step % MOST;
            nodes[i].key = 3 * i;
            if (in[i])
                ferry__tree_remove(&tree, &nodes[i]);
            else
                ferry__tree_add(&tree, &nodes[i]);
            in[i] = !in[i];
            if (step % 50 == 0)
                check(&tree);
        }
        check(&tree);
    }
}

static size_t depth_of(const struct ferry__node *node)
{
    size_t depth = 0;
    for (; node; node = node->up)
        depth++;
    return depth;
}

/* In order, which a plain tree makes a list of: the depth stays that of chance. */
static void stays_flat(void **state)
{
    (void)state;
    struct ferry__tree tree = {0};
    size_t deepest = 0;
    for (size_t i = 0; i < LONG; i++) {
        nodes[i].key = i + 1;
        ferry__tree_add(&tree, &nodes[i]);
    }
    for (size_t i = 0; i < LONG; i++)
        if (depth_of(&nodes[i]) > deepest)
            deepest = depth_of(&nodes[i]);
    assert_true(deepest < 100); /* 2.5 times the logarithm is usual: 45 */
    for (size_t i = 0; i < LONG; i++) {
        assert_ptr_equal(tree.first, &nodes[i]);
        ferry__tree_remove(&tree, tree.first);
    }
    assert_null(tree.root);
    assert_null(tree.last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(comes_and_goes),
                                       cmocka_unit_test(stays_flat)};
    return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
