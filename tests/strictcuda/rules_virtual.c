#define _GNU_SOURCE /* F_DUPFD_CLOEXEC */
#include "rules_virtual.h"

#include "client.h"

#include <fcntl.h>
#include <unistd.h>

enum { GRANULE = 2 << 20 };

static const struct cu_memory_prop prop = {
    .type = CU_MEMORY_PINNED, .handles = CU_HANDLE_FD, .location.type = CU_LOCATION_DEVICE};
static const struct cu_access access_all = {.location.type = CU_LOCATION_DEVICE,
                                            .flags = CU_ACCESS_READ_WRITE};

void test_virtual(void **unused)
{
    (void)unused;
    struct client c = client_begin("delay=0");
    cu_memory memory;
    cu_address at;
    size_t granularity = 0;
    GOOD(c.cu.MemGetAllocationGranularity(&granularity, &prop, CU_GRANULARITY_MINIMUM));
    assert_int_equal(granularity, GRANULE);
    assert_int_equal(c.cu.MemCreate(&memory, GRANULE + 4096, &prop, 0), CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_VIRTUAL, 1); /* no whole granules */
    GOOD(c.cu.MemCreate(&memory, GRANULE, &prop, 0));
    GOOD(c.cu.MemAddressReserve(&at, GRANULE, 0, 0, 0));
    assert_int_equal(c.cu.MemMap(at, GRANULE / 2, 0, memory, 0), CU_ERROR_INVALID_VALUE);
    assert_int_equal(c.cu.MemMap(at + GRANULE, GRANULE, 0, memory, 0), CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_VIRTUAL, 2); /* nor there; not at what is reserved */
    GOOD(c.cu.MemMap(at, GRANULE, 0, memory, 0));
    assert_int_equal(c.cu.MemsetD8Async(at, 1, 64, c.stream), CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_VIRTUAL, 1); /* nobody was given access */
    assert_int_equal(c.cu.MemSetAccess(at, GRANULE / 2, &access_all, 1), CU_ERROR_INVALID_VALUE);
    assert_int_equal(c.cu.MemUnmap(at + 64, GRANULE), CU_ERROR_INVALID_VALUE);
    assert_int_equal(c.cu.MemAddressFree(at, GRANULE), CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_VIRTUAL, 3); /* other sizes; still mapped */
    GOOD(c.cu.MemSetAccess(at, GRANULE, &access_all, 1));
    GOOD(c.cu.MemsetD8Async(at, 1, GRANULE, c.stream));
    client_finish(&c);
    assert_int_equal(strictcuda_bytes(at)[GRANULE - 1], 1);
    strictcuda_pause(true);
    GOOD(c.cu.MemsetD8Async(at, 2, 64, c.stream));
    strictcuda_pause(false);
    GOOD(c.cu.MemUnmap(at, GRANULE)); /* waits; a breach where the work had not begun */
    const uint64_t busy = strictcuda_breaches(STRICTCUDA_BUSY_MEMORY);
    assert_true(busy <= 1);
    assert_broken(busy ? STRICTCUDA_BUSY_MEMORY : 0, busy);
    assert_int_equal(c.cu.MemsetD8Async(at, 1, 64, c.stream), CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_PAGEABLE, 1); /* an address with nothing there */
    GOOD(c.cu.MemAddressFree(at, GRANULE));
    assert_int_equal(c.cu.MemAddressFree(at, GRANULE), CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_VIRTUAL, 1);
    GOOD(c.cu.MemRelease(memory));
    assert_int_equal(c.cu.MemRelease(memory), CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_HANDLE, 1);
    client_end(&c);
}

/* Two devices that nobody let reach each other. */
void test_peer(void **unused)
{
    (void)unused;
    struct client c = client_begin("devices=2");
    cu_device second;
    cu_context other, ignored;
    cu_address there;
    int can = 0;
    GOOD(c.cu.DeviceGet(&second, 1));
    GOOD(c.cu.DevicePrimaryCtxRetain(&other, second));
    GOOD(c.cu.DeviceCanAccessPeer(&can, c.device, second));
    assert_int_equal(can, 1);
    GOOD(c.cu.CtxPushCurrent(other));
    GOOD(c.cu.MemAlloc(&there, SIZE));
    GOOD(c.cu.CtxPopCurrent(&ignored));
    GOOD(c.cu.MemsetD8Async(c.memory, 1, SIZE, c.stream));
    GOOD(c.cu.MemcpyPeerAsync(c.memory, c.context, there, other, 64, c.stream));
    assert_broken(STRICTCUDA_PEER, 1);
    assert_int_equal(c.cu.MemcpyPeerAsync(c.memory, c.context, there, c.context, 64, c.stream),
                     CU_ERROR_INVALID_VALUE);
    assert_int_equal(c.cu.MemcpyAsync(c.memory, there, 64, c.stream), CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_CONTEXT, 2); /* whose it is has to be said */
    GOOD(c.cu.CtxEnablePeerAccess(other, 0));
    assert_int_equal(c.cu.CtxEnablePeerAccess(other, 0), CU_ERROR_PEER_ACCESS_ALREADY_ENABLED);
    GOOD(c.cu.MemcpyPeerAsync(c.memory, c.context, there, other, 64, c.stream));
    client_finish(&c);
    GOOD(c.cu.CtxPushCurrent(other));
    GOOD(c.cu.MemFree(there));
    GOOD(c.cu.CtxPopCurrent(&ignored));
    GOOD(c.cu.DevicePrimaryCtxRelease(second));
    client_end(&c);
}

/* Two handles of the same bytes; the descriptor of each call is the one's whose it should be. */
void test_descriptor(void **unused)
{
    (void)unused;
    struct client c = client_begin("");
    cu_memory memory, again;
    cu_address at;
    cu_external external;
    int fd = -1;
    GOOD(c.cu.MemCreate(&memory, GRANULE, &prop, 0));
    GOOD(c.cu.MemExportToShareableHandle(&fd, memory, CU_HANDLE_FD, 0));
    assert_true(fcntl(fd, F_GETFD) >= 0);
    GOOD(c.cu.MemImportFromShareableHandle(&again, (void *)(intptr_t)fd, CU_HANDLE_FD));
    GOOD(c.cu.MemRelease(memory));
    close(fd);
    assert_int_equal(c.cu.MemImportFromShareableHandle(&memory, (void *)(intptr_t)fd, CU_HANDLE_FD),
                     CU_ERROR_INVALID_VALUE);
    assert_broken(STRICTCUDA_DESCRIPTOR, 1); /* closed before */
    assert_int_equal(strictcuda_live(), 5);  /* the client's four and the memory that is held */
    GOOD(c.cu.MemRelease(again));

    const int vulkans = strictcuda_external(5000);
    struct cu_external_memory from = {
        .type = CU_EXTERNAL_OPAQUE_FD, .handle.fd = vulkans, .size = 5001};
    const struct cu_external_buffer all = {.size = 5000};
    assert_int_equal(c.cu.ImportExternalMemory(&external, &from), CU_ERROR_INVALID_VALUE);
    from.size = 5000;
    GOOD(c.cu.ImportExternalMemory(&external, &from));
    GOOD(c.cu.ExternalMemoryGetMappedBuffer(&at, external, &all));
    GOOD(c.cu.MemsetD8Async(at, 7, 5000, c.stream));
    client_finish(&c);
    GOOD(c.cu.MemFree(at));
    close(vulkans); /* which is CUDA's by now */
    GOOD(c.cu.DestroyExternalMemory(external));
    assert_broken(STRICTCUDA_DESCRIPTOR, 1);

    from.handle.fd = strictcuda_external(5000);
    GOOD(c.cu.ImportExternalMemory(&external, &from));
    GOOD(c.cu.ExternalMemoryGetMappedBuffer(&at, external, &all));
    GOOD(c.cu.DestroyExternalMemory(external)); /* before its buffer */
    assert_broken(STRICTCUDA_DESCRIPTOR, 1);
    GOOD(c.cu.MemFree(at));
    assert_int_equal(c.cu.DestroyExternalMemory(external), CU_ERROR_INVALID_HANDLE);
    assert_broken(STRICTCUDA_HANDLE, 1);
    client_end(&c);
}
