/* ferry.hpp: the seed's examples as they stand, every function, every way to fail; on each device
 * there is, the first being FERRY_DEVICE's. */
#include <ferry/ferry.hpp>

#include <algorithm>
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

using namespace ferry;

std::vector<float> round_trip(const std::vector<float> &data); /* of docs/cpp.md */
std::vector<int> there_and_back(const std::vector<int> &data); /* likewise */

namespace
{

std::vector<MetalDevice *> AllDevices()
{
    std::vector<MetalDevice *> devices;
    for (int i = 0; i < MetalDeviceManager::Instance().GetDeviceCount(); i++)
        devices.push_back(MetalDeviceManager::Instance().GetDevice(i));
    return devices;
}

/* The status that a call throws, FERRY_OK if it does not throw. */
template <typename Call> int Thrown(Call call)
{
    try {
        call();
    } catch (const Error &error) {
        assert_int_not_equal(error.status(), FERRY_OK);
        assert_true(std::strlen(error.what()) > 10);
        return error.status();
    }
    return FERRY_OK;
}

std::vector<unsigned char> Pattern(size_t size, unsigned seed)
{
    std::vector<unsigned char> bytes(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = static_cast<unsigned char>(i * 7 + i / 251 + seed);
    return bytes;
}

std::vector<unsigned char> Bytes(const MetalBuffer &buffer)
{
    std::vector<unsigned char> bytes(buffer.GetSize());
    buffer.CopyToHost(bytes.data(), bytes.size());
    return bytes;
}

/* --- the seed's examples, as they stand -------------------------------------------------------- */

void test_seed_basic(void **)
{
    for (MetalDevice *device : AllDevices()) {
#include "basic.inc"
        assert_true(result == data);
        std::iota(data.begin(), data.end(), 1.0f);
        buffer->CopyFromHost(data.data(), data.size() * sizeof(float));
        buffer->CopyToHost(result.data(), result.size() * sizeof(float));
        assert_true(result == data);
    }
}

void test_seed_copy(void **)
{
    for (MetalDevice *device : AllDevices()) {
#include "copy.inc"
        const auto bytes = Pattern(1024, 3);
        src->CopyFromHost(bytes.data(), bytes.size());
        MetalMemoryUtils::CopyBuffer(dst.get(), src.get(), 1024);
        assert_true(Bytes(*dst) == bytes);
        MetalMemoryUtils::ZeroBuffer(dst.get());
        MetalMemoryUtils::CopyBuffer(dst.get(), src.get(), 512, 256, 0);
        std::vector<unsigned char> expected(1024, 0);
        std::copy(bytes.begin(), bytes.begin() + 512, expected.begin() + 256);
        assert_true(Bytes(*dst) == expected);
    }
}

void test_seed_zero(void **)
{
    for (MetalDevice *device : AllDevices()) {
#include "zero.inc"
        assert_true(Bytes(*buffer) == std::vector<unsigned char>(4096, 0));
        buffer->CopyFromHost(Pattern(4096, 1).data(), 4096);
        MetalMemoryUtils::ZeroBuffer(buffer.get());
        assert_true(Bytes(*buffer) == std::vector<unsigned char>(4096, 0));
    }
}

void test_documented_example(void **)
{
    const std::vector<float> values = {1.5f, -2.25f, 3.0f};
    assert_true(round_trip(values) == values);
    const std::vector<int> numbers = {1, -2, 3};
    assert_true(there_and_back(numbers) == numbers);
}

/* --- devices ----------------------------------------------------------------------------------- */

void test_device_order(void **)
{
    MetalDeviceManager &manager = MetalDeviceManager::Instance();
    assert_ptr_equal(&manager, &MetalDeviceManager::Instance());
    ferry_device *chosen = nullptr;
    ferry_device_info info;
    assert_int_equal(ferry_device_open(nullptr, &chosen), FERRY_OK);
    ferry_device_get_info(chosen, &info);
    ferry_device_close(chosen);

    std::vector<std::string> expected = {info.name};
    ferry_device_info infos[16];
    size_t count = 0;
    assert_int_equal(ferry_device_list(infos, 16, &count), FERRY_OK);
    assert_true(count >= 1 && count <= 16);
    for (size_t i = 0; i < count; i++)
        if (expected[0] != infos[i].name)
            expected.push_back(infos[i].name);
    assert_int_equal(expected.size(), count);
    assert_int_equal(manager.GetDeviceCount(), count);
    for (int i = 0; i < manager.GetDeviceCount(); i++) {
        MetalDevice *device = manager.GetDevice(i);
        assert_string_equal(device->GetName().c_str(), expected[static_cast<size_t>(i)].c_str());
        assert_int_equal(device->GetDeviceId(), i);
        assert_ptr_equal(device, manager.GetDevice(i));
    }
    assert_ptr_equal(manager.GetDefaultDevice(), manager.GetDevice(0));
    const char *asked = std::getenv("FERRY_DEVICE");
    if (asked != nullptr)
        assert_int_equal(manager.GetDefaultDevice()->GetName().compare(0, strlen(asked), asked), 0);
}

void test_device_out_of_range(void **)
{
    MetalDeviceManager &manager = MetalDeviceManager::Instance();
    for (int index : {-1, -2147483647 - 1, manager.GetDeviceCount(), 2147483647}) {
        assert_null(manager.GetDevice(index));
        assert_null(MetalMemoryPool::Instance().GetMemoryManager(index));
    }
}

/* Run alone, with FERRY_DEVICE=nowhere: it fails each time, and in words. */
void test_unknown_device(void **)
{
    for (int i = 0; i < 2; i++) {
        try {
            MetalDeviceManager::Instance();
            fail();
        } catch (const Error &error) {
            assert_int_equal(error.status(), FERRY_ERROR_NO_DEVICE);
            assert_non_null(std::strstr(error.what(), "nowhere"));
        }
        assert_int_equal(Thrown([] { MetalMemoryPool::Instance(); }), FERRY_ERROR_NO_DEVICE);
    }
}

void test_device_numbers(void **)
{
    for (MetalDevice *device : AllDevices()) {
        ferry_memory_info memory;
        assert_int_equal(ferry_device_get_memory(device->Handle(), &memory), FERRY_OK);
        assert_int_equal(device->GetTotalMemory(), memory.total);
        assert_true(device->GetAvailableMemory() >= 1 &&
                    device->GetAvailableMemory() <= device->GetTotalMemory());
        MetalMemoryManager *manager =
            MetalMemoryPool::Instance().GetMemoryManager(device->GetDeviceId());
        assert_ptr_equal(manager->GetDevice(), device);
        assert_int_equal(manager->GetTotalMemory(), memory.total);
        assert_true(manager->GetAvailableMemory() >= 1 &&
                    manager->GetAvailableMemory() <= manager->GetTotalMemory());
    }
}

void test_device_threads(void **)
{
    MetalDevice *seen[8] = {};
    std::vector<std::thread> threads;
    for (MetalDevice *&device : seen) {
        threads.emplace_back([&device] {
            MetalDeviceManager &manager = MetalDeviceManager::Instance();
            device = manager.GetDevice(manager.GetDeviceCount() - 1);
            MetalMemoryPool::Instance().Allocate(device->GetDeviceId(), 333, false);
        });
    }
    for (std::thread &thread : threads)
        thread.join();
    for (MetalDevice *device : seen)
        assert_ptr_equal(device, seen[0]);
    assert_non_null(seen[0]);
}

/* --- buffers ----------------------------------------------------------------------------------- */

void test_buffer_properties(void **)
{
    for (MetalDevice *device : AllDevices()) {
        auto shared = MetalBuffer::Create(device, 4097);
        auto hidden = MetalBuffer::Create(device, 31, false);
        assert_int_equal(shared->GetSize(), 4097);
        assert_int_equal(hidden->GetSize(), 31);
        assert_true(shared->IsShared());
        assert_false(hidden->IsShared());
        assert_ptr_equal(shared->GetDevice(), device);
        assert_ptr_equal(ferry_buffer_device(hidden->Handle()), device->Handle());
        assert_int_equal(Thrown([&] { hidden->GetContents(); }), FERRY_ERROR_UNSUPPORTED);

        const auto bytes = Pattern(4097, 9);
        shared->CopyFromHost(bytes.data(), bytes.size());
        auto *contents = static_cast<unsigned char *>(shared->GetContents());
        assert_memory_equal(contents, bytes.data(), bytes.size());
        contents[4096] ^= 0xff;
        assert_int_equal(Bytes(*shared)[4096], bytes[4096] ^ 0xff);
    }
}

void test_buffer_ranges(void **)
{
    const size_t sizes[] = {0, 1, 3, 4, 5, 31, 33, 4095, 4096, 4097, 65537};
    const size_t offsets[] = {0, 1, 3, 4, 7, 17, 31};
    const auto source = Pattern(65537, 40);
    for (MetalDevice *device : AllDevices()) {
        for (bool shared : {false, true}) {
            auto buffer = MetalBuffer::Create(device, 65537 + 64, shared);
            for (size_t size : sizes) {
                for (size_t offset : offsets) {
                    auto expected = Pattern(buffer->GetSize(), 77);
                    buffer->CopyFromHost(expected.data(), expected.size());
                    buffer->CopyFromHost(source.data(), size, offset);
                    std::copy_n(source.begin(), size, expected.begin() + static_cast<long>(offset));
                    assert_true(Bytes(*buffer) == expected);
                    std::vector<unsigned char> part(size + 2, 0xa5);
                    buffer->CopyToHost(part.data() + 1, size, offset);
                    assert_memory_equal(part.data() + 1, source.data(), size);
                    assert_int_equal(part.front(), 0xa5);
                    assert_int_equal(part.back(), 0xa5);
                }
            }
        }
    }
}

void test_buffer_errors(void **)
{
    unsigned char byte = 0;
    assert_int_equal(Thrown([] { MetalBuffer::Create(nullptr, 16); }),
                     FERRY_ERROR_INVALID_ARGUMENT);
    for (MetalDevice *device : AllDevices()) {
        auto buffer = MetalBuffer::Create(device, 100, false);
        assert_int_equal(Thrown([&] { MetalBuffer::Create(device, 0); }),
                         FERRY_ERROR_INVALID_ARGUMENT);
        assert_int_equal(Thrown([&] { MetalBuffer::Create(device, SIZE_MAX, false); }),
                         FERRY_ERROR_OUT_OF_DEVICE_MEMORY);
        assert_int_equal(Thrown([&] { buffer->CopyFromHost(nullptr, 1); }),
                         FERRY_ERROR_INVALID_ARGUMENT);
        assert_int_equal(Thrown([&] { buffer->CopyFromHost(nullptr, 0); }),
                         FERRY_ERROR_INVALID_ARGUMENT);
        assert_int_equal(Thrown([&] { buffer->CopyToHost(nullptr, 1); }),
                         FERRY_ERROR_INVALID_ARGUMENT);
        assert_int_equal(Thrown([&] { buffer->CopyFromHost(&byte, 1, 100); }),
                         FERRY_ERROR_OUT_OF_RANGE);
        assert_int_equal(Thrown([&] { buffer->CopyToHost(&byte, 1, SIZE_MAX); }),
                         FERRY_ERROR_OUT_OF_RANGE);
        assert_int_equal(Thrown([&] { buffer->CopyToHost(&byte, 1, 99); }), FERRY_OK);
        try {
            buffer->CopyFromHost(&byte, 101);
            fail();
        } catch (const std::runtime_error &error) {
            assert_non_null(std::strstr(error.what(), "101"));
        }
    }
}

/* --- MetalMemoryUtils -------------------------------------------------------------------------- */

void test_copies_between_all(void **)
{
    const auto bytes = Pattern(65537, 5);
    for (MetalDevice *from : AllDevices()) {
        for (MetalDevice *to : AllDevices()) {
            for (int modes = 0; modes < 4; modes++) {
                auto src = MetalBuffer::Create(from, bytes.size(), (modes & 1) != 0);
                auto dst = MetalBuffer::Create(to, bytes.size() + 3, (modes & 2) != 0);
                auto expected = Pattern(dst->GetSize(), 200);
                src->CopyFromHost(bytes.data(), bytes.size());
                dst->CopyFromHost(expected.data(), expected.size());
                MetalMemoryUtils::CopyBetweenDevices(dst.get(), src.get());
                std::copy(bytes.begin(), bytes.end(), expected.begin());
                assert_true(Bytes(*dst) == expected);
                MetalMemoryUtils::CopyBuffer(dst.get(), src.get(), 4097, 17, 31);
                std::copy_n(bytes.begin() + 31, 4097, expected.begin() + 17);
                assert_true(Bytes(*dst) == expected);
            }
        }
    }
}

void test_utils_errors(void **)
{
    auto small = MetalBuffer::Create(MetalDeviceManager::Instance().GetDefaultDevice(), 10);
    auto large = MetalBuffer::Create(MetalDeviceManager::Instance().GetDefaultDevice(), 11);
    MetalBuffer *none = nullptr;
    using namespace MetalMemoryUtils;
    const int invalid = FERRY_ERROR_INVALID_ARGUMENT;
    assert_int_equal(Thrown([&] { CopyBuffer(none, small.get(), 1); }), invalid);
    assert_int_equal(Thrown([&] { CopyBuffer(small.get(), none, 1); }), invalid);
    assert_int_equal(Thrown([&] { CopyBetweenDevices(none, small.get()); }), invalid);
    assert_int_equal(Thrown([&] { CopyBetweenDevices(small.get(), none); }), invalid);
    assert_int_equal(Thrown([&] { ZeroBuffer(none); }), invalid);
    assert_int_equal(Thrown([&] { CopyBetweenDevices(small.get(), large.get()); }),
                     FERRY_ERROR_OUT_OF_RANGE);
    assert_int_equal(Thrown([&] { CopyBuffer(large.get(), small.get(), 5, 0, 6); }),
                     FERRY_ERROR_OUT_OF_RANGE);
}

void test_alignment(void **)
{
    static_assert(MetalMemoryUtils::GetBufferAlignment() == 256, "the seed's alignment");
    const size_t values[][2] = {{0, 0},     {1, 256},   {255, 256},
                                {256, 256}, {257, 512}, {SIZE_MAX - 255, SIZE_MAX - 255}};
    for (const auto &value : values)
        assert_int_equal(MetalMemoryUtils::AlignSize(value[0]), value[1]);
    assert_int_equal(Thrown([] { MetalMemoryUtils::AlignSize(SIZE_MAX - 254); }),
                     FERRY_ERROR_OUT_OF_RANGE);
}

/* --- memory ------------------------------------------------------------------------------------ */

void Expect(const MetalMemoryStats &stats, size_t allocated, size_t freed, size_t current,
            size_t peak, size_t made, size_t destroyed)
{
    assert_int_equal(stats.total_allocated, allocated);
    assert_int_equal(stats.total_freed, freed);
    assert_int_equal(stats.current_usage, current);
    assert_int_equal(stats.peak_usage, peak);
    assert_int_equal(stats.allocation_count, made);
    assert_int_equal(stats.deallocation_count, destroyed);
}

void test_stats(void **)
{
    for (MetalDevice *device : AllDevices()) {
        MetalMemoryManager *manager =
            MetalMemoryPool::Instance().GetMemoryManager(device->GetDeviceId());
        manager->ResetStats();
        Expect(manager->GetStats(), 0, 0, 0, 0, 0, 0);
        auto first = manager->Allocate(1000);
        auto second = manager->Allocate(37, false);
        assert_true(first->IsShared());
        assert_false(second->IsShared());
        Expect(manager->GetStats(), 1037, 0, 1037, 1037, 2, 0);
        first.reset();
        Expect(manager->GetStats(), 1037, 1000, 37, 1037, 2, 1);
        manager->ResetStats();
        Expect(manager->GetStats(), 0, 0, 37, 37, 0, 0);
        second.reset();
        Expect(manager->GetStats(), 0, 37, 0, 37, 0, 1);
        manager->ResetStats();
    }
}

void test_pool(void **)
{
    MetalMemoryPool &pool = MetalMemoryPool::Instance();
    assert_ptr_equal(&pool, &MetalMemoryPool::Instance());
    const int count = MetalDeviceManager::Instance().GetDeviceCount();
    std::vector<std::unique_ptr<MetalBuffer>> buffers;
    size_t bytes = 0;
    for (int i = 0; i < count; i++) {
        assert_ptr_equal(pool.GetMemoryManager(i), pool.GetMemoryManager(i));
        pool.GetMemoryManager(i)->ResetStats();
        buffers.push_back(pool.Allocate(i, 5000 + static_cast<size_t>(i), i % 2 == 0));
        bytes += 5000 + static_cast<size_t>(i);
        assert_int_equal(buffers.back()->GetDevice()->GetDeviceId(), i);
        assert_true(buffers.back()->IsShared() == (i % 2 == 0));
    }
    const auto n = static_cast<size_t>(count);
    Expect(pool.GetGlobalStats(), bytes, 0, bytes, bytes, n, 0);
    buffers.clear();
    Expect(pool.GetGlobalStats(), bytes, bytes, 0, bytes, n, n);
    pool.Clear();
    for (MetalDevice *device : AllDevices()) {
        ferry_memory_info memory;
        assert_int_equal(ferry_device_get_memory(device->Handle(), &memory), FERRY_OK);
        assert_int_equal(memory.pooled, 0);
    }
    assert_int_equal(Thrown([&] { pool.Allocate(count, 16); }), FERRY_ERROR_NO_DEVICE);
    assert_int_equal(Thrown([&] { pool.Allocate(-1, 16); }), FERRY_ERROR_NO_DEVICE);
    assert_int_equal(Thrown([&] { pool.Allocate(0, 0); }), FERRY_ERROR_INVALID_ARGUMENT);
}

/* These are destroyed when the process ends, after all else. */
std::vector<std::unique_ptr<MetalBuffer>> outliving;

void test_static_buffers(void **)
{
    const auto bytes = Pattern(65537, 8);
    for (MetalDevice *device : AllDevices()) {
        for (bool shared : {false, true}) {
            outliving.push_back(MetalBuffer::Create(device, bytes.size(), shared));
            outliving.back()->CopyFromHost(bytes.data(), bytes.size());
            const unsigned char seven = 7;
            assert_int_equal(ferry_fill_buffer_async(outliving.back()->Handle(), 4097, 3, &seven, 1,
                                                     nullptr, nullptr, nullptr),
                             FERRY_OK);
        }
    }
}

void test_handles_reach_c(void **)
{
    auto buffer = MetalBuffer::Create(MetalDeviceManager::Instance().GetDefaultDevice(), 64, false);
    ferry_device *device = buffer->GetDevice()->Handle();
    ferry_ticket ticket = 0;
    const unsigned char seven = 7;
    assert_int_equal(
        ferry_fill_buffer_async(buffer->Handle(), 64, 0, &seven, 1, nullptr, nullptr, &ticket),
        FERRY_OK);
    assert_int_equal(ferry_wait(device, ticket, FERRY_FOREVER), FERRY_OK);
    assert_true(Bytes(*buffer) == std::vector<unsigned char>(64, 7));
}

} // namespace

int main()
{
    ferry_set_log(nullptr, nullptr, FERRY_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device_threads), /* first: they race for the singletons */
        cmocka_unit_test(test_seed_basic),
        cmocka_unit_test(test_seed_copy),
        cmocka_unit_test(test_seed_zero),
        cmocka_unit_test(test_documented_example),
        cmocka_unit_test(test_device_order),
        cmocka_unit_test(test_device_out_of_range),
        cmocka_unit_test(test_device_numbers),
        cmocka_unit_test(test_buffer_properties),
        cmocka_unit_test(test_buffer_ranges),
        cmocka_unit_test(test_buffer_errors),
        cmocka_unit_test(test_copies_between_all),
        cmocka_unit_test(test_utils_errors),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_stats),
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_handles_reach_c),
        cmocka_unit_test(test_static_buffers),
    };
    const struct CMUnitTest unknown[] = {cmocka_unit_test(test_unknown_device)};
    const char *asked = std::getenv("FERRY_DEVICE");
    if (asked != nullptr && std::strcmp(asked, "nowhere") == 0)
        return cmocka_run_group_tests(unknown, nullptr, nullptr);
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
