/*
 * The names of Triton's Metal memory code, over ferry.hpp: MetalBuffer::Create, CopyFromHost, ...
 * They say Metal on every driver: the device behind them is whatever Ferry chose.
 *
 * Every failure throws ferry::Error, and so does every NULL buffer, device or pointer, also with
 * size 0. Every function may be called from any thread; as in C, no other call on a buffer may be
 * running when it is destroyed. Devices and singletons live as long as the process: nothing is torn
 * down at exit, so a buffer may be destroyed from anywhere.
 */
#ifndef FERRY_SEED_HPP
#define FERRY_SEED_HPP

#include <ferry/ferry.hpp>

#include <mutex>

namespace ferry
{

namespace detail
{

inline ferry_memory_info MemoryOf(ferry_device *device)
{
    ferry_memory_info info;
    Check(ferry_device_get_memory(device, &info));
    return info;
}

} // namespace detail

/* Requested bytes of buffers, however they were made. */
struct MetalMemoryStats {
    size_t total_allocated = 0;    /* of all buffers made since the last reset */
    size_t total_freed = 0;        /* of all buffers destroyed since the last reset */
    size_t current_usage = 0;      /* of those that live */
    size_t peak_usage = 0;         /* the most current_usage was since the last reset */
    size_t allocation_count = 0;   /* buffers made since the last reset */
    size_t deallocation_count = 0; /* buffers destroyed since the last reset */
};

/* A device, open for the life of the process. MetalDeviceManager makes them. */
class FERRY_API MetalDevice
{
  public:
    MetalDevice(const MetalDevice &) = delete;
    MetalDevice &operator=(const MetalDevice &) = delete;

    const std::string &GetName() const noexcept
    {
        return name_;
    } /* "host:0", "metal:0" */
    int GetDeviceId() const noexcept
    {
        return id_;
    } /* index in MetalDeviceManager */
    size_t GetTotalMemory() const
    {
        return detail::MemoryOf(device_).total;
    }
    size_t GetAvailableMemory() const
    {
        return detail::MemoryOf(device_).available;
    }
    ferry_device *Handle() const noexcept
    {
        return device_;
    }

  private:
    friend class MetalDeviceManager;

    MetalDevice(int id, const char *name) : id_(id)
    {
        ferry_device_params params = {};
        params.name = name;
        detail::Check(ferry_device_open(&params, &device_));
        ferry_device_info info;
        ferry_device_get_info(device_, &info);
        name_ = info.name;
    }
    ~MetalDevice()
    {
        ferry_device_close(device_);
    }

    int id_;
    std::string name_;
    ferry_device *device_ = nullptr;
};

/* The devices there were at first use: index 0 is the one that Ferry chooses (FERRY_DEVICE
 * respected), the rest follow as `ferry devices` lists them. Each is opened when first asked
 * for. */
class FERRY_API MetalDeviceManager
{
  public:
    MetalDeviceManager(const MetalDeviceManager &) = delete;
    MetalDeviceManager &operator=(const MetalDeviceManager &) = delete;

    static MetalDeviceManager &Instance()
    {
        static MetalDeviceManager *const instance = new MetalDeviceManager();
        return *instance;
    }

    int GetDeviceCount() const noexcept
    {
        return static_cast<int>(names_.size());
    }

    /* The same object each time; nullptr if index is out of range. */
    MetalDevice *GetDevice(int index)
    {
        if (index < 0 || index >= GetDeviceCount())
            return nullptr;
        const size_t i = static_cast<size_t>(index);
        std::lock_guard<std::mutex> guard(lock_);
        if (!devices_[i])
            devices_[i].reset(new MetalDevice(index, names_[i].c_str()));
        return devices_[i].get();
    }

    MetalDevice *GetDefaultDevice()
    {
        return GetDevice(0);
    }

  private:
    struct Close {
        void operator()(MetalDevice *device) const
        {
            delete device;
        }
    };

    MetalDeviceManager()
    {
        std::unique_ptr<MetalDevice, Close> chosen(new MetalDevice(0, nullptr));
        names_.push_back(chosen->GetName());
        for (const ferry_device_info &info : Device::list())
            if (chosen->GetName() != info.name)
                names_.push_back(info.name);
        devices_.resize(names_.size());
        devices_[0] = std::move(chosen);
    }
    ~MetalDeviceManager() = default;

    std::vector<std::string> names_;
    std::mutex lock_; /* guards devices_ */
    std::vector<std::unique_ptr<MetalDevice, Close>> devices_;
};

/* Device memory. Its destructor does not wait: work in flight keeps what it needs. */
class FERRY_API MetalBuffer
{
  public:
    /* shared: memory that the host sees too; else private memory, which only the device sees. */
    static std::unique_ptr<MetalBuffer> Create(MetalDevice *device, size_t size, bool shared = true)
    {
        detail::NotNull(device, "the device");
        std::unique_ptr<MetalBuffer> buffer(new MetalBuffer(device));
        ferry_buffer_params params = {};
        params.size = size;
        params.storage = shared ? FERRY_STORAGE_SHARED : FERRY_STORAGE_PRIVATE;
        detail::Check(ferry_buffer_create(device->Handle(), &params, &buffer->buffer_));
        return buffer;
    }

    ~MetalBuffer()
    {
        ferry_buffer_destroy(buffer_);
    }
    MetalBuffer(const MetalBuffer &) = delete;
    MetalBuffer &operator=(const MetalBuffer &) = delete;

    size_t GetSize() const noexcept
    {
        return ferry_buffer_size(buffer_);
    }
    MetalDevice *GetDevice() const noexcept
    {
        return device_;
    }
    bool IsShared() const noexcept
    {
        return ferry_buffer_storage(buffer_) == FERRY_STORAGE_SHARED;
    }

    /* A shared buffer's bytes; waits for all work on it. A private one throws UNSUPPORTED. */
    void *GetContents() const
    {
        void *contents = nullptr;
        detail::Check(ferry_buffer_contents(buffer_, &contents));
        return contents;
    }

    /* Both wait. */
    void CopyFromHost(const void *src, size_t size, size_t offset = 0)
    {
        detail::NotNull(src, "the source");
        detail::Check(ferry_copy_from_host(buffer_, src, size, offset));
    }
    void CopyToHost(void *dst, size_t size, size_t offset = 0) const
    {
        detail::NotNull(dst, "the destination");
        detail::Check(ferry_copy_to_host(buffer_, dst, size, offset));
    }

    /* For the functions of ferry.h: asynchronous operations, batches. Stays this object's. */
    ferry_buffer *Handle() const noexcept
    {
        return buffer_;
    }

  private:
    explicit MetalBuffer(MetalDevice *device) : device_(device)
    {
    }

    MetalDevice *device_;
    ferry_buffer *buffer_ = nullptr;
};

/* One device's memory. MetalMemoryPool makes them. */
class FERRY_API MetalMemoryManager
{
  public:
    MetalMemoryManager(const MetalMemoryManager &) = delete;
    MetalMemoryManager &operator=(const MetalMemoryManager &) = delete;

    std::unique_ptr<MetalBuffer> Allocate(size_t size, bool shared = true)
    {
        return MetalBuffer::Create(device_, size, shared);
    }

    MetalMemoryStats GetStats() const
    {
        const ferry_memory_info info = detail::MemoryOf(device_->Handle());
        MetalMemoryStats stats;
        stats.total_allocated = info.total_allocated;
        stats.total_freed = info.total_freed;
        stats.current_usage = info.in_use;
        stats.peak_usage = info.peak;
        stats.allocation_count = info.allocation_count;
        stats.deallocation_count = info.deallocation_count;
        return stats;
    }

    /* Counts and totals become 0, the peak the usage now. Ferry's transfer statistics of the device
     * (ferry_device_get_stats) begin anew as well. */
    void ResetStats()
    {
        ferry_device_reset_stats(device_->Handle());
    }

    size_t GetTotalMemory() const
    {
        return device_->GetTotalMemory();
    }
    size_t GetAvailableMemory() const
    {
        return device_->GetAvailableMemory();
    }
    MetalDevice *GetDevice() const noexcept
    {
        return device_;
    }

  private:
    friend class MetalMemoryPool;

    explicit MetalMemoryManager(MetalDevice *device) : device_(device)
    {
    }

    MetalDevice *device_;
};

/* The memory of all devices. */
class FERRY_API MetalMemoryPool
{
  public:
    MetalMemoryPool(const MetalMemoryPool &) = delete;
    MetalMemoryPool &operator=(const MetalMemoryPool &) = delete;

    static MetalMemoryPool &Instance()
    {
        static MetalMemoryPool *const instance = new MetalMemoryPool();
        return *instance;
    }

    /* The same object each time; nullptr if device is out of range. */
    MetalMemoryManager *GetMemoryManager(int device)
    {
        MetalDevice *const opened = MetalDeviceManager::Instance().GetDevice(device);
        if (opened == nullptr)
            return nullptr;
        std::lock_guard<std::mutex> guard(lock_);
        std::unique_ptr<MetalMemoryManager> &manager = managers_[static_cast<size_t>(device)];
        if (!manager)
            manager.reset(new MetalMemoryManager(opened));
        return manager.get();
    }

    std::unique_ptr<MetalBuffer> Allocate(int device, size_t size, bool shared = true)
    {
        MetalMemoryManager *const manager = GetMemoryManager(device);
        if (manager == nullptr)
            throw Error(FERRY_ERROR_NO_DEVICE, "there is no device " + std::to_string(device) +
                                                   ", only " + std::to_string(managers_.size()));
        return manager->Allocate(size, shared);
    }

    /* Sums over the devices that GetMemoryManager or Allocate used; the peak is a sum of peaks. */
    MetalMemoryStats GetGlobalStats() const
    {
        MetalMemoryStats sum;
        std::lock_guard<std::mutex> guard(lock_);
        for (const auto &manager : managers_) {
            if (!manager)
                continue;
            const MetalMemoryStats stats = manager->GetStats();
            sum.total_allocated += stats.total_allocated;
            sum.total_freed += stats.total_freed;
            sum.current_usage += stats.current_usage;
            sum.peak_usage += stats.peak_usage;
            sum.allocation_count += stats.allocation_count;
            sum.deallocation_count += stats.deallocation_count;
        }
        return sum;
    }

    /* Gives freed memory that is kept for reuse back to the devices. Buffers that live stay. */
    void Clear()
    {
        std::lock_guard<std::mutex> guard(lock_);
        for (const auto &manager : managers_)
            if (manager)
                detail::Check(ferry_device_trim(manager->GetDevice()->Handle()));
    }

  private:
    MetalMemoryPool()
        : managers_(static_cast<size_t>(MetalDeviceManager::Instance().GetDeviceCount()))
    {
    }
    ~MetalMemoryPool() = default;

    mutable std::mutex lock_; /* guards managers_ */
    std::vector<std::unique_ptr<MetalMemoryManager>> managers_;
};

namespace MetalMemoryUtils
{

/* Any pair of storage modes and devices; within one buffer ranges may overlap. Waits. */
inline void CopyBuffer(MetalBuffer *dst, const MetalBuffer *src, size_t size, size_t dst_offset = 0,
                       size_t src_offset = 0)
{
    detail::NotNull(dst, "the destination");
    detail::NotNull(src, "the source");
    detail::Check(ferry_copy_buffer(dst->Handle(), src->Handle(), size, dst_offset, src_offset));
}

/* All of src to the beginning of dst, which is at least as large. Waits. */
inline void CopyBetweenDevices(MetalBuffer *dst, const MetalBuffer *src)
{
    detail::NotNull(src, "the source");
    CopyBuffer(dst, src, src->GetSize());
}

/* Waits. */
inline void ZeroBuffer(MetalBuffer *buffer)
{
    detail::NotNull(buffer, "the buffer");
    detail::Check(ferry_zero_buffer(buffer->Handle()));
}

/* Every buffer starts at a multiple of this. */
constexpr size_t GetBufferAlignment() noexcept
{
    return FERRY_BUFFER_ALIGNMENT;
}

/* size rounded up to the alignment; throws where that would wrap. */
inline size_t AlignSize(size_t size)
{
    if (size > SIZE_MAX - (GetBufferAlignment() - 1))
        throw Error(FERRY_ERROR_OUT_OF_RANGE, std::to_string(size) +
                                                  " bytes cannot be rounded up to a multiple of " +
                                                  std::to_string(GetBufferAlignment()));
    return (size + GetBufferAlignment() - 1) / GetBufferAlignment() * GetBufferAlignment();
}

} // namespace MetalMemoryUtils
} // namespace ferry

#endif
