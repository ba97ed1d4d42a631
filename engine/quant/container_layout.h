/// What writer and reader of the container share: the sizes of its parts and what makes an entry or a value impossible.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/quant/container.h"
#include "kernels/num/float_bits.h"

namespace fairway::quant::layout {

inline constexpr char kMagic[8] = {'F', 'A', 'I', 'R', 'W', 'A', 'Y', 'Q'};
inline constexpr size_t kHeaderBytes = 16;
inline constexpr size_t kFixedEntryBytes = 6;  // name length, storage, limit, format, dimension count

/// Bytes of one tensor in each of the three sections of a container.
struct SectionBytes {
  uint64_t integers = 0;
  uint64_t scales = 0;
  uint64_t passthrough = 0;
  uint64_t total() const { return integers + scales + passthrough; }
};

/// These take entries without a fault.
uint64_t entry_elements(const ContainerEntry& entry);
bool has_extra(const ContainerEntry& entry);
uint64_t table_bytes(const ContainerEntry& entry);
SectionBytes section_bytes(const ContainerEntry& entry);
/// Whether binary16 numbers stand in the section of scales.
bool halves_are_scales(const ContainerEntry& entry);
/// Binary16 numbers of one tensor: scales, codebook, factors or values.
size_t half_count(const ContainerEntry& entry);

/// The reason why an entry cannot stand in a container; empty if it can.
std::string entry_fault(const ContainerEntry& entry);

inline bool finite_half(uint16_t bits) { return (bits & 0x7c00u) != 0x7c00u; }
inline bool valid_scale(uint16_t bits) { return finite_half(bits) && (bits & 0x8000u) == 0; }
inline bool within_limit(int8_t q, uint8_t limit) { return q >= -int{limit} && q <= int{limit}; }
inline bool finite(float x) { return num::magnitude_bits(x) < num::kInfinityBits; }

/// Faults found in a loop over elements: index of the first bad one, or the count.
template <class T, class Good>
size_t first_bad(const std::vector<T>& values, Good good) {
  return static_cast<size_t>(std::find_if_not(values.begin(), values.end(), good) - values.begin());
}

}  // namespace fairway::quant::layout
