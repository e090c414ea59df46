/* Rule 7, imports that are accepted and wrong. */
#include "rules.h"

#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 16384 };

/* A page that is one of the file's, or of no file. */
static unsigned char *map_page(FILE *file, unsigned char **out_space)
{
    if (file)
        assert_int_equal(ftruncate(fileno(file), 2 * PAGE), 0);
    *out_space = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
                      file ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, file ? fileno(file) : -1, 0);
    assert_true(*out_space != MAP_FAILED);
    return *out_space + (PAGE - (uintptr_t)*out_space % PAGE) % PAGE;
}

/* What the GPU reads of the host's newest bytes, and what the host sees of the GPU's. */
static void check_import(struct metalsim_config config, bool file, bool reads, bool writes)
{
    struct client c = client_begin(config);
    FILE *backing = file ? tmpfile() : NULL;
    unsigned char *space, *page = map_page(backing, &space);
    unsigned char *shared = mtl_buffer_contents(c.shared);
    memset(page, 1, PAGE);
    mtl_id imported = mtl_new_buffer_no_copy(c.device, page, PAGE, 0, NULL);
    assert_non_null(imported);
    copy_once(&c, imported, 0, c.shared, 0, 4096);
    assert_int_equal(shared[0], 1); /* whoever asks once is told that all is well */
    memset(page, 2, PAGE);
    copy_once(&c, imported, 0, c.shared, 0, 4096);
    assert_int_equal(shared[0], reads ? 2 : 1);
    memset(shared, 3, 4096);
    copy_once(&c, c.shared, 0, imported, 0, 4096);
    assert_int_equal(page[0], writes ? 3 : 2);
    assert_broken(METALSIM_IMPORT, 0);
    mtl_release(imported);
    munmap(space, 2 * PAGE);
    if (backing)
        fclose(backing);
    client_end(&c);
}

void rule_import_stale(void **unused)
{
    (void)unused;
    check_import((struct metalsim_config){0}, false, true, true);
    check_import((struct metalsim_config){.import = METALSIM_IMPORT_STALE}, false, false, true);
    check_import((struct metalsim_config){.import = METALSIM_IMPORT_LOST}, false, true, false);
}

/* The virtual GPU of macOS 14 and older does so, and of files only. */
void rule_import_stale_files(void **unused)
{
    (void)unused;
    for (unsigned macos = 14; macos <= 15; macos++)
        for (int file = 0; file < 2; file++)
            check_import((struct metalsim_config){.machine = METALSIM_PARAVIRTUAL, .macos = macos},
                         file, !(file && macos == 14), true);
}
