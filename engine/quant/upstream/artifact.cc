#include "engine/quant/upstream/artifact.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "engine/base/endian.h"
#include "engine/quant/row_quantiser.h"
#include "engine/quant/upstream/torch_archive.h"
#include "kernels/num/half.h"

namespace fairway::quant::upstream {
namespace {

using Entries = std::map<std::string, Ref>;

class Reader {
 public:
  Reader(const TorchArchive& archive, uint64_t max_elements, const std::string& where)
      : archive_(archive), pickle_(archive.pickle()), left_(max_elements), where_(where) {}

  Result<std::vector<NamedTensor>> read() {
    FAIRWAY_ASSIGN(Entries top, entries(pickle_.top, "the archive"));
    if (top.contains("__quant_format__")) return read_per_row(top);
    if (top.size() == 2 && top.contains("w") && top.contains("m")) return read_by_category(top);
    return read_plain(top);
  }

 private:
  Error fault(const std::string& key, std::string what) const {
    return Error{Errc::kData, fmt::format("{} key {}", where_, printable_name(key)), std::move(what)};
  }

  // A dict whose keys are strings, none twice.
  Result<Entries> entries(Ref ref, const std::string& key) const {
    const Dict* dict = pickle_.get<Dict>(ref);
    if (dict == nullptr) return fault(key, "not a dict; an artifact is a dict of tensors or of dicts of them");
    Entries out;
    for (const auto& [name, value] : dict->items) {
      const std::string* text = pickle_.get<std::string>(name);
      if (text == nullptr) return fault(key, "a dict with a key that is no string");
      if (!out.emplace(*text, value).second) return fault(*text, "stands there twice");
    }
    return out;
  }

  Result<Entries> section(const Entries& top, const std::string& key, bool required) const {
    const auto found = top.find(key);
    if (found != top.end()) return entries(found->second, key);
    return required ? Result<Entries>(fault(key, "missing")) : Result<Entries>(Entries());
  }

  Result<const TensorRef*> tensor(Ref ref, const std::string& name) const {
    const TensorRef* found = pickle_.get<TensorRef>(ref);
    if (found == nullptr) return fault(name, "not a tensor");
    return found;
  }

  Result<const TensorRef*> tensor(const Entries& section, const std::string& name, const char* key) const {
    const auto found = section.find(name);
    if (found == section.end()) return fault(name, fmt::format("missing in {}", key));
    return tensor(found->second, name);
  }

  static std::optional<FloatFormat> format_of(const std::string& dtype) {
    if (dtype == "float32") return FloatFormat::kF32;
    if (dtype == "bfloat16") return FloatFormat::kBf16;
    if (dtype == "float16") return FloatFormat::kF16;
    return std::nullopt;
  }

  // The dtype a section names for a tensor; nothing if it names none.
  Result<std::optional<FloatFormat>> named_format(const Entries& section, const std::string& name,
                                                  const char* key) const {
    const auto found = section.find(name);
    if (found == section.end()) return std::optional<FloatFormat>();
    const std::string* dtype = pickle_.get<std::string>(found->second);
    const std::optional<FloatFormat> format = dtype == nullptr ? std::nullopt : format_of(*dtype);
    if (!format) {
      return fault(name, fmt::format("{} names the dtype {}; a parameter is float32, bfloat16 or float16", key,
                                     dtype == nullptr ? "(no string)" : printable_name(*dtype)));
    }
    return format;
  }

  // Budget for values in memory: tensors may share storages, so the file's size does not bound them.
  Status spend(const TensorRef& t, const std::string& name) {
    const std::optional<uint64_t> count = element_count(t.shape);
    if (!count || *count > left_) {
      return fault(name, fmt::format("shape {} brings the artifact to more elements than the model of this config has",
                                     shape_text(t.shape)));
    }
    left_ -= *count;
    return {};
  }

  Result<NamedTensor> floats(const TensorRef& t, const std::string& name) {
    const std::optional<FloatFormat> format = format_of(dtype_name(t.storage.dtype));
    if (!format)
      return fault(name,
                   fmt::format("dtype {}; a parameter is float32, bfloat16 or float16", dtype_name(t.storage.dtype)));
    FAIRWAY_TRY(spend(t, name));
    FAIRWAY_ASSIGN(auto raw, archive_.elements(t));
    NamedTensor out{{name, t.shape, *format}, std::vector<float>(raw.size() / float_format_size_bytes(*format))};
    for (size_t i = 0; i < out.values.size(); ++i) {
      out.values[i] = *format == FloatFormat::kF32    ? load_le_f32(raw.data() + 4 * i)
                      : *format == FloatFormat::kBf16 ? num::from_bf16_bits(load_le16(raw.data() + 2 * i))
                                                      : num::from_fp16_bits(load_le16(raw.data() + 2 * i));
    }
    return out;
  }

  // Integers times the scale of their row, or of the tensor.
  Result<NamedTensor> restored(const TensorRef& integers, const TensorRef& scales, const std::string& name,
                               FloatFormat format) {
    if (integers.storage.dtype != Dtype::kInt8)
      return fault(name, fmt::format("integers of dtype {} instead of int8", dtype_name(integers.storage.dtype)));
    FAIRWAY_TRY(spend(integers, name));
    FAIRWAY_ASSIGN(NamedTensor s, floats(scales, name));
    const bool per_row = !scales.shape.empty();
    if (per_row && (scales.shape.size() != 1 || integers.shape.empty() || scales.shape[0] != integers.shape[0])) {
      return fault(name, fmt::format("scales of shape {} for integers of shape {}", shape_text(scales.shape),
                                     shape_text(integers.shape)));
    }
    FAIRWAY_ASSIGN(auto raw, archive_.elements(integers));
    NamedTensor out{{name, integers.shape, format}, std::vector<float>(raw.size())};
    const size_t columns = per_row && !s.values.empty() ? raw.size() / s.values.size() : raw.size();
    for (size_t i = 0; i < raw.size(); ++i) {
      out.values[i] = static_cast<float>(static_cast<int8_t>(raw[i])) * s.values[per_row ? i / columns : 0];
    }
    return out;
  }

  // Rounds to the tensor's format, refuses what is not finite, and keeps it.
  Status keep(NamedTensor t) {
    for (float& x : t.values) x = round_to_format(x, t.spec.format);
    if (int64_t bad = first_non_finite(t.values); bad >= 0)
      return fault(t.spec.name, fmt::format("element {} is not finite", bad));
    out_.push_back(std::move(t));
    return {};
  }

  Result<std::vector<NamedTensor>> read_per_row(const Entries& top) {
    static const std::set<std::string> known = {
        "__quant_format__", "quantized", "scales", "dtypes", "passthrough", "qmeta", "passthrough_orig_dtypes"};
    for (const auto& [key, ref] : top) {
      if (!known.contains(key)) return fault(key, "unknown in the format int8_clean_per_row_v1");
    }
    const std::string* tag = pickle_.get<std::string>(top.at("__quant_format__"));
    if (tag == nullptr || *tag != "int8_clean_per_row_v1")
      return fault("__quant_format__", "names another format than int8_clean_per_row_v1");
    FAIRWAY_ASSIGN(Entries quantized, section(top, "quantized", true));
    FAIRWAY_ASSIGN(Entries scales, section(top, "scales", true));
    FAIRWAY_ASSIGN(Entries dtypes, section(top, "dtypes", true));
    FAIRWAY_ASSIGN(Entries passthrough, section(top, "passthrough", true));
    FAIRWAY_ASSIGN(Entries original, section(top, "passthrough_orig_dtypes", false));
    for (const auto& [name, ref] : quantized) {
      if (passthrough.contains(name)) return fault(name, "stands in quantized and in passthrough");
      FAIRWAY_ASSIGN(const TensorRef* integers, tensor(ref, name));
      FAIRWAY_ASSIGN(const TensorRef* scale, tensor(scales, name, "scales"));
      FAIRWAY_ASSIGN(auto format, named_format(dtypes, name, "dtypes"));
      if (!format) return fault(name, "missing in dtypes");
      FAIRWAY_ASSIGN(NamedTensor t, restored(*integers, *scale, name, *format));
      FAIRWAY_TRY(keep(std::move(t)));
    }
    for (const auto& [name, ref] : passthrough) {
      FAIRWAY_ASSIGN(const TensorRef* stored, tensor(ref, name));
      FAIRWAY_ASSIGN(NamedTensor t, floats(*stored, name));
      FAIRWAY_ASSIGN(auto format, named_format(original, name, "passthrough_orig_dtypes"));
      if (format) t.spec.format = *format;
      FAIRWAY_TRY(keep(std::move(t)));
    }
    return std::move(out_);
  }

  Result<std::vector<NamedTensor>> read_by_category(const Entries& top) {
    FAIRWAY_ASSIGN(Entries weights, section(top, "w", true));
    FAIRWAY_ASSIGN(Entries kinds, section(top, "m", true));
    size_t used = 0;
    for (const auto& [name, ref] : kinds) {
      if (const std::string* kind = pickle_.get<std::string>(ref)) {
        if (!kind->starts_with("passthrough"))
          return fault(name, fmt::format("unknown kind {}", printable_name(*kind)));
        FAIRWAY_ASSIGN(const TensorRef* stored, tensor(weights, name, "w"));
        FAIRWAY_ASSIGN(NamedTensor t, floats(*stored, name));
        // The artifact does not say what it was; the model's parameter does, and it is never narrower than binary16
        // here.
        FAIRWAY_TRY(keep(std::move(t)));
        used += 1;
        continue;
      }
      FAIRWAY_ASSIGN(Entries kind, entries(ref, name));
      const std::string* type = kind.contains("type") ? pickle_.get<std::string>(kind.at("type")) : nullptr;
      if (kind.size() != 1 || type == nullptr || (*type != "int6" && *type != "int8"))
        return fault(name, "a kind other than int6 or int8");
      FAIRWAY_ASSIGN(const TensorRef* integers, tensor(weights, name + ".q", "w"));
      FAIRWAY_ASSIGN(const TensorRef* scale, tensor(weights, name + ".scale", "w"));
      FAIRWAY_ASSIGN(NamedTensor t, restored(*integers, *scale, name, FloatFormat::kF32));
      FAIRWAY_TRY(keep(std::move(t)));
      used += 2;
    }
    if (used != weights.size()) return fault("w", fmt::format("{} tensors, but m describes {}", weights.size(), used));
    return std::move(out_);
  }

  Result<std::vector<NamedTensor>> read_plain(const Entries& top) {
    for (const auto& [name, ref] : top) {
      FAIRWAY_ASSIGN(const TensorRef* stored, tensor(ref, name));
      FAIRWAY_ASSIGN(NamedTensor t, floats(*stored, name));
      FAIRWAY_TRY(keep(std::move(t)));
    }
    return std::move(out_);
  }

  const TorchArchive& archive_;
  const Pickle& pickle_;
  uint64_t left_;
  const std::string& where_;
  std::vector<NamedTensor> out_;
};

}  // namespace

bool is_archive(std::span<const std::byte> bytes) { return bytes.size() >= 4 && load_le32(bytes.data()) == 0x04034b50; }

Result<std::vector<NamedTensor>> read_artifact(std::span<const std::byte> bytes, uint64_t max_elements,
                                               const std::string& where) {
  FAIRWAY_ASSIGN(TorchArchive archive, TorchArchive::open(bytes, where));
  return Reader(archive, max_elements, where).read();
}

}  // namespace fairway::quant::upstream
