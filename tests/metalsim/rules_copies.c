/* Rules 1 to 4, 16 and 18: copies and fills. */
#include "rules.h"

static void fill_once(struct client *c, mtl_id dst, uint64_t offset, uint64_t length)
{
    mtl_id commands = mtl_new_commands(c->queue);
    mtl_id blit = mtl_new_blit(commands);
    mtl_blit_fill(blit, dst, (struct mtl_range){offset, length}, 1);
    mtl_end_encoding(blit);
    commit_and_wait(commands);
}

void rule_alignment(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){.machine = METALSIM_INTEL});
    copy_once(&c, c.shared, 1, c.priv, 0, 4);
    assert_broken(METALSIM_ALIGNMENT, 1);
    copy_once(&c, c.shared, 0, c.priv, 2, 4);
    assert_broken(METALSIM_ALIGNMENT, 1);
    copy_once(&c, c.shared, 0, c.priv, 0, 5);
    assert_broken(METALSIM_ALIGNMENT, 1);
    copy_once(&c, c.shared, 4, c.priv, 8, 12);
    assert_broken(METALSIM_ALIGNMENT, 0);
    fill_once(&c, c.shared, 2, 4);
    assert_broken(METALSIM_ALIGNMENT, 1);
    fill_once(&c, c.shared, 4, 7);
    assert_broken(METALSIM_ALIGNMENT, 1);
    client_end(&c);
    c = client_begin((struct metalsim_config){.loose_alignment = true});
    copy_once(&c, c.shared, 1, c.priv, 2, 3);
    assert_broken(METALSIM_ALIGNMENT, 0);
    client_end(&c);
}

void rule_range(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    copy_once(&c, c.shared, 0, c.priv, 0, 0);
    assert_broken(METALSIM_RANGE, 1);
    copy_once(&c, c.shared, 4, c.priv, 0, 4096);
    assert_broken(METALSIM_RANGE, 1);
    copy_once(&c, c.shared, 0, c.priv, UINT64_MAX - 3, 8);
    assert_broken(METALSIM_RANGE, 1);
    fill_once(&c, c.priv, 64, 4096); /* (from, to) it is not */
    assert_broken(METALSIM_RANGE, 1);
    fill_once(&c, c.priv, 64, 0);
    assert_broken(METALSIM_RANGE, 1);
    assert_null(mtl_new_buffer(c.device, 0, MTL_OPTION_SHARED));
    assert_broken(METALSIM_RANGE, 1);
    client_end(&c);
}

/* A copy over 4 GiB is cut to 32 bits without a word. Memory that is not touched costs nothing. */
void rule_truncation(void **unused)
{
    (void)unused;
    struct client c =
        client_begin((struct metalsim_config){.max_buffer = 16ull << 30, .memory = 64ull << 30});
    uint64_t size = (4ull << 30) + 4096;
    mtl_id big = mtl_new_buffer(c.device, 2 * size, MTL_OPTION_SHARED);
    unsigned char *bytes = mtl_buffer_contents(big);
    bytes[0] = bytes[size - 1] = 7;
    copy_once(&c, big, 0, big, size, size);
    assert_int_equal(bytes[size], 7);
    assert_int_equal(bytes[2 * size - 1], 0);
    assert_int_equal(counts().truncations, 1);
    assert_broken(METALSIM_TRUNCATION, 0);
    mtl_release(big);
    client_end(&c);
}

void rule_overlap(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    unsigned char *bytes = mtl_buffer_contents(c.shared);
    memset(bytes, 9, 4096);
    copy_once(&c, c.shared, 0, c.shared, 64, 128);
    assert_broken(METALSIM_OVERLAP, 1);
    assert_int_not_equal(bytes[64], 9); /* what comes of it is no copy */
    copy_once(&c, c.shared, 0, c.shared, 128, 128);
    assert_broken(METALSIM_OVERLAP, 0);
    client_end(&c);
}

/* A BOOL is the low byte of a register, and what lies above it is anything. */
void rule_dirty_bool(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){.machine = METALSIM_AMD});
    uint64_t (*whole)(mtl_id, mtl_sel) = (uint64_t(*)(mtl_id, mtl_sel))ferry__mtl.msg_send;
    assert_int_equal(mtl_is_unified(c.device), 0);
    assert_true(whole(c.device, ferry__mtl.sel[MTL_SEL_is_unified]) > 0xff);
    assert_true(MTL_RESPONDS(c.device, is_unified));
    assert_broken(METALSIM_TYPES, 0);
    client_end(&c);
}

void rule_counts(void **unused)
{
    (void)unused;
    struct client c = client_begin((struct metalsim_config){0});
    struct metalsim_counts start = counts();
    copy_once(&c, c.shared, 0, c.priv, 0, 4096);
    fill_once(&c, c.priv, 0, 64);
    struct metalsim_counts now = counts();
    assert_int_equal(now.command_buffers - start.command_buffers, 2);
    assert_int_equal(now.commits - start.commits, 2);
    assert_int_equal(now.blit_encoders - start.blit_encoders, 2);
    assert_int_equal(now.copies - start.copies, 1);
    assert_int_equal(now.fills - start.fills, 1);
    assert_int_equal(now.bytes - start.bytes, 4096);
    assert_int_equal(now.live_buffers, 2);
    assert_int_equal(now.messages - start.messages, 12);
    client_end(&c);
}
