/* All of what a driver, a part on top of the library, or a test needs of base. */
#ifndef FERRY_BASE_BASE_H
#define FERRY_BASE_BASE_H

#include "base/alloc.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "base/copy_host.h"
#include "base/library.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/status.h"
#include "base/thread.h"
#include "base/words.h"

#include <ferry/ferry.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>

#endif
