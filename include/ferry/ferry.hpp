/*
 * Ferry for C++17 and newer: devices, buffers and batches that clean up after themselves, views of
 * bytes, tickets, futures and callbacks, built on ferry.h. Header-only; link the C library. ferry.h
 * is the manual: its rules on ranges, order, threads and promises hold here too.
 *
 * Every failure throws ferry::Error. Objects are moved, not copied; a moved-from object, or a
 * default-constructed one, holds nothing, and using it throws INVALID_ARGUMENT. Every function may
 * be called from any thread. As in C, no other call on an object may be running while it is
 * destroyed, and a device must outlive everything made on it.
 *
 * The names of Triton's Metal memory code (MetalBuffer::Create, ...) are in ferry/seed.hpp, which
 * is included at the end unless FERRY_NO_SEED_NAMES is defined.
 */
#ifndef FERRY_FERRY_HPP
#define FERRY_FERRY_HPP

#include <ferry/ferry.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>
#if __cplusplus >= 202002L
#include <span>
#endif

namespace ferry
{

/* What went wrong: what() returns the reason as text, with the numbers. */
class FERRY_API Error : public std::runtime_error
{
  public:
    Error(enum ferry_status status, const std::string &why)
        : std::runtime_error(why), status_(status)
    {
    }

    enum ferry_status status() const noexcept
    {
        return status_;
    }

  private:
    enum ferry_status status_;
};

namespace detail
{

inline void Check(enum ferry_status status)
{
    if (status != FERRY_OK)
        throw Error(status, ferry_last_error());
}

template <typename T> T *NotNull(T *pointer, const char *what)
{
    if (pointer == nullptr)
        throw Error(FERRY_ERROR_INVALID_ARGUMENT, std::string(what) + " is NULL");
    return pointer;
}

template <typename Container>
using Element = std::remove_pointer_t<decltype(std::data(std::declval<Container &>()))>;

/* A contiguous container whose elements may be copied byte by byte. */
template <typename Container>
using IfBytes = std::enable_if_t<
    std::is_trivially_copyable_v<Element<Container>> &&
    std::is_convertible_v<decltype(std::size(std::declval<Container &>())), size_t>>;

} // namespace detail

/* --- views of host memory --------------------------------------------------------------------- */

/* Both are made from a pointer and a size in bytes, or from a vector, an array, a string or a
 * std::span of elements that may be copied byte by byte (a string literal counts its closing 0). */

/* Bytes to read. */
class ConstBytes
{
  public:
    ConstBytes() = default;
    ConstBytes(const void *data, size_t size) noexcept : data_(data), size_(size)
    {
    }
    template <typename Container, typename = detail::IfBytes<const Container>>
    ConstBytes(const Container &container) noexcept
        : data_(std::data(container)),
          size_(std::size(container) * sizeof(detail::Element<const Container>))
    {
    }

    const void *data() const noexcept
    {
        return data_;
    }
    size_t size() const noexcept
    {
        return size_;
    }

  private:
    const void *data_ = nullptr;
    size_t size_ = 0;
};

/* Bytes to write. */
class MutableBytes
{
  public:
    MutableBytes() = default;
    MutableBytes(void *data, size_t size) noexcept : data_(data), size_(size)
    {
    }
    template <typename Container, typename = detail::IfBytes<Container>,
              typename = std::enable_if_t<!std::is_const_v<detail::Element<Container>>>>
    MutableBytes(Container &&container) noexcept
        : data_(std::data(container)),
          size_(std::size(container) * sizeof(detail::Element<Container>))
    {
        static_assert(std::is_lvalue_reference_v<Container> ||
                          std::is_trivially_copyable_v<std::decay_t<Container>>,
                      "the bytes of a temporary would be lost");
    }

    operator ConstBytes() const noexcept
    {
        return {data_, size_};
    }
    void *data() const noexcept
    {
        return data_;
    }
    size_t size() const noexcept
    {
        return size_;
    }
#if __cplusplus >= 202002L
    operator std::span<std::byte>() const noexcept
    {
        return {static_cast<std::byte *>(data_), size_};
    }
#endif

  private:
    void *data_ = nullptr;
    size_t size_ = 0;
};

/* --- operations in flight --------------------------------------------------------------------- */

/* Stands for an operation: a number that can be copied freely, with nothing to destroy. */
class Ticket
{
  public:
    Ticket() = default; /* is done */
    Ticket(ferry_device *device, ferry_ticket number) noexcept : device_(device), number_(number)
    {
    }

    /* Waits until the operation is done; throws its failure. */
    void wait() const
    {
        if (device_ != nullptr)
            detail::Check(ferry_wait(device_, number_, FERRY_FOREVER));
    }
    /* False if the time is over before the operation is done. */
    template <typename Rep, typename Period>
    bool wait_for(std::chrono::duration<Rep, Period> timeout) const
    {
        const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(timeout).count();
        return device_ == nullptr ||
               IsDone(ferry_wait(device_, number_, ns > 0 ? static_cast<uint64_t>(ns) : 0),
                      FERRY_ERROR_TIMEOUT);
    }
    /* Never waits; throws if the operation failed. */
    bool done() const
    {
        return device_ == nullptr || IsDone(ferry_poll(device_, number_), FERRY_PENDING);
    }
    ferry_ticket number() const noexcept
    {
        return number_;
    }

  private:
    static bool IsDone(enum ferry_status status, enum ferry_status not_yet)
    {
        if (status == not_yet)
            return false;
        detail::Check(status);
        return true;
    }

    ferry_device *device_ = nullptr;
    ferry_ticket number_ = 0;
};

/* Called once when the operation is done, on a thread of the device's own. It may submit, but must
 * not wait. ferry_last_error() has the reason of a failure. An exception that leaves it terminates
 * the program. */
using Callback = std::function<void(enum ferry_status status)>;

/* Pass it in place of a callback: the operation then returns a std::future<void>. */
struct use_future_t {
};
inline constexpr use_future_t use_future{};

namespace detail
{

inline void CallBack(enum ferry_status status, ferry_ticket, void *user) noexcept
{
    const std::unique_ptr<Callback> callback(static_cast<Callback *>(user));
    (*callback)(status);
}

/* submit(callback, user, out_ticket) calls one of the C functions that do not wait. */
template <typename Submit> Ticket Start(ferry_device *device, Submit submit)
{
    ferry_ticket number = 0;
    Check(submit(nullptr, nullptr, &number));
    return Ticket(device, number);
}

template <typename Submit> Ticket Start(ferry_device *device, Submit submit, Callback callback)
{
    ferry_ticket number = 0;
    if (!callback)
        return Start(device, std::move(submit));
    auto user = std::make_unique<Callback>(std::move(callback));
    Check(submit(CallBack, user.get(), &number));
    user.release(); /* belongs to CallBack, which may have run by now */
    return Ticket(device, number);
}

template <typename Submit>
std::future<void> Start(ferry_device *device, Submit submit, use_future_t)
{
    auto promise = std::make_shared<std::promise<void>>();
    std::future<void> future = promise->get_future();
    Start(device, std::move(submit), [promise](enum ferry_status status) {
        if (status == FERRY_OK)
            promise->set_value();
        else
            promise->set_exception(std::make_exception_ptr(Error(status, ferry_last_error())));
    });
    return future;
}

} // namespace detail

/* --- buffers ---------------------------------------------------------------------------------- */

enum class Storage {
    Private = FERRY_STORAGE_PRIVATE, /* the device's own memory */
    Shared = FERRY_STORAGE_SHARED,   /* memory that the host sees too */
};

/*
 * Device memory. The destructor does not wait: operations in flight keep what they need. The last
 * argument of the functions that end in _async decides what they return: a Ticket if there is none
 * or it is a callback, a std::future<void> if it is use_future. Host memory belongs to the
 * operation until it is done.
 */
class FERRY_API Buffer
{
  public:
    Buffer() = default;
    Buffer(ferry_device *device, size_t size, Storage storage = Storage::Private,
           const char *label = nullptr, bool zeroed = false)
    {
        ferry_buffer_params params = {};
        params.size = size;
        params.storage = static_cast<enum ferry_storage>(storage);
        params.label = label;
        params.zeroed = zeroed;
        ferry_buffer *made = nullptr;
        detail::Check(ferry_buffer_create(detail::NotNull(device, "the device"), &params, &made));
        buffer_.reset(made);
    }
    /* Takes over a buffer of the C library's. */
    explicit Buffer(ferry_buffer *buffer) noexcept : buffer_(buffer)
    {
    }

    explicit operator bool() const noexcept
    {
        return buffer_ != nullptr;
    }
    size_t size() const noexcept
    {
        return buffer_ ? ferry_buffer_size(buffer_.get()) : 0;
    }
    Storage storage() const
    {
        return static_cast<Storage>(ferry_buffer_storage(handle()));
    }
    /* For the functions of ferry.h; still belongs to this object. */
    ferry_buffer *handle() const
    {
        return detail::NotNull(buffer_.get(), "the buffer");
    }
    /* Releases it: the caller must destroy it. */
    ferry_buffer *release() noexcept
    {
        return buffer_.release();
    }

    /* The bytes of a shared buffer; waits for all work on it. Throws UNSUPPORTED if private. */
    MutableBytes contents() const
    {
        void *contents = nullptr;
        detail::Check(ferry_buffer_contents(handle(), &contents));
        return {contents, size()};
    }
    /* False if the time is over before all operations on the buffer are done. */
    bool wait(uint64_t timeout_ns = FERRY_FOREVER) const
    {
        const enum ferry_status status = ferry_buffer_wait(handle(), timeout_ns);
        if (status != FERRY_ERROR_TIMEOUT)
            detail::Check(status);
        return status == FERRY_OK;
    }
    /* One ticket for everything in flight on size bytes from offset on (0: to the end). */
    Ticket ticket(size_t offset = 0, size_t size = 0) const
    {
        ferry_ticket number = 0;
        detail::Check(ferry_buffer_ticket(handle(), offset, size, &number));
        return {ferry_buffer_device(handle()), number};
    }

    /* --- functions that wait --- */

    void copy_from_host(ConstBytes source, size_t offset = 0)
    {
        detail::Check(ferry_copy_from_host(handle(), source.data(), source.size(), offset));
    }
    void copy_to_host(MutableBytes destination, size_t offset = 0) const
    {
        detail::Check(ferry_copy_to_host(handle(), destination.data(), destination.size(), offset));
    }
    /* From any buffer: also this one (as memmove), and those of other devices. */
    void copy_from(const Buffer &source, size_t size, size_t offset = 0, size_t source_offset = 0)
    {
        detail::Check(ferry_copy_buffer(handle(), source.handle(), size, offset, source_offset));
    }
    /* Scattered blocks, as one operation. Their host offsets count from the start of the view. */
    void copy_blocks_from_host(ConstBytes source, const std::vector<ferry_block> &blocks)
    {
        detail::Check(
            ferry_copy_blocks_from_host(handle(), source.data(), blocks.data(), blocks.size()));
    }
    void copy_blocks_to_host(MutableBytes destination, const std::vector<ferry_block> &blocks) const
    {
        detail::Check(
            ferry_copy_blocks_to_host(handle(), destination.data(), blocks.data(), blocks.size()));
    }
    void copy_blocks_from(const Buffer &source, const std::vector<ferry_block> &blocks)
    {
        detail::Check(ferry_copy_blocks(handle(), source.handle(), blocks.data(), blocks.size()));
    }
    void zero()
    {
        detail::Check(ferry_zero_buffer(handle()));
    }
    /* Repeats a pattern of 1 to 16 bytes. */
    void fill(ConstBytes pattern, size_t size, size_t offset = 0)
    {
        detail::Check(ferry_fill_buffer(handle(), size, offset, pattern.data(), pattern.size()));
    }
    /* All bytes from offset on, as elements. */
    template <typename T> std::vector<T> read(size_t offset = 0) const
    {
        static_assert(std::is_trivially_copyable_v<T>, "elements are copied byte by byte");
        std::vector<T> elements(size() > offset ? (size() - offset) / sizeof(T) : 0);
        copy_to_host(elements, offset);
        return elements;
    }

    /* --- functions that do not wait --- */

    template <typename... Then>
    auto copy_from_host_async(ConstBytes source, size_t offset = 0, Then &&...then)
    {
        return Start(
            [=, buffer = handle()](ferry_callback callback, void *user, ferry_ticket *ticket) {
                return ferry_copy_from_host_async(buffer, source.data(), source.size(), offset,
                                                  callback, user, ticket);
            },
            std::forward<Then>(then)...);
    }
    template <typename... Then>
    auto copy_to_host_async(MutableBytes destination, size_t offset = 0, Then &&...then) const
    {
        return Start(
            [=, buffer = handle()](ferry_callback callback, void *user, ferry_ticket *ticket) {
                return ferry_copy_to_host_async(buffer, destination.data(), destination.size(),
                                                offset, callback, user, ticket);
            },
            std::forward<Then>(then)...);
    }
    template <typename... Then>
    auto copy_from_async(const Buffer &source, size_t size, size_t offset = 0,
                         size_t source_offset = 0, Then &&...then)
    {
        return Start(
            [=, buffer = handle(), from = source.handle()](ferry_callback callback, void *user,
                                                           ferry_ticket *ticket) {
                return ferry_copy_buffer_async(buffer, from, size, offset, source_offset, callback,
                                               user, ticket);
            },
            std::forward<Then>(then)...);
    }
    template <typename... Then>
    auto copy_blocks_from_host_async(ConstBytes source, const std::vector<ferry_block> &blocks,
                                     Then &&...then)
    {
        return Start(
            [source, &blocks, buffer = handle()](ferry_callback callback, void *user,
                                                 ferry_ticket *ticket) {
                return ferry_copy_blocks_from_host_async(buffer, source.data(), blocks.data(),
                                                         blocks.size(), callback, user, ticket);
            },
            std::forward<Then>(then)...);
    }
    template <typename... Then>
    auto copy_blocks_to_host_async(MutableBytes destination, const std::vector<ferry_block> &blocks,
                                   Then &&...then) const
    {
        return Start(
            [destination, &blocks, buffer = handle()](ferry_callback callback, void *user,
                                                      ferry_ticket *ticket) {
                return ferry_copy_blocks_to_host_async(buffer, destination.data(), blocks.data(),
                                                       blocks.size(), callback, user, ticket);
            },
            std::forward<Then>(then)...);
    }
    template <typename... Then> auto zero_async(Then &&...then)
    {
        return Start(
            [buffer = handle()](ferry_callback callback, void *user, ferry_ticket *ticket) {
                return ferry_zero_buffer_async(buffer, callback, user, ticket);
            },
            std::forward<Then>(then)...);
    }
    template <typename... Then>
    auto fill_async(ConstBytes pattern, size_t size, size_t offset = 0, Then &&...then)
    {
        return Start(
            [=, buffer = handle()](ferry_callback callback, void *user, ferry_ticket *ticket) {
                return ferry_fill_buffer_async(buffer, size, offset, pattern.data(), pattern.size(),
                                               callback, user, ticket);
            },
            std::forward<Then>(then)...);
    }

  private:
    template <typename Submit, typename... Then> auto Start(Submit submit, Then &&...then) const
    {
        return detail::Start(ferry_buffer_device(handle()), std::move(submit),
                             std::forward<Then>(then)...);
    }

    struct Destroy {
        void operator()(ferry_buffer *buffer) const noexcept
        {
            ferry_buffer_destroy(buffer);
        }
    };
    std::unique_ptr<ferry_buffer, Destroy> buffer_;
};

/* --- batches ---------------------------------------------------------------------------------- */

/* Many operations, one submission, one Ticket; for use by one thread at a time. */
class FERRY_API Batch
{
  public:
    explicit Batch(ferry_device *device) : device_(detail::NotNull(device, "the device"))
    {
        ferry_batch *made = nullptr;
        detail::Check(ferry_batch_create(device_, &made));
        batch_.reset(made);
    }

    Batch &copy_from_host(Buffer &buffer, ConstBytes source, size_t offset = 0)
    {
        return Add(ferry_batch_copy_from_host(handle(), buffer.handle(), source.data(),
                                              source.size(), offset));
    }
    Batch &copy_to_host(const Buffer &buffer, MutableBytes destination, size_t offset = 0)
    {
        return Add(ferry_batch_copy_to_host(handle(), buffer.handle(), destination.data(),
                                            destination.size(), offset));
    }
    Batch &copy(Buffer &buffer, const Buffer &source, size_t size, size_t offset = 0,
                size_t source_offset = 0)
    {
        return Add(ferry_batch_copy_buffer(handle(), buffer.handle(), source.handle(), size, offset,
                                           source_offset));
    }
    Batch &zero(Buffer &buffer)
    {
        return Add(ferry_batch_zero_buffer(handle(), buffer.handle()));
    }
    Batch &fill(Buffer &buffer, ConstBytes pattern, size_t size, size_t offset = 0)
    {
        return Add(ferry_batch_fill_buffer(handle(), buffer.handle(), size, offset, pattern.data(),
                                           pattern.size()));
    }

    /* Submits, and leaves the batch empty; on failure it keeps its operations. Takes the same last
     * argument as the _async functions of Buffer. */
    template <typename... Then> auto submit(Then &&...then)
    {
        return detail::Start(
            device_,
            [batch = handle()](ferry_callback callback, void *user, ferry_ticket *ticket) {
                return ferry_batch_submit(batch, callback, user, ticket);
            },
            std::forward<Then>(then)...);
    }

    /* Submits, and waits: faster than submit().wait(), since no other thread is woken. */
    void run()
    {
        detail::Check(ferry_batch_run(handle()));
    }

    ferry_batch *handle() const
    {
        return detail::NotNull(batch_.get(), "the batch");
    }

  private:
    Batch &Add(enum ferry_status status)
    {
        detail::Check(status);
        return *this;
    }

    struct Destroy {
        void operator()(ferry_batch *batch) const noexcept
        {
            ferry_batch_destroy(batch);
        }
    };
    ferry_device *device_;
    std::unique_ptr<ferry_batch, Destroy> batch_;
};

/* --- devices ---------------------------------------------------------------------------------- */

/* Host memory that needs no staging (ferry_host_alloc), for as long as this object lives. */
class FERRY_API HostMemory
{
  public:
    HostMemory(ferry_device *device, size_t size) : size_(size)
    {
        void *memory = nullptr;
        detail::Check(ferry_host_alloc(detail::NotNull(device, "the device"), size, &memory));
        memory_ = {memory, Free{device}};
    }

    void *data() const noexcept
    {
        return memory_.get();
    }
    size_t size() const noexcept
    {
        return size_;
    }
    MutableBytes bytes() const noexcept
    {
        return {data(), size()};
    }

  private:
    struct Free {
        ferry_device *device;
        void operator()(void *memory) const noexcept
        {
            ferry_host_free(device, memory);
        }
    };
    std::unique_ptr<void, Free> memory_{nullptr, Free{nullptr}};
    size_t size_;
};

/* An open device. The destructor waits for all work, then closes it; destroy everything made on it
 * first. */
class FERRY_API Device
{
  public:
    /* "host", "vulkan:1", "metal", ...; nullptr: the environment's FERRY_DEVICE, else the best. */
    explicit Device(const char *name = nullptr) : Device(Named(name))
    {
    }
    explicit Device(const ferry_device_params &params)
    {
        ferry_device *opened = nullptr;
        detail::Check(ferry_device_open(&params, &opened));
        device_.reset(opened);
    }

    /* All devices, the best first. Opens none. */
    static std::vector<ferry_device_info> list()
    {
        /* The second call may find more than the first. */
        std::vector<ferry_device_info> infos(8);
        for (;;) {
            size_t count = 0;
            detail::Check(ferry_device_list(infos.data(), infos.size(), &count));
            const bool all = count <= infos.size();
            infos.resize(count);
            if (all)
                return infos;
        }
    }

    Buffer buffer(size_t size, Storage storage = Storage::Private, const char *label = nullptr,
                  bool zeroed = false) const
    {
        return Buffer(handle(), size, storage, label, zeroed);
    }
    /* A new private buffer that holds a copy of these bytes. Waits. */
    Buffer upload(ConstBytes source, const char *label = nullptr) const
    {
        Buffer made(handle(), source.size(), Storage::Private, label);
        made.copy_from_host(source);
        return made;
    }
    HostMemory host_memory(size_t size) const
    {
        return HostMemory(handle(), size);
    }
    Batch batch() const
    {
        return Batch(handle());
    }

    ferry_device_info info() const
    {
        ferry_device_info info;
        ferry_device_get_info(handle(), &info);
        return info;
    }
    ferry_memory_info memory() const
    {
        ferry_memory_info info;
        detail::Check(ferry_device_get_memory(handle(), &info));
        return info;
    }
    ferry_stats stats() const
    {
        ferry_stats stats;
        ferry_device_get_stats(handle(), &stats, sizeof stats);
        return stats;
    }
    void trim() const
    {
        detail::Check(ferry_device_trim(handle()));
    }
    void wait_idle() const
    {
        detail::Check(ferry_wait_idle(handle()));
    }
    /* For the functions of ferry.h; still belongs to this object. */
    ferry_device *handle() const
    {
        return detail::NotNull(device_.get(), "the device");
    }

  private:
    static ferry_device_params Named(const char *name)
    {
        ferry_device_params params = {};
        params.name = name;
        return params;
    }

    struct Close {
        void operator()(ferry_device *device) const noexcept
        {
            ferry_device_close(device);
        }
    };
    std::unique_ptr<ferry_device, Close> device_;
};

} // namespace ferry

#ifndef FERRY_NO_SEED_NAMES
#include <ferry/seed.hpp>
#endif

#endif
