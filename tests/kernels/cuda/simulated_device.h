/// The queue of kernels/cuda/device.h on a simulated grid: what an executor does on a GPU, without one.
///
/// Its memory is closed to the host except while a launch or a copy runs, so that code of the host that takes a pointer
/// of the device for one of its own dies at once, as it would with a GPU. The first finding of the simulation is an
/// error of the whole test.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <new>
#include <string>

#include "kernels/check.h"
#include "kernels/memory.h"
#include "simulated_grid.h"

namespace fairway::test {

class SimulatedDevice : public kernels::Memory {
 public:
  explicit SimulatedDevice(uint64_t seed) : simulation_(seed) {
    void* p = mmap(nullptr, kArena, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    arena_ = static_cast<char*>(p);
    failure_ = static_cast<uint32_t*>(allocate(sizeof(uint32_t), "the failure word"));
    zero(failure_, sizeof(uint32_t));
  }
  ~SimulatedDevice() override { munmap(arena_, kArena); }
  SimulatedDevice(const SimulatedDevice&) = delete;
  SimulatedDevice& operator=(const SimulatedDevice&) = delete;

  template <class Body>
  void launch(const Body& body) {
    const Open open(*this);
    ++launches_;
    simulation_.launch(body);
    // A kernel that reported a failure leaves its output unwritten. Whoever queued the next ones does not know yet;
    // nobody will use what they make of it.
    if (failure_ != nullptr && *failure_ != 0) simulation_.define_everything();
  }
  uint32_t* failure() const { return failure_; }
  uint32_t take_failure() {
    uint32_t bits = 0;
    copy_to_host(&bits, failure_, sizeof bits);
    zero(failure_, sizeof bits);
    return bits;
  }

  /// Fresh memory each time, with a gap after it: what was released is not handed out again.
  void* allocate(size_t bytes, const char*) override {
    char* p = arena_ + used_;
    used_ += (bytes + kGap) / kGap * kGap + kGap;
    FAIRWAY_CHECK(used_ <= kArena);
    simulation_.memory(p, bytes, failed());
    sizes_[p] = (bytes + kGranularity) / kGranularity * kGranularity;
    live_bytes_ += sizes_[p];
    peak_bytes_ = std::max(peak_bytes_, live_bytes_);
    return p;
  }
  void release(void* p) override {
    simulation_.forget(p);
    live_bytes_ -= sizes_[p];
    sizes_.erase(p);
  }
  void copy_to_device(void* to, const void* from, size_t bytes) override {
    const Open open(*this);
    if (simulation_.host_access(to, bytes, true)) std::memcpy(to, from, bytes);
  }
  void copy_to_host(void* to, const void* from, size_t bytes) override {
    const Open open(*this);
    if (simulation_.host_access(from, bytes, false)) std::memcpy(to, from, bytes);
  }
  void copy(void* to, const void* from, size_t bytes) override {
    const Open open(*this);
    if (simulation_.host_access(from, bytes, false) && simulation_.host_access(to, bytes, true))
      std::memcpy(to, from, bytes);
  }
  void zero(void* p, size_t bytes) override {
    const Open open(*this);
    if (simulation_.host_access(p, bytes, true)) std::memset(p, 0, bytes);
  }

  size_t free_bytes() override { return capacity_bytes_ - live_bytes_; }
  void set_capacity(size_t bytes) { capacity_bytes_ = bytes; }

  /// Empty if nothing was found.
  const std::string& problem() const { return simulation_.problem(); }
  int64_t launches() const { return launches_; }
  size_t peak_bytes() const { return peak_bytes_; }

 private:
  bool failed() {
    if (failure_ == nullptr) return false;
    const Open open(*this);
    return *failure_ != 0;
  }

  static constexpr size_t kArena = size_t{1} << 32, kGap = 256, kGranularity = 512;

  /// The memory is open while this lives.
  class Open {
   public:
    explicit Open(SimulatedDevice& device) : device_(device) { device_.protect(PROT_READ | PROT_WRITE); }
    ~Open() { device_.protect(PROT_NONE); }

   private:
    SimulatedDevice& device_;
  };
  void protect(int mode) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    FAIRWAY_CHECK(mprotect(arena_, (used_ + page - 1) / page * page, mode) == 0);
  }

  Simulation simulation_;
  char* arena_ = nullptr;
  size_t used_ = 0, live_bytes_ = 0, peak_bytes_ = 0, capacity_bytes_ = kArena;
  std::map<void*, size_t> sizes_;
  int64_t launches_ = 0;
  uint32_t* failure_ = nullptr;
};

}  // namespace fairway::test
