/* A kernel of the caller's own between upload and readback, in his stream: the host waits last. */
#include <dlfcn.h>
#include <ferry/cuda.h>
#include <stdio.h>
#include <stdlib.h>
#define CHECK(call) ((call) ? (puts(#call), puts(ferry_last_error()), exit(1)) : (void)0)
#define CUDA(name, ...) int (*name)(__VA_ARGS__) = (int (*)(__VA_ARGS__))(size_t)dlsym(cuda, #name)
enum { COUNT = 1 << 24, GROUP = 256 };
static unsigned words[COUNT], back[COUNT], count = COUNT, wrong;
static const char ptx[] = ".version 7.0\n.target sm_52\n.address_size 64\n" /* each word: one more */
    ".visible .entry add_one(.param .u64 p, .param .u32 n) {\n"
    ".reg .pred %p<2>; .reg .b32 %r<6>; .reg .b64 %d<4>; ld.param.u64 %d1, [p];\n"
    "ld.param.u32 %r1, [n]; mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %tid.x;\n"
    "mad.lo.s32 %r5, %r2, %r3, %r4; setp.ge.u32 %p1, %r5, %r1; @%p1 ret;\n"
    "cvta.to.global.u64 %d1, %d1; mul.wide.u32 %d2, %r5, 4; add.s64 %d3, %d1, %d2;\n"
    "ld.global.u32 %r1, [%d3]; add.u32 %r1, %r1, 1; st.global.u32 [%d3], %r1; ret;\n}\n";

int main(void) {
    const char *name = getenv("FERRY_CUDA_LIBRARY");
    void *cuda = dlopen(name ? name : "libcuda.so.1", RTLD_NOW), *module, *kernel;
    CUDA(cuCtxPushCurrent_v2, struct CUctx_st *); /* <cuda.h> and -lcuda do as well */
    CUDA(cuStreamCreate, struct CUstream_st **, unsigned);
    CUDA(cuModuleLoadData, void **, const void *);
    CUDA(cuModuleGetFunction, void **, void *, const char *);
    CUDA(cuLaunchKernel, void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
         unsigned, struct CUstream_st *, void **, void **);
    ferry_device *device; ferry_buffer *buffer;
    struct CUctx_st *context; struct CUstream_st *stream;
    unsigned long long pointer;
    struct ferry_external work;
    ferry_ticket done;
    CHECK(ferry_device_open(&(struct ferry_device_params){.name = "cuda"}, &device));
    CHECK(ferry_buffer_create(device, &(struct ferry_buffer_params){.size = sizeof back}, &buffer));
    CHECK(ferry_cuda_device_get(device, NULL, &context) || cuCtxPushCurrent_v2(context));
    CHECK(ferry_cuda_buffer_get(buffer, &pointer) || cuStreamCreate(&stream, 1));
    CHECK(cuModuleLoadData(&module, ptx) || cuModuleGetFunction(&kernel, module, "add_one"));
    struct ferry_use use = {buffer, FERRY_ACCESS_READ | FERRY_ACCESS_WRITE, 0, 0};
    CHECK(ferry_copy_from_host_async(buffer, words, sizeof words, 0, NULL, NULL, NULL));
    CHECK(ferry_cuda_external_begin(device, &use, 1, stream, &work));
    CHECK(cuLaunchKernel(kernel, COUNT / GROUP, 1, 1, GROUP, 1, 1, 0, stream,
                         (void *[]){&pointer, &count}, NULL));
    CHECK(ferry_cuda_external_end(device, work.ticket, stream));
    CHECK(ferry_copy_to_host_async(buffer, back, sizeof back, 0, NULL, NULL, &done));
    CHECK(ferry_wait(device, done, FERRY_FOREVER));
    ferry_buffer_destroy(buffer);
    ferry_device_close(device);
    for (size_t i = 0; i < COUNT; i++) wrong += back[i] != 1;
    return printf("%u of %u words are wrong\n", wrong, count) < 0 || wrong;
}
