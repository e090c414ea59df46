/* ferry.hpp without the seed's names: devices, buffers, batches, tickets, callbacks, futures. In
 * C++17, and once more in C++20, on each driver. */
#define FERRY_NO_SEED_NAMES
#include <ferry/ferry.hpp>

#include <array>
#include <atomic>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <thread>

// clang-format off
extern "C" {
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
}
// clang-format on

/* The names of the seed are not here. */
struct MetalBuffer {
};

namespace ferry
{
struct MetalBuffer {
};
} // namespace ferry

namespace
{

using ferry::Buffer;
using ferry::Device;
using ferry::Storage;

std::vector<int> Numbers(size_t count, int first = 0)
{
    std::vector<int> numbers(count);
    std::iota(numbers.begin(), numbers.end(), first);
    return numbers;
}

/* The status that a call throws, FERRY_OK if it does not throw. */
template <typename Call> int Thrown(Call call)
{
    try {
        call();
    } catch (const ferry::Error &error) {
        assert_int_not_equal(error.status(), FERRY_OK);
        assert_true(std::strlen(error.what()) > 10);
        return error.status();
    }
    return FERRY_OK;
}

void test_devices(void **)
{
    const std::vector<ferry_device_info> infos = Device::list();
    assert_true(!infos.empty());
    Device device;
    const ferry_device_info info = device.info();
    assert_true(std::strlen(info.reason) > 0);
    assert_true(device.memory().total > 0);
    Device moved = std::move(device);
    assert_string_equal(moved.info().name, info.name);
    assert_int_equal(Thrown([&] { device.wait_idle(); }), FERRY_ERROR_INVALID_ARGUMENT);
    assert_int_equal(Thrown([] { Device("submarine"); }), FERRY_ERROR_NO_DEVICE);
    ferry_device_params params = {};
    params.name = info.name;
    params.path = FERRY_PATH_STAGED;
    Device staged(params);
    staged.upload(Numbers(1000));
    assert_int_equal(
        staged.stats().operations[FERRY_OPERATION_UPLOAD][FERRY_PATH_STAGED].operations, 1);
    static_assert(!std::is_copy_constructible_v<Device> && std::is_move_constructible_v<Device>);
    static_assert(!std::is_copy_constructible_v<Buffer> && std::is_move_assignable_v<Buffer>);
}

void test_buffers(void **)
{
    Device device;
    const auto sent = Numbers(4097);
    const size_t bytes = sent.size() * sizeof sent[0];
    {
        Buffer a = device.upload(sent, "sent"), b;
        assert_true(!b);
        assert_int_equal(b.size(), 0);
        b = device.buffer(bytes + 12);
        b.zero();
        b.copy_from(a, bytes, 8);
        assert_true(b.read<int>(8).size() == sent.size() + 1);
        std::vector<int> got(sent.size());
        b.copy_to_host(got, 8);
        assert_true(got == sent);
        assert_true(a.storage() == Storage::Private);
        assert_int_equal(Thrown([&] { a.contents(); }), FERRY_ERROR_UNSUPPORTED);
        assert_int_equal(Thrown([&] { a.copy_from_host(sent, 1); }), FERRY_ERROR_OUT_OF_RANGE);
        Buffer c = std::move(a);
        assert_true(!a);
        assert_int_equal(Thrown([&] { a.zero(); }), FERRY_ERROR_INVALID_ARGUMENT);
        assert_true(c.read<int>() == sent);
        assert_true(c.wait());
        assert_true(c.ticket().done() && c.ticket(1, 1).number() == 0);
        Buffer again(c.release());
        assert_true(!c);
        assert_int_equal(again.size(), bytes);
    }
    assert_int_equal(device.memory().in_use, 0);
    assert_int_equal(Thrown([&] { device.buffer(0); }), FERRY_ERROR_INVALID_ARGUMENT);
    Buffer shared = device.buffer(16, Storage::Shared, nullptr, true);
    std::memset(shared.contents().data(), 7, 4);
    assert_true(shared.read<unsigned char>() ==
                (std::vector<unsigned char>{7, 7, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
}

/* Whatever is contiguous is bytes. */
void test_views(void **)
{
    Device device;
    Buffer buffer = device.buffer(16);
    const std::array<short, 8> shorts = {1, 2, 3, 4, 5, 6, 7, 8};
    const std::string text = "sixteen letters.";
    int plain[4] = {1, 2, 3, 4};
    buffer.copy_from_host(shorts);
    assert_true(buffer.read<short>() == std::vector<short>(shorts.begin(), shorts.end()));
    buffer.copy_from_host(text);
    std::string got(16, 0);
    buffer.copy_to_host(got);
    assert_true(got == text);
    buffer.copy_from_host({plain, 8}, 4);
    buffer.copy_to_host(plain);
    assert_int_equal(plain[1], 1);
    assert_int_equal(plain[2], 2);
    const ferry::MutableBytes some(plain, sizeof plain);
    buffer.copy_to_host(some);
    buffer.copy_from_host(some);
    buffer.copy_from_host({}, 16);
#if __cplusplus >= 202002L
    std::span<int> span(plain);
    buffer.copy_to_host(span);
    buffer.copy_from_host(std::span<const int>(span));
    assert_int_equal(std::span<std::byte>(some).size(), sizeof plain);
#endif
    static_assert(!std::is_constructible_v<ferry::ConstBytes, std::vector<std::string>>);
    static_assert(!std::is_constructible_v<ferry::MutableBytes, const std::vector<int> &>);
    static_assert(!std::is_constructible_v<ferry::ConstBytes, int>);
    const unsigned char pattern[] = {1, 2, 3};
    buffer.fill(pattern, 7, 1);
    const auto filled = buffer.read<unsigned char>();
    assert_int_equal(filled[1], 1);
    assert_int_equal(filled[7], 1);
}

void test_tickets(void **)
{
    Device device;
    Buffer buffer = device.buffer(1 << 16);
    const auto sent = Numbers(1 << 14);
    std::vector<int> got(sent.size());
    assert_true(ferry::Ticket().done());
    ferry::Ticket up = buffer.copy_from_host_async(sent);
    ferry::Ticket down = buffer.copy_to_host_async(got);
    down.wait();
    assert_true(up.done() && up.wait_for(std::chrono::seconds(0)) && down.number() != 0);
    assert_true(got == sent);
    buffer.zero_async().wait();
    const unsigned char seven = 7;
    buffer.fill_async({&seven, 1}, 8, 4).wait();
    assert_int_equal(buffer.read<unsigned char>()[11], 7);
    Buffer other = device.buffer(1 << 16);
    other.copy_from_async(buffer, 1 << 16).wait();
    assert_int_equal(other.read<unsigned char>()[11], 7);
    assert_int_equal(Thrown([&] { buffer.copy_from_host_async(sent, 1); }),
                     FERRY_ERROR_OUT_OF_RANGE);
}

void test_callbacks(void **)
{
    Device device;
    Buffer buffer = device.buffer(64);
    std::atomic<int> calls{0}, failures{0};
    auto owned = std::make_shared<int>(0); /* what a callback holds is let go */
    for (int i = 0; i < 100; i++)
        buffer.zero_async([&, owned](enum ferry_status status) {
            calls++;
            failures += status != FERRY_OK;
        });
    buffer.zero_async(ferry::Callback()).wait(); /* an empty one is none */
    /* A refused call has no callback. */
    assert_int_equal(
        Thrown([&] { buffer.fill_async({}, 1, 0, [&, owned](enum ferry_status) { failures++; }); }),
        FERRY_ERROR_INVALID_ARGUMENT);
    device.wait_idle();
    assert_int_equal(calls, 100);
    assert_int_equal(failures, 0);
    assert_int_equal(owned.use_count(), 1);
}

void test_futures(void **)
{
    Device device;
    Buffer buffer = device.buffer(4096);
    const auto sent = Numbers(1024);
    std::vector<int> got(1024);
    std::future<void> up = buffer.copy_from_host_async(sent, 0, ferry::use_future);
    std::future<void> down = buffer.copy_to_host_async(got, 0, ferry::use_future);
    up.get();
    down.get();
    assert_true(got == sent);
}

/* A failure on the way reaches the future, and names the reason. */
void test_future_of_a_failure(void **)
{
    setenv("FERRY_HOST", "fail_exec=1", 1);
    ferry_device_params params = {};
    params.name = "host";
    params.path = FERRY_PATH_STAGED;
    params.map_private = FERRY_MAP_NEVER;
    Device device(params);
    unsetenv("FERRY_HOST");
    Buffer buffer = device.buffer(4096);
    const auto sent = Numbers(1024);
    std::future<void> future = buffer.copy_from_host_async(sent, 0, ferry::use_future);
    assert_int_equal(Thrown([&] { future.get(); }), FERRY_ERROR_EXECUTION_FAILED);
    assert_int_equal(Thrown([&] { buffer.read<int>(); }), FERRY_ERROR_EXECUTION_FAILED);
    buffer.zero();
    assert_int_equal(buffer.read<int>()[0], 0);
}

void test_batches(void **)
{
    Device device;
    Buffer a = device.buffer(1024), b = device.buffer(1024);
    const auto sent = Numbers(128);
    std::vector<int> got(256);
    const unsigned char seven = 7;
    ferry::Batch batch = device.batch();
    batch.zero(a).copy_from_host(a, sent, 256).copy(b, a, 1024).fill(b, {&seven, 1}, 4);
    batch.copy_to_host(b, got);
    batch.submit().wait();
    assert_int_equal(got[0], 0x07070707);
    assert_int_equal(got[64 + 127], 127);
    assert_int_equal(got[200], 0);
    batch.zero(b).submit(ferry::use_future).get();
    batch.fill(b, {&seven, 1}, 4).copy_to_host(b, got).run();
    assert_int_equal(got[0], 0x07070707);
    assert_int_equal(got[1], 0);
    std::atomic<int> calls{0};
    batch.fill(b, {&seven, 1}, 4).submit([&](enum ferry_status) { calls++; }).wait();
    device.wait_idle();
    assert_int_equal(calls, 1);
    assert_int_equal(Thrown([&] { batch.copy_from_host(a, sent, 1000); }),
                     FERRY_ERROR_OUT_OF_RANGE);
    ferry::Batch moved = std::move(batch);
    assert_int_equal(Thrown([&] { batch.zero(a); }), FERRY_ERROR_INVALID_ARGUMENT);
    moved.submit().wait();
}

void test_host_memory(void **)
{
    Device device;
    ferry::HostMemory memory = device.host_memory(4096);
    std::memset(memory.data(), 9, memory.size());
    Buffer buffer = device.upload(memory.bytes());
    assert_int_equal(buffer.read<unsigned char>()[4095], 9);
    ferry::HostMemory moved = std::move(memory);
    assert_int_equal(moved.size(), 4096);
    assert_null(memory.data());
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_buffers),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_tickets),
        cmocka_unit_test(test_callbacks),
        cmocka_unit_test(test_futures),
        cmocka_unit_test(test_future_of_a_failure),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_host_memory),
    };
    return cmocka_run_group_tests_name("modern", tests, nullptr, nullptr);
}
