#include "base/window.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>

/* Every Mac with such a processor has SSE4.1; to ask for more takes a library of the compiler's. */
#if defined(__APPLE__)
static bool has_wide(void)
{
    return false;
}

bool ferry__window_is_fast(void)
{
    return true;
}
#else
static bool has_wide(void)
{
    return __builtin_cpu_supports("avx2");
}

bool ferry__window_is_fast(void)
{
    return __builtin_cpu_supports("sse4.1");
}
#endif

/* Streaming loads may be answered from a line that was fetched earlier: the fence drops those. Only
 * whole blocks that lie in the range are loaded so; src is at a multiple of 32. The wider the
 * loads, the fewer cross the link. */
__attribute__((target("avx2"))) static size_t load_wide(unsigned char *dst,
                                                        const unsigned char *src, size_t size)
{
    enum { BLOCK = 32 };
    size_t at = 0;
    for (; at + BLOCK <= size; at += BLOCK) {
        const __m256i block = _mm256_stream_load_si256((__m256i *)(uintptr_t)(src + at));
        memcpy(dst + at, &block, sizeof block);
    }
    return at;
}

__attribute__((target("sse4.1"))) static size_t load_narrow(unsigned char *dst,
                                                            const unsigned char *src, size_t size)
{
    enum { BLOCK = 16 };
    size_t at = 0;
    for (; at + BLOCK <= size; at += BLOCK) {
        const __m128i block = _mm_stream_load_si128((__m128i *)(uintptr_t)(src + at));
        memcpy(dst + at, &block, sizeof block);
    }
    return at;
}

static size_t load_blocks(unsigned char *dst, const unsigned char *src, size_t size)
{
    _mm_mfence();
    const size_t wide = has_wide() ? load_wide(dst, src, size) : 0;
    return wide + load_narrow(dst + wide, src + wide, size - wide);
}
#else
bool ferry__window_is_fast(void)
{
    return false;
}

static size_t load_blocks(unsigned char *dst, const unsigned char *src, size_t size)
{
    (void)dst, (void)src, (void)size;
    atomic_thread_fence(memory_order_seq_cst);
    return 0;
}
#endif

void ferry__copy_window(void *dst, const void *src, size_t size)
{
    enum { ALIGNMENT = 32 };
    unsigned char *to = dst;
    const unsigned char *from = src;
    const size_t odd = -(uintptr_t)from % ALIGNMENT, head = odd < size ? odd : size;
    memcpy(to, from, head);
    size_t done = head;
    if (ferry__window_is_fast())
        done += load_blocks(to + head, from + head, size - head);
    memcpy(to + done, from + done, size - done);
}
