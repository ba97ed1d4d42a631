#include "kernels/cpu/isa.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "kernels/buffer.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/isa/tile_scratch.h"

namespace fairway::kernels {

std::string isa_name(Isa isa) { return isa == Isa::kPortable ? "portable" : isa == Isa::kAvx2 ? "avx2" : "avx512"; }

bool isa_available(Isa isa) {
  if (isa == Isa::kPortable) return true;
#if defined(__x86_64__)
  __builtin_cpu_init();
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (isa == Isa::kAvx2) return avx2;
  return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

namespace {

const Table* table_of(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return &avx512::kTable;
  if (isa == Isa::kAvx2) return &avx2::kTable;
#endif
  (void)isa;
  return &portable::kTable;
}

Isa choose() {
  const char* asked = std::getenv("FAIRWAY_ISA");
  if (asked == nullptr || *asked == '\0') {
    return isa_available(Isa::kAvx512) ? Isa::kAvx512 : isa_available(Isa::kAvx2) ? Isa::kAvx2 : Isa::kPortable;
  }
  for (Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (isa_name(isa) != asked) continue;
    if (isa_available(isa)) return isa;
    std::fprintf(stderr, "fairway: FAIRWAY_ISA=%s: this CPU lacks it; unset it or choose portable\n", asked);
    std::exit(69);
  }
  std::fprintf(stderr, "fairway: FAIRWAY_ISA=%s is not one of portable, avx2, avx512\n", asked);
  std::exit(64);
}

struct Active {
  std::atomic<Isa> isa;
  std::atomic<const Table*> table;
  Active() : isa(choose()), table(table_of(isa)) {}
};
Active& active() {
  static Active instance;
  return instance;
}

}  // namespace

Isa active_isa() { return active().isa; }

bool set_isa(Isa isa) {
  if (!isa_available(isa)) return false;
  active().isa = isa;
  active().table = table_of(isa);
  return true;
}

const Table& table() { return *active().table.load(std::memory_order_relaxed); }

void* scratch(ScratchSlot slot, size_t bytes) {
  thread_local Buffer<char> buffers[static_cast<int>(ScratchSlot::kCount)];
  Buffer<char>& buffer = buffers[static_cast<int>(slot)];
  if (buffer.size() < bytes) buffer.resize(bytes);
  return buffer.data();
}

}  // namespace fairway::kernels
