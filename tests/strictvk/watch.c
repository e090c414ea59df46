/* Memory that tells when the CPU reads it (reads=1). It is mapped twice: for the device, and for
 * the host, whose pages are out of reach. The first touch of one faults, and the fault says whether
 * it is a read, which is reported, or a write, which opens the page. Few pages are open at a time,
 * and none after a call that submits or waits, so little is missed. */
#define _GNU_SOURCE /* memfd_create */
#include "strict.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, OPEN_MAX = 8 };

static pthread_mutex_t watch_lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below */
static struct watched *all;
static unsigned char *open_pages[OPEN_MAX]; /* NULL: none; a ring */
static unsigned next_open;
static struct sigaction before;

static void close_page(unsigned index)
{
    if (open_pages[index])
        mprotect(open_pages[index], PAGE, PROT_NONE);
    open_pages[index] = NULL;
}

static void open_page(unsigned char *page)
{
    close_page(next_open);
    mprotect(page, PAGE, PROT_READ | PROT_WRITE);
    open_pages[next_open] = page;
    next_open = (next_open + 1) % OPEN_MAX;
}

static const struct watched *find(const unsigned char *at)
{
    const struct watched *w = all;
    while (w && (at < w->host || at >= w->host + w->size))
        w = w->next;
    return w;
}

static void fault(int number, siginfo_t *info, void *context)
{
    unsigned char *at = info->si_addr;
    pthread_mutex_lock(&watch_lock);
    const struct watched *w = find(at);
    if (w)
        open_page(at - (uintptr_t)at % PAGE);
    else
        sigaction(number, &before, NULL); /* somebody else's: it comes again */
    pthread_mutex_unlock(&watch_lock);
    if (w && !fault_writes(context))
        report(STRICTVK_READ, "byte %llu of %llu", (unsigned long long)(at - w->host),
               (unsigned long long)w->size);
}

static bool map_twice(struct watched *w)
{
    int file = memfd_create("strictvk", MFD_CLOEXEC);
    if (file < 0)
        return false;
    w->device = w->host = MAP_FAILED;
    if (ftruncate(file, (off_t)w->size) == 0) {
        w->device = mmap(NULL, w->size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        w->host = mmap(NULL, w->size, PROT_NONE, MAP_SHARED, file, 0);
    }
    close(file);
    if (w->device != MAP_FAILED && w->host != MAP_FAILED)
        return true;
    if (w->device != MAP_FAILED)
        munmap(w->device, w->size);
    if (w->host != MAP_FAILED)
        munmap(w->host, w->size);
    return false;
}

struct watched *watch_make(uint64_t size)
{
    struct watched *w = calloc(1, sizeof *w);
    w->size = (size + PAGE - 1) / PAGE * PAGE;
    if (!map_twice(w)) {
        free(w);
        return NULL;
    }
    pthread_mutex_lock(&watch_lock);
    /* Test frameworks take the signal for themselves, again and again. */
    struct sigaction mine = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO}, now;
    sigaction(SIGSEGV, &mine, &now);
    if (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != fault)
        before = now;
    w->next = all;
    all = w;
    pthread_mutex_unlock(&watch_lock);
    return w;
}

void watch_again(void)
{
    pthread_mutex_lock(&watch_lock);
    for (unsigned i = 0; i < OPEN_MAX; i++)
        close_page(i);
    pthread_mutex_unlock(&watch_lock);
}

void watch_drop(struct watched *w)
{
    if (!w)
        return;
    watch_again();
    pthread_mutex_lock(&watch_lock);
    struct watched **at = &all;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    pthread_mutex_unlock(&watch_lock);
    munmap(w->host, w->size);
    munmap(w->device, w->size);
    free(w);
}
