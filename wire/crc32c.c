#include "crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

/*
 * A CRC is linear: that of A followed by B is the CRC of A, moved past as many zeros as B has
 * bytes, XOR that of B. So three thirds of a stretch are worked on at once, since the instruction
 * gives its result three cycles later and takes a new one in each.
 */

enum { LANE = 1360, LANE_WORDS = LANE / 8, SLICES = 8 };

static const uint32_t polynomial = 0x82f63b78; /* bits reversed */
static uint32_t slices[SLICES][256];           /* the byte, and then so many zeros */
static uint32_t past_lane[4][256];             /* each byte of a CRC, moved past a lane of zeros */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The CRC without its inversions, over so many zeros. */
static uint32_t past_zeros(uint32_t crc, size_t zeros)
{
    for (; zeros; zeros--)
        crc = crc >> 8 ^ slices[0][crc & 0xff];
    return crc;
}

static void make_tables(void)
{
    uint32_t bit[32];
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int turn = 0; turn < 8; turn++)
            crc = crc >> 1 ^ (crc & 1 ? polynomial : 0);
        slices[0][i] = crc;
    }
    for (size_t s = 1; s < SLICES; s++)
        for (size_t i = 0; i < 256; i++)
            slices[s][i] = past_zeros(slices[s - 1][i], 1);
    for (unsigned i = 0; i < 32; i++)
        bit[i] = past_zeros(UINT32_C(1) << i, LANE);
    for (unsigned byte = 0; byte < 4; byte++)
        for (unsigned value = 0; value < 256; value++)
            for (unsigned i = 0; i < 8; i++)
                past_lane[byte][value] ^= value >> i & 1 ? bit[8 * byte + i] : 0;
}

static uint32_t by_tables(uint32_t crc, const unsigned char *at, size_t size)
{
    for (; size >= 8; at += 8, size -= 8) {
        const uint32_t low =
            crc ^ (at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
        crc = slices[7][low & 0xff] ^ slices[6][low >> 8 & 0xff] ^ slices[5][low >> 16 & 0xff] ^
              slices[4][low >> 24] ^ slices[3][at[4]] ^ slices[2][at[5]] ^ slices[1][at[6]] ^
              slices[0][at[7]];
    }
    for (; size; at++, size--)
        crc = crc >> 8 ^ slices[0][(crc ^ *at) & 0xff];
    return crc;
}

#if defined(__x86_64__)
#define STEP_TARGET __attribute__((target("sse4.2")))
#define STEP8(crc, word) ((uint32_t)__builtin_ia32_crc32di(crc, word))
#define STEP1(crc, byte) __builtin_ia32_crc32qi(crc, byte)
#if defined( \
    __APPLE__) /* every Mac with such a processor; to ask takes a library of the compiler's */
static bool has_instruction(void)
{
    return true;
}
#else
static bool has_instruction(void)
{
    return __builtin_cpu_supports("sse4.2");
}
#endif
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#define STEP_TARGET
#define STEP8(crc, word) __crc32cd(crc, word)
#define STEP1(crc, byte) __crc32cb(crc, byte)
static bool has_instruction(void)
{
    return true;
}
#else
#define STEP_TARGET
#define STEP8(crc, word) by_tables(crc, (const unsigned char *)&(uint64_t){word}, 8)
#define STEP1(crc, byte) by_tables(crc, &(unsigned char){byte}, 1)
static bool has_instruction(void)
{
    return false;
}
#endif

static uint32_t move_past_lane(uint32_t crc)
{
    return past_lane[0][crc & 0xff] ^ past_lane[1][crc >> 8 & 0xff] ^
           past_lane[2][crc >> 16 & 0xff] ^ past_lane[3][crc >> 24];
}

STEP_TARGET static uint64_t word_at(const unsigned char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

STEP_TARGET static uint32_t by_instruction(uint32_t crc, const unsigned char *at, size_t size)
{
    for (; size >= 3 * LANE; at += 3 * LANE, size -= 3 * LANE) {
        uint32_t second = 0, third = 0;
        for (size_t i = 0; i < LANE_WORDS; i++) {
            crc = STEP8(crc, word_at(at + 8 * i));
            second = STEP8(second, word_at(at + LANE + 8 * i));
            third = STEP8(third, word_at(at + 2 * LANE + 8 * i));
        }
        crc = move_past_lane(move_past_lane(crc) ^ second) ^ third;
    }
    for (; size >= 8; at += 8, size -= 8)
        crc = STEP8(crc, word_at(at));
    for (; size; at++, size--)
        crc = STEP1(crc, *at);
    return crc;
}

uint32_t ferry__crc32c(const void *bytes, size_t size)
{
    pthread_once(&once, make_tables);
    return has_instruction() ? ~by_instruction(~UINT32_C(0), bytes, size)
                             : ~by_tables(~UINT32_C(0), bytes, size);
}

uint32_t ferry__crc32c_portable(const void *bytes, size_t size)
{
    pthread_once(&once, make_tables);
    return ~by_tables(~UINT32_C(0), bytes, size);
}
