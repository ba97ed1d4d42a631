#include "engine/quant/upstream/torch_archive.h"

#include <fmt/format.h>
#include <zip.h>

#include <cstring>
#include <memory>

#include "engine/quant/tensor.h"

namespace fairway::quant::upstream {
namespace {

constexpr zip_int64_t kMaxMembers = 4096;

using Zip = std::unique_ptr<zip_t, void (*)(zip_t*)>;

Error unusable(const std::string& where, std::string what) { return Error{Errc::kData, where, std::move(what)}; }

std::string text_of(zip_error_t* error) {
  std::string text = zip_error_strerror(error);
  zip_error_fini(error);
  return text;
}

Result<Zip> open_zip(std::span<const std::byte> bytes, const std::string& where) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source = zip_source_buffer_create(bytes.data(), bytes.size(), 0, &error);
  if (source == nullptr) return Error{Errc::kInternal, where, text_of(&error)};
  zip_t* archive = zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error);
  if (archive == nullptr) {
    zip_source_free(source);
    return unusable(where, fmt::format("not a usable zip archive ({})", text_of(&error)));
  }
  zip_error_fini(&error);
  return Zip(archive, zip_discard);
}

Result<std::vector<std::byte>> read_member(zip_t* archive, zip_uint64_t index, uint64_t size,
                                           const std::string& where) {
  std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(zip_fopen_index(archive, index, 0), zip_fclose);
  if (file == nullptr) return unusable(where, fmt::format("cannot be read ({})", zip_strerror(archive)));
  std::vector<std::byte> bytes(size + 1);
  size_t read = 0;
  while (read < bytes.size()) {
    // The checksum is compared when the end is reached, so the end is asked for.
    const zip_int64_t got = zip_fread(file.get(), bytes.data() + read, bytes.size() - read);
    if (got < 0) return unusable(where, fmt::format("damaged ({})", zip_file_strerror(file.get())));
    if (got == 0) break;
    read += static_cast<size_t>(got);
  }
  if (read != size) return unusable(where, fmt::format("holds other than the {} bytes the directory says", size));
  bytes.resize(size);
  return bytes;
}

}  // namespace

Result<TorchArchive> TorchArchive::open(std::span<const std::byte> bytes, const std::string& where) {
  FAIRWAY_ASSIGN(Zip archive, open_zip(bytes, where));
  const zip_int64_t count = zip_get_num_entries(archive.get(), 0);
  if (count < 1 || count > kMaxMembers)
    return unusable(where, fmt::format("{} members; 1 to {} are possible", count, kMaxMembers));
  TorchArchive result;
  result.where_ = where;
  std::string root;  // torch.save puts everything into one folder
  std::vector<std::byte> program;
  bool has_program = false;
  uint64_t total = 0;
  for (zip_int64_t i = 0; i < count; ++i) {
    zip_stat_t stat;
    constexpr zip_uint64_t kNeeded =
        ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if (zip_stat_index(archive.get(), static_cast<zip_uint64_t>(i), 0, &stat) != 0 ||
        (stat.valid & kNeeded) != kNeeded) {
      return unusable(where, fmt::format("member {} has no usable directory entry", i));
    }
    const std::string name = stat.name;
    const std::string member = fmt::format("{} member {}", where, printable_name(name));
    if (stat.comp_method != ZIP_CM_STORE || stat.encryption_method != ZIP_EM_NONE || stat.size != stat.comp_size) {
      return unusable(member, "compressed or encrypted; torch.save stores members as they are");
    }
    // Members that overlap could add up to more than the file: each byte is counted once.
    if (stat.size > bytes.size() - total) return unusable(member, "the members are larger than the archive");
    total += stat.size;
    const size_t slash = name.find('/');
    const std::string folder = slash == std::string::npos ? "" : name.substr(0, slash);
    if (i == 0) root = folder;
    if (folder.empty() || folder != root) return unusable(member, "outside the archive's folder");
    const std::string inside = name.substr(slash + 1);
    if (inside == "data.pkl") {
      if (has_program) return unusable(member, "stands there twice");
      has_program = true;
      if (stat.size > kMaxPickleBytes) return unusable(member, fmt::format("more than {} bytes", kMaxPickleBytes));
      FAIRWAY_ASSIGN(program, read_member(archive.get(), static_cast<zip_uint64_t>(i), stat.size, member));
    } else if (inside == "byteorder") {
      FAIRWAY_ASSIGN(auto order, read_member(archive.get(), static_cast<zip_uint64_t>(i), stat.size, member));
      if (std::string_view(reinterpret_cast<const char*>(order.data()), order.size()) != "little") {
        return unusable(member, "not little; save the archive on a little-endian machine");
      }
    } else if (inside.starts_with("data/")) {
      FAIRWAY_ASSIGN(auto storage, read_member(archive.get(), static_cast<zip_uint64_t>(i), stat.size, member));
      if (!result.storages_.emplace(inside.substr(5), std::move(storage)).second)
        return unusable(member, "stands there twice");
    }
  }
  if (!has_program) return unusable(where, "no data.pkl in it; not an archive of torch.save");
  FAIRWAY_ASSIGN(result.pickle_,
                 read_pickle(program, fmt::format("{} member {}/data.pkl", where, printable_name(root))));
  return result;
}

Result<std::vector<std::byte>> TorchArchive::elements(const TensorRef& tensor) const {
  const StorageRef& from = tensor.storage;
  const std::string member = fmt::format("{} member data/{}", where_, printable_name(from.key));
  const auto found = storages_.find(from.key);
  if (found == storages_.end()) return unusable(member, "missing; the archive is incomplete");
  const std::vector<std::byte>& storage = found->second;
  const uint64_t size = dtype_size_bytes(from.dtype);
  if (storage.size() % size != 0 || storage.size() / size != from.count) {
    return unusable(member, fmt::format("{} bytes instead of {} elements of {}", storage.size(), from.count,
                                        dtype_name(from.dtype)));
  }
  const std::optional<uint64_t> count = element_count(tensor.shape);
  if (!count || *count > from.count || tensor.offset > from.count) {
    return unusable(member, fmt::format("a tensor of shape {} at {} does not fit {} elements", shape_text(tensor.shape),
                                        tensor.offset, from.count));
  }
  uint64_t last = tensor.offset;  // the furthest element; below 2^63, since every step is checked
  for (size_t d = 0; *count > 0 && d < tensor.shape.size(); ++d) {
    const auto steps = static_cast<uint64_t>(tensor.shape[d] - 1);
    uint64_t reach = 0;
    if ((steps > 0 && tensor.stride[d] == 0) ||
        __builtin_mul_overflow(steps, static_cast<uint64_t>(tensor.stride[d]), &reach) || reach >= from.count ||
        (last += reach) >= from.count) {
      return unusable(member, fmt::format("a tensor of shape {} and stride {} leaves its {} elements or repeats them",
                                          shape_text(tensor.shape), shape_text(tensor.stride), from.count));
    }
  }
  if (*count > 0 && last >= from.count) return unusable(member, "a tensor begins behind its last element");
  std::vector<std::byte> out(*count * size);
  std::vector<int64_t> index(tensor.shape.size());
  uint64_t at = tensor.offset;
  for (uint64_t i = 0; i < *count; ++i) {
    std::memcpy(out.data() + i * size, storage.data() + at * size, size);
    // The next index, last dimension fastest.
    for (size_t d = index.size(); d-- > 0;) {
      at += static_cast<uint64_t>(tensor.stride[d]);
      if (++index[d] < tensor.shape[d]) break;
      at -= static_cast<uint64_t>(tensor.stride[d]) * static_cast<uint64_t>(tensor.shape[d]);
      index[d] = 0;
    }
  }
  return out;
}

}  // namespace fairway::quant::upstream
