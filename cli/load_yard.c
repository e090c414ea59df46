/* ferry load --bench: what loading is measured beside. */
#include "load_bench.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { POOL_PIECE = 4 << 20, POOL_SLOTS = 2, BLOCK = 4096, HUGE_PAGE = 2 << 20 };

struct crew;
typedef bool (*work_fn)(struct crew *crew);

/* Threads that take pieces in turn. */
struct crew {
    struct load_yard *yard;
    work_fn work;
    _Atomic size_t next;
    _Atomic bool failed;
    const int *direct_fds; /* of the model's files; NULL: none */
};

static void *run_worker(void *arg)
{
    struct crew *crew = arg;
    if (!crew->work(crew))
        atomic_store(&crew->failed, true);
    return NULL;
}

static bool run_crew(struct crew *crew, unsigned threads, uint64_t *out_ns)
{
    pthread_t ids[LOAD_THREADS_MAX];
    unsigned count = 0;
    const uint64_t began_ns = cli_now_ns();
    while (count < threads && pthread_create(&ids[count], NULL, run_worker, crew) == 0)
        count++;
    for (unsigned i = 0; i < count; i++)
        pthread_join(ids[i], NULL);
    if (count < threads || atomic_load(&crew->failed))
        return false;
    *out_ns = cli_now_ns() - began_ns;
    return true;
}

static const struct load_piece *next_piece(struct crew *crew)
{
    const size_t at = atomic_fetch_add(&crew->next, 1);
    return at < crew->yard->piece_count && !atomic_load(&crew->failed) ? &crew->yard->pieces[at]
                                                                       : NULL;
}

/* --- a pool over Ferry's interface ------------------------------------------------------------ */

static bool pool_work(struct crew *crew)
{
    const struct load_bench *bench = crew->yard->bench;
    void *slots[POOL_SLOTS] = {NULL};
    ferry_ticket tickets[POOL_SLOTS] = {0};
    const struct load_piece *piece;
    bool good = true;
    for (size_t i = 0; i < POOL_SLOTS && good; i++)
        good = !ferry_host_alloc(bench->device, POOL_PIECE, &slots[i]);
    for (size_t i = 0; good && (piece = next_piece(crew)); i = (i + 1) % POOL_SLOTS) {
        const struct ferry_tensor_place *place = &bench->places[piece->tensor];
        good = !ferry_wait(bench->device, tickets[i], FERRY_FOREVER) &&
               !ferry_model_read(bench->model, piece->tensor, slots[i], piece->size, piece->at) &&
               !ferry_copy_from_host_async(place->buffer, slots[i], piece->size,
                                           (size_t)(place->offset + piece->at), NULL, NULL,
                                           &tickets[i]);
    }
    for (size_t i = 0; i < POOL_SLOTS; i++)
        good = !ferry_wait(bench->device, tickets[i], FERRY_FOREVER) && good;
    for (size_t i = 0; i < POOL_SLOTS; i++)
        ferry_host_free(bench->device, slots[i]);
    return good;
}

bool load_yard_pool(struct load_yard *yard, uint64_t *out_ns)
{
    struct crew crew = {.yard = yard, .work = pool_work};
    return run_crew(&crew, yard->threads, out_ns);
}

/* --- reading into memory ---------------------------------------------------------------------- */

static unsigned char *memory_of(const struct load_yard *yard, const struct load_piece *piece)
{
    struct ferry_tensor_info tensor;
    if (ferry_model_get_tensor(yard->bench->model, piece->tensor, &tensor))
        abort(); /* the piece is of this model */
    return yard->memory + tensor.arena_offset + piece->at;
}

static bool read_work(struct crew *crew)
{
    const struct load_piece *piece;
    bool good = true;
    while (good && (piece = next_piece(crew)))
        good = !ferry_model_read(crew->yard->bench->model, piece->tensor,
                                 memory_of(crew->yard, piece), piece->size, piece->at);
    return good;
}

/* Whole blocks round each piece, into memory of the thread's own: in huge pages, as what a disk can
 * do shows only there. */
static bool direct_work(struct crew *crew)
{
    const struct load_piece *piece;
    void *memory = NULL;
    bool good = posix_memalign(&memory, HUGE_PAGE, POOL_PIECE + 2 * BLOCK) == 0;
    if (good)
        load_bench_use_huge(memory, POOL_PIECE + 2 * BLOCK);
    while (good && (piece = next_piece(crew))) {
        struct ferry_tensor_info tensor;
        good = !ferry_model_get_tensor(crew->yard->bench->model, piece->tensor, &tensor);
        const uint64_t from = tensor.file_offset + piece->at, begin = from / BLOCK * BLOCK;
        const uint64_t end = (from + piece->size + BLOCK - 1) / BLOCK * BLOCK;
        good = good && pread(crew->direct_fds[tensor.file], memory, (size_t)(end - begin),
                             (off_t)begin) >= (ssize_t)(from + piece->size - begin);
    }
    free(memory);
    return good;
}

static bool read_directly(struct load_yard *yard, unsigned threads, uint64_t *out_ns)
{
    struct ferry_model_info info;
    ferry_model_get_info(yard->bench->model, &info);
    int *fds = calloc(info.files + 1, sizeof *fds);
    bool good = fds;
    for (size_t i = 0; fds && i < info.files; i++) {
        fds[i] = load_bench_open_direct(ferry_model_file_name(yard->bench->model, i));
        good = good && fds[i] >= 0;
    }
    struct crew crew = {.yard = yard, .work = direct_work, .direct_fds = fds};
    good = good && run_crew(&crew, threads, out_ns);
    for (size_t i = 0; fds && i < info.files; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(fds);
    return good;
}

bool load_yard_read(struct load_yard *yard, unsigned threads, bool direct, uint64_t *out_ns)
{
    struct crew crew = {.yard = yard, .work = read_work};
    return direct ? read_directly(yard, threads, out_ns) : run_crew(&crew, threads, out_ns);
}

/* --- beginning and end ------------------------------------------------------------------------ */

static size_t list_pieces(const struct load_bench *bench, struct load_piece *out)
{
    struct ferry_model_info info;
    size_t count = 0;
    ferry_model_get_info(bench->model, &info);
    for (size_t i = 0; i < info.tensors; i++) {
        struct ferry_tensor_info tensor;
        if (ferry_model_get_tensor(bench->model, i, &tensor))
            abort(); /* i is below the model's own count */
        for (uint64_t at = 0; at < tensor.size; at += POOL_PIECE) {
            const uint64_t left = tensor.size - at;
            if (out)
                out[count] = (struct load_piece){i, at, left < POOL_PIECE ? left : POOL_PIECE};
            count++;
        }
    }
    return count;
}

bool load_yard_make(const struct load_bench *bench, struct load_yard *out)
{
    struct ferry_model_info info;
    const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    ferry_model_get_info(bench->model, &info);
    *out = (struct load_yard){.bench = bench};
    out->threads = cpus < 1 ? 1 : cpus > LOAD_THREADS_MAX ? LOAD_THREADS_MAX : (unsigned)cpus;
    out->piece_count = list_pieces(bench, NULL);
    out->pieces = malloc((out->piece_count + 1) * sizeof *out->pieces);
    out->memory = malloc((size_t)info.arena_size + 1);
    if (!out->pieces || !out->memory) {
        load_yard_free(out);
        return false;
    }
    (void)list_pieces(bench, out->pieces);
    memset(out->memory, 1, (size_t)info.arena_size + 1);
    return true;
}

void load_yard_free(struct load_yard *yard)
{
    free(yard->pieces);
    free(yard->memory);
}
