#version 450
// The copy and the fill kernel: scripts/shaders.sh makes kernel.inc of this file.
//
// An invocation writes one block of 16 bytes of the destination: whole by one store, and at the two
// ends of the range by single bytes. Nothing outside the range is written, not even with what was
// there. A load takes a whole block of the source, in which at least one byte is of the range.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_shader_8bit_storage : require

layout(constant_id = 0) const bool filling = false;

layout(local_size_x = 256) in;

const uint BLOCK = 16, GROUP = 256;

layout(buffer_reference, buffer_reference_align = 16, std430) buffer Blocks { uvec4 at[]; };
layout(buffer_reference, buffer_reference_align = 1, std430) buffer Bytes { uint8_t at[]; };

// struct vulkan_kernel_arguments in kernel.h.
layout(push_constant, std430) uniform Arguments {
    Blocks dst, src;
    uint begin, end, phase, period;
    uvec4 pattern, pattern_on; // one after the other, without end: its bytes from any one of it on
} args;

uint pattern_byte(uint index) {
    return args.pattern[index / 4] >> (8 * (index % 4)) & 0xffu;
}

uint byte_for(uint position) {
    if (filling)
        return pattern_byte((position - args.begin) % args.period);
    return uint(Bytes(args.src).at[position + args.phase]);
}

// Of two blocks that follow each other, a block's bytes from this one of the first on.
uvec4 bytes_from(uvec4 low, uvec4 high, uint first) {
    if ((first & 4) != 0) {
        low = uvec4(low.yzw, high.x);
        high.xyz = high.yzw;
    }
    if ((first & 8) != 0) {
        low = uvec4(low.zw, high.xy);
        high.x = high.z;
    }
    uint bits = 8 * (first & 3);
    return bits == 0 ? low : low >> bits | uvec4(low.yzw, high.x) << (32 - bits);
}

uvec4 block_for(uint block) {
    if (filling)
        return bytes_from(args.pattern, args.pattern_on,
                          (block * BLOCK - args.begin) % args.period);
    uvec4 low = args.src.at[block];
    return args.phase == 0 ? low : bytes_from(low, args.src.at[block + 1], args.phase);
}

bool is_whole(uint block) {
    return block * BLOCK >= args.begin && (block + 1) * BLOCK <= args.end;
}

void main() {
    uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    uint block = group * GROUP + gl_LocalInvocationID.x;
    if (is_whole(block)) {
        args.dst.at[block] = block_for(block);
        return;
    }
    uint last = min((block + 1) * BLOCK, args.end);
    for (uint i = max(block * BLOCK, args.begin); i < last; i++)
        Bytes(args.dst).at[i] = uint8_t(byte_for(i));
}
