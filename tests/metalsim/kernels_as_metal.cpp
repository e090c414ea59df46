/* Are the kernels good in a language like Metal's: C++14, where device and constant memory are
 * address spaces of their own? Compiled for its errors only, with a compiler that has them: clang. */
typedef unsigned char uchar;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef uint uint4 __attribute__((ext_vector_type(4)));

#define kernel
#define device __attribute__((address_space(1)))
#define constant const __attribute__((address_space(2)))
#define BUFFER(n) [[buffer(n)]]
#define POSITION [[thread_position_in_grid]]
#define GET(p) (*(p))
#define PUT(p, v) (*(p) = (v))
#define METAL_KERNELS(...) __VA_ARGS__
#include "../../drivers/metal/kernels.inc"
