#version 450
// The kernel for lists of blocks: scripts/shaders.sh makes blocks.inc of this file.
//
// A group takes a run of the list at a time: it loads the run's entries at once, since the list may lie
// on the other side of a link, and then each team of 32 invocations copies a block of its own, by
// stores of whole words of 16 bytes, and of single bytes at the block's ends. Nothing outside the
// blocks is written; a load takes a whole word, of which at least one byte is of the block.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_shader_8bit_storage : require

layout(local_size_x = 256) in;

const uint WORD = 16, TEAM = 32, TEAMS = 8, RUN = 16;

layout(buffer_reference, buffer_reference_align = 16, std430) buffer Words { uvec4 at[]; };
layout(buffer_reference, buffer_reference_align = 1, std430) buffer Bytes { uint8_t at[]; };

// struct ferry__block_entry in src/driver.h.
struct Entry { uvec2 dst, src; uint size, zero; };
layout(buffer_reference, buffer_reference_align = 8, std430) readonly buffer List { Entry at[]; };

// struct vulkan_blocks_arguments in kernel.h.
layout(push_constant, std430) uniform Arguments {
    uvec2 dst, src;
    List list;
    uint count;
} args;

shared Entry run[RUN];

uvec2 sum(uvec2 a, uvec2 b) {
    uint carry;
    uint low = uaddCarry(a.x, b.x, carry);
    return uvec2(low, a.y + b.y + carry);
}

uvec2 less(uvec2 a, uint b) {
    uint borrow;
    uint low = usubBorrow(a.x, b, borrow);
    return uvec2(low, a.y - borrow);
}

// Of the two words of the source in which the bytes lie, those bytes.
uvec4 shifted(Words src, uint word, uint phase) {
    uvec4 low = src.at[word], high = src.at[word + 1];
    if ((phase & 4) != 0) {
        low = uvec4(low.yzw, high.x);
        high.xyz = high.yzw;
    }
    if ((phase & 8) != 0) {
        low = uvec4(low.zw, high.xy);
        high.x = high.z;
    }
    uint bits = 8 * (phase & 3);
    return bits == 0 ? low : low >> bits | uvec4(low.yzw, high.x) << (32 - bits);
}

// Four words in flight for each invocation.
uint copy_aligned(Words dst, Words src, uint word, uint last) {
    for (; word + 3 * TEAM < last; word += 4 * TEAM) {
        uvec4 a = src.at[word], b = src.at[word + TEAM];
        uvec4 c = src.at[word + 2 * TEAM], d = src.at[word + 3 * TEAM];
        dst.at[word] = a;
        dst.at[word + TEAM] = b;
        dst.at[word + 2 * TEAM] = c;
        dst.at[word + 3 * TEAM] = d;
    }
    return word;
}

void copy_block(uvec2 dst, uvec2 src, uint size, uint lane) {
    uint begin = dst.x % WORD, end = begin + size;
    // Where the source of the destination's first word would lie.
    uvec2 from = less(src, begin);
    uint phase = from.x % WORD;
    dst.x -= begin;
    from.x -= phase;
    Words to_words = Words(dst), from_words = Words(from);
    Bytes to_bytes = Bytes(dst), from_bytes = Bytes(from);
    uint last = end / WORD, word = (begin == 0 ? 0 : 1) + lane;
    if (phase == 0)
        word = copy_aligned(to_words, from_words, word, last);
    for (; word < last; word += TEAM)
        to_words.at[word] = phase == 0 ? from_words.at[word] : shifted(from_words, word, phase);
    // The first half of the team has the part of a word that the block begins with, the other half
    // that which it ends with.
    bool head = lane < WORD;
    uint at = head ? lane : last * WORD + lane - WORD;
    bool mine = head ? begin != 0 : at >= WORD || begin == 0;
    if (mine && at >= begin && at < end)
        to_bytes.at[at] = from_bytes.at[at + phase];
}

void main() {
    uint thread = gl_LocalInvocationID.x, lane = thread % TEAM;
    for (uint first = gl_WorkGroupID.x * RUN; first < args.count; first += gl_NumWorkGroups.x * RUN) {
        uint length = min(RUN, args.count - first);
        barrier();
        if (thread < length)
            run[thread] = args.list.at[first + thread];
        barrier();
        for (uint i = thread / TEAM; i < length; i += TEAMS)
            copy_block(sum(args.dst, run[i].dst), sum(args.src, run[i].src), run[i].size, lane);
    }
}
