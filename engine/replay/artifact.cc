#include "engine/replay/artifact.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "engine/base/file.h"
#include "engine/quant/container.h"
#include "engine/quant/safetensors.h"

namespace fairway::replay {
namespace {

quant::TensorSpec spec_of(const model::Parameter& p) {
  return {p.name(), p.shape(), p.bf16() ? quant::FloatFormat::kBf16 : quant::FloatFormat::kF32};
}

// The parameters an artifact holds, in their order.
std::vector<const model::Parameter*> exported(const model::Gpt& model) {
  std::vector<const model::Parameter*> list;
  for (const auto& p : model.parameters()) {
    if (quant::is_exported(p->name())) list.push_back(p.get());
  }
  return list;
}

Status set_values(model::Parameter& p, std::span<const float> values) {
  FAIRWAY_CHECK(values.size() == p.values().size());
  std::copy(values.begin(), values.end(), p.value());
  p.changed();
  return {};
}

}  // namespace

std::string artifact_file_name(const quant::CodecSetting& codec) {
  return codec.codec == quant::Codec::kZlib ? "model.zlib" : "model.zst";
}

Result<std::vector<quant::ContainerEntry>> planned_entries(const model::Gpt& model, const submission::Submission& s) {
  std::vector<quant::TensorSpec> specs;
  for (const model::Parameter* p : exported(model)) specs.push_back(spec_of(*p));
  return quant::plan_export(specs, s.scheme);
}

Result<Packed> pack(const model::Gpt& model, const submission::Submission& s,
                    const std::map<std::string, quant::Hessian>& hessians) {
  FAIRWAY_CHECK(!s.scheme.gptq || !hessians.empty());
  std::vector<quant::TensorView> views;
  for (const model::Parameter* p : exported(model)) views.push_back({spec_of(*p), p->values()});
  FAIRWAY_ASSIGN(auto tensors, quant::export_tensors(views, s.scheme, hessians));
  Packed packed;
  FAIRWAY_ASSIGN(packed.container, quant::write_container(tensors));
  packed.container_sha256 = sha256(packed.container);
  FAIRWAY_ASSIGN(packed.compressed, quant::compress(s.codec, packed.container));
  FAIRWAY_ASSIGN(auto entries, planned_entries(model, s));
  packed.payload_bytes = quant::payload_size_bytes(entries);
  packed.float32_bytes = static_cast<uint64_t>(model.parameter_count()) * sizeof(float);
  return packed;
}

Status unpack(std::span<const std::byte> container, const submission::Submission& s, const std::string& where, model::Gpt& model) {
  FAIRWAY_ASSIGN(auto entries, planned_entries(model, s));
  FAIRWAY_ASSIGN(auto tensors, quant::read_container(container, entries, where));
  for (const quant::NamedTensor& t : tensors) FAIRWAY_TRY(set_values(*model.find(t.spec.name), t.values));
  return {};
}

Result<std::vector<std::byte>> read_artifact(const std::string& path, const submission::Submission& s, const model::Gpt& model) {
  FAIRWAY_ASSIGN(auto entries, planned_entries(model, s));
  const uint64_t exact = quant::container_size_bytes(entries);
  // No codec here makes its input longer than this.
  FAIRWAY_ASSIGN(auto compressed, read_file(path, exact + exact / 64 + 65536));
  return quant::decompress(s.codec.codec, compressed, exact, path);
}

Result<std::vector<std::byte>> export_weights(const model::Gpt& model, const submission::Submission& s) {
  std::vector<quant::TensorView> views;
  for (const auto& p : model.parameters()) views.push_back({spec_of(*p), std::as_const(*p).values()});
  return quant::write_safetensors(views, {{"format", "pt"}, {"submission", s.name}, {"config_sha256", hex(s.config_sha256)}});
}

Status import_weights(const std::string& path, model::Gpt& model) {
  FAIRWAY_ASSIGN(MappedFile file, MappedFile::open(path));
  FAIRWAY_ASSIGN(auto weights, quant::read_safetensors(file.bytes(), path));
  std::set<std::string> seen;
  for (const auto& t : weights.tensors) {
    model::Parameter* p = model.find(t.spec.name);
    const std::string where = fmt::format("{} tensor {}", path, quant::printable_name(t.spec.name));
    if (p == nullptr) return Error{Errc::kData, where, "the model has no parameter of this name"};
    if (p->shape() != t.spec.shape) {
      return Error{Errc::kData, where, fmt::format("shape {} instead of {}", quant::shape_text(t.spec.shape), quant::shape_text(p->shape()))};
    }
    seen.insert(t.spec.name);
  }
  for (const auto& p : model.parameters()) {
    if (!seen.contains(p->name())) return Error{Errc::kData, path, fmt::format("the tensor {} is missing", p->name())};
  }
  // All of the file fits, so from here on nothing can leave the model half replaced.
  for (const auto& t : weights.tensors) FAIRWAY_TRY(set_values(*model.find(t.spec.name), t.values));
  return {};
}

}  // namespace fairway::replay
