#include "engine/replay/artifact.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/file.h"
#include "engine/quant/container.h"
#include "engine/quant/safetensors.h"
#include "kernels/rows.h"

namespace fairway::replay {
namespace {

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

/// Integer sums over all tensors that are stored in one way.
struct ErrorSums {
  int64_t tensors = 0;
  kernels::SumOfSquares lost, all;
};

void add_error(std::span<const float> values, const quant::PackedTensor& packed, std::map<std::string, ErrorSums>& sums) {
  const quant::NamedTensor restored = quant::restore_tensor(packed);
  std::vector<float> lost(values.size());
  std::transform(values.begin(), values.end(), restored.values.begin(), lost.begin(), [](float x, float y) { return x - y; });
  ErrorSums& e = sums[quant::storage_name(packed.entry.storage)];
  e.tensors += 1;
  FAIRWAY_CHECK(e.lost.add(lost) && e.all.add(values));
}

}  // namespace

quant::TensorSpec parameter_spec(const model::Parameter& p) {
  return {p.name(), p.shape(), p.bf16() ? quant::FloatFormat::kBf16 : quant::FloatFormat::kF32};
}

std::string artifact_file_name(const quant::CodecSetting& codec) {
  switch (codec.codec) {
    case quant::Codec::kZlib: return "model.zlib";
    case quant::Codec::kZstd: return "model.zst";
    case quant::Codec::kXz: return "model.xz";
  }
  FAIRWAY_CHECK(false);
}

Result<std::vector<quant::ContainerEntry>> planned_entries(const model::Gpt& model, const submission::Submission& s) {
  std::vector<quant::TensorSpec> specs;
  for (const model::Parameter* p : exported(model)) specs.push_back(parameter_spec(*p));
  return quant::plan_export(specs, s.scheme);
}

Result<Packed> pack(const model::Gpt& model, const submission::Submission& s,
                    const std::map<std::string, quant::Hessian>& hessians) {
  FAIRWAY_CHECK(!s.scheme.gptq || !hessians.empty());
  std::vector<quant::TensorView> views;
  for (const model::Parameter* p : exported(model)) views.push_back({parameter_spec(*p), p->values()});
  FAIRWAY_ASSIGN(auto tensors, quant::export_tensors(views, s.scheme, hessians));
  Packed packed;
  std::map<std::string, ErrorSums> sums;
  for (size_t i = 0; i < tensors.size(); ++i) add_error(views[i].values, tensors[i], sums);
  for (const auto& [storage, e] : sums) packed.errors[storage] = {e.tensors, e.lost.total(), e.all.total()};
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
  for (const auto& p : model.parameters()) {
    if (quant::is_exported(p->name())) continue;
    std::fill_n(p->value(), p->count(), 0.0f);
    p->changed();
  }
  return {};
}

Result<std::vector<std::byte>> decompress_artifact(std::span<const std::byte> compressed, const std::string& where,
                                                   const submission::Submission& s, const model::Gpt& model) {
  FAIRWAY_ASSIGN(auto entries, planned_entries(model, s));
  return quant::decompress(s.codec.codec, compressed, quant::container_size_bytes(entries), where);
}

Result<std::vector<std::byte>> read_artifact(const std::string& path, const submission::Submission& s, const model::Gpt& model) {
  FAIRWAY_ASSIGN(auto entries, planned_entries(model, s));
  const uint64_t exact = quant::container_size_bytes(entries);
  // No codec here makes its input longer than this.
  FAIRWAY_ASSIGN(auto compressed, read_file(path, exact + exact / 64 + 65536));
  return decompress_artifact(compressed, path, s, model);
}

Result<std::vector<std::byte>> export_weights(const model::Gpt& model, const submission::Submission& s) {
  std::vector<quant::TensorView> views;
  for (const auto& p : model.parameters()) views.push_back({parameter_spec(*p), std::as_const(*p).values()});
  return quant::write_safetensors(views, {{"format", "pt"}, {"submission", s.name}, {"config_sha256", hex(s.config_sha256)}});
}

}  // namespace fairway::replay
