/* What the compiler is told. */
#ifndef FERRY_BASE_COMPILER_H
#define FERRY_BASE_COMPILER_H

#define FERRY__PRINTF(text, first) __attribute__((format(printf, text, first)))
#define FERRY__COLD __attribute__((cold, noinline))
#define FERRY__NOINLINE __attribute__((noinline))
#define FERRY__LIKELY(x) __builtin_expect(!!(x), 1)

#endif
