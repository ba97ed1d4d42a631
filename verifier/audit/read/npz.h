/// Integer arrays of a NumPy .npz archive: the tables of bytes per token that some records ship beside their script.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace fairway::audit {

/// The one-dimensional integer array `name` ("base_bytes") of an archive written by numpy.savez or savez_compressed.
/// Nothing if the archive has no such member, or it is no such array, or has more than `max_values`. Only sizes and
/// names of the archive are believed, never paths.
std::optional<std::vector<int64_t>> read_npz_integers(std::string_view archive, std::string_view name,
                                                      size_t max_values);

}  // namespace fairway::audit
