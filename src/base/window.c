#include "base/window.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>

bool ferry__window_is_fast(void)
{
    return __builtin_cpu_supports("sse4.1");
}

/* Streaming loads may be answered from a line that was fetched earlier: the fence drops those. Only
 * whole blocks of 16 bytes that lie in the range are loaded so; src is at a multiple of 16. */
__attribute__((target("sse4.1"))) static size_t load_blocks(unsigned char *dst,
                                                            const unsigned char *src, size_t size)
{
    enum { BLOCK = 16, LINE = 64 };
    size_t at = 0;
    _mm_mfence();
    for (; at + LINE <= size; at += LINE) {
        __m128i *from = (__m128i *)(uintptr_t)(src + at);
        const __m128i line[] = {_mm_stream_load_si128(from), _mm_stream_load_si128(from + 1),
                                _mm_stream_load_si128(from + 2), _mm_stream_load_si128(from + 3)};
        memcpy(dst + at, line, sizeof line);
    }
    for (; at + BLOCK <= size; at += BLOCK) {
        const __m128i block = _mm_stream_load_si128((__m128i *)(uintptr_t)(src + at));
        memcpy(dst + at, &block, sizeof block);
    }
    return at;
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
    enum { ALIGNMENT = 16 };
    unsigned char *to = dst;
    const unsigned char *from = src;
    const size_t odd = -(uintptr_t)from % ALIGNMENT, head = odd < size ? odd : size;
    memcpy(to, from, head);
    size_t done = head;
    if (ferry__window_is_fast())
        done += load_blocks(to + head, from + head, size - head);
    memcpy(to + done, from + done, size - done);
}
