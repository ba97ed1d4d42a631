#include "engine/replay/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "engine/base/file.h"
#include "engine/quant/codec.h"
#include "engine/quant/export_rules.h"
#include "engine/quant/row_quantiser.h"
#include "engine/quant/safetensors.h"
#include "engine/quant/upstream/artifact.h"
#include "engine/replay/artifact.h"

namespace fairway::replay {
namespace {

// What a bank's slices are: the first `layers` of one kind, then, in the attention banks, as many of another.
struct Bank {
  const char* name;
  const char* first;
  const char* second;  ///< null: one kind only
};
constexpr Bank kBanks[] = {{"qo_bank", "attn.c_q", "attn.proj"},
                           {"kv_bank", "attn.c_k", "attn.c_v"},
                           {"mlp_up_bank", "mlp.fc", nullptr},
                           {"mlp_down_bank", "mlp.proj", nullptr}};

// Metadata and pickle of an upstream archive beside the tensors: more than ten times what the largest published one has.
constexpr uint64_t kArchiveOverheadBytes = 16 << 20;

Error at_tensor(const std::string& where, const std::string& name, std::string what) {
  return Error{Errc::kData, fmt::format("{} tensor {}", where, quant::printable_name(name)), std::move(what)};
}

// Which key of [model] decides a dimension of the parameters whose names hold both parts; the first that fits.
struct Deciding {
  const char* part;
  const char* also;
  size_t dimension;
  const char* key;
  int64_t model::ModelConfig::*value;
};
constexpr Deciding kDeciding[] = {{"bigram", ".embed.", 0, "bigram_buckets", &model::ModelConfig::bigram_buckets},
                                  {"bigram", ".table.", 0, "bigram_buckets", &model::ModelConfig::bigram_buckets},
                                  {"bigram", "", 1, "bigram_dim", &model::ModelConfig::bigram_dim},
                                  {"ve_shared", ".embed.", 0, "vocab_size", &model::ModelConfig::vocab_size},
                                  {"ve_shared", "", 0, "kv_heads", &model::ModelConfig::kv_heads},
                                  {"ve_shared", "", 1, "ve_dim", &model::ModelConfig::value_dim},
                                  {"tok_emb", "", 0, "vocab_size", &model::ModelConfig::vocab_size},
                                  {"lm_head", "", 0, "vocab_size", &model::ModelConfig::vocab_size},
                                  {"mtp_heads", "", 0, "vocab_size", &model::ModelConfig::vocab_size},
                                  {"lora_adapters.", "_A", 1, "loop_lora_rank", &model::ModelConfig::loop_lora_rank},
                                  {"lora_adapters.", "_B", 0, "loop_lora_rank", &model::ModelConfig::loop_lora_rank},
                                  {"lora_adapters.", ".k_B", 1, "kv_heads", &model::ModelConfig::kv_heads},
                                  {"lora_adapters.", ".v_B", 1, "kv_heads", &model::ModelConfig::kv_heads},
                                  {"logit_scale", "", 0, "vocab_size", &model::ModelConfig::vocab_size},
                                  {"skip_weights", "", 0, "layers", &model::ModelConfig::layers},
                                  {"kv_bank", "", 1, "kv_heads", &model::ModelConfig::kv_heads},
                                  {"mlp_up_bank", "", 1, "mlp_hidden", &model::ModelConfig::mlp_hidden},
                                  {"mlp_down_bank", "", 2, "mlp_hidden", &model::ModelConfig::mlp_hidden},
                                  {".mlp.", ".fc.", 0, "mlp_hidden", &model::ModelConfig::mlp_hidden},
                                  {".mlp.", ".up_scale", 0, "mlp_hidden", &model::ModelConfig::mlp_hidden},
                                  {".mlp.", ".proj.", 1, "mlp_hidden", &model::ModelConfig::mlp_hidden},
                                  {".c_k.", "", 0, "kv_heads", &model::ModelConfig::kv_heads},
                                  {".c_v.", "", 0, "kv_heads", &model::ModelConfig::kv_heads},
                                  {".q_gain", "", 0, "heads", &model::ModelConfig::heads},
                                  {".attn_gate.", "", 0, "heads", &model::ModelConfig::heads},
                                  {".A_log", "", 0, "delta_heads", &model::ModelConfig::delta_heads},
                                  {".dt_bias", "", 0, "delta_heads", &model::ModelConfig::delta_heads},
                                  {".a_proj.", "", 0, "delta_heads", &model::ModelConfig::delta_heads},
                                  {".b_proj.", "", 0, "delta_heads", &model::ModelConfig::delta_heads},
                                  {".o_norm.", "", 0, "delta_value_dim", &model::ModelConfig::delta_value_dim},
                                  {".v_proj.", "", 0, "delta_value_dim", &model::ModelConfig::delta_value_dim},
                                  {".g_proj.", "", 0, "delta_value_dim", &model::ModelConfig::delta_value_dim},
                                  {".v_conv1d.", "", 1, "delta_value_dim", &model::ModelConfig::delta_value_dim},
                                  {".o_proj.", "", 1, "delta_value_dim", &model::ModelConfig::delta_value_dim},
                                  {".q_proj.", "", 0, "delta_key_dim", &model::ModelConfig::delta_key_dim},
                                  {".k_proj.", "", 0, "delta_key_dim", &model::ModelConfig::delta_key_dim},
                                  {"_conv1d.", "", 1, "delta_key_dim", &model::ModelConfig::delta_key_dim}};

// That key with its value, as fairway.toml has it.
std::string deciding_key(const model::ModelConfig& c, const std::string& name, size_t dimension) {
  auto contains = [&](const char* part) { return name.find(part) != std::string::npos; };
  for (const Deciding& d : kDeciding) {
    if (d.dimension == dimension && contains(d.part) && contains(d.also)) return fmt::format("model.{} = {}", d.key, c.*d.value);
  }
  return fmt::format("model.width = {}", c.width);
}

Error wrong_shape(const std::string& where, const quant::NamedTensor& t, const std::vector<int64_t>& wanted, const model::ModelConfig& c) {
  const auto& found = t.spec.shape;
  std::string what = fmt::format("shape {} instead of {}", quant::shape_text(found), quant::shape_text(wanted));
  for (size_t d = 0; found.size() == wanted.size() && d < found.size(); ++d) {
    if (found[d] != wanted[d]) {
      what += fmt::format(": dimension {} is {}, but {}", d, found[d], deciding_key(c, t.spec.name, d));
      break;
    }
  }
  return at_tensor(where, t.spec.name, std::move(what));
}

/// Replaces banks by the matrices they stack: blocks.<i>.attn.c_q.weight ...
Result<std::vector<quant::NamedTensor>> unstack_banks(std::vector<quant::NamedTensor> tensors, model::Gpt& model, const std::string& where) {
  const int64_t layers = model.config().layers;
  std::vector<quant::NamedTensor> out;
  for (quant::NamedTensor& t : tensors) {
    const auto bank = std::find_if(std::begin(kBanks), std::end(kBanks), [&](const Bank& b) { return t.spec.name == b.name; });
    if (bank == std::end(kBanks)) {
      out.push_back(std::move(t));
      continue;
    }
    const int64_t slices = bank->second == nullptr ? layers : 2 * layers;
    if (t.spec.shape.size() != 3 || t.spec.shape[0] != slices) {
      return at_tensor(where, t.spec.name, fmt::format("shape {}, but model.layers = {} asks for {} stacked matrices",
                                                       quant::shape_text(t.spec.shape), layers, slices));
    }
    if (const model::Parameter* p = model.find(fmt::format("blocks.0.{}.weight", bank->first)); p != nullptr) {
      const std::vector<int64_t> wanted{slices, p->rows(), p->columns()};
      if (t.spec.shape != wanted) return wrong_shape(where, t, wanted, model.config());
    }
    const auto size = static_cast<int64_t>(t.values.size()) / slices;
    for (int64_t i = 0; i < slices; ++i) {
      const char* kind = i < layers ? bank->first : bank->second;
      out.push_back({{fmt::format("blocks.{}.{}.weight", i % layers, kind), {t.spec.shape[1], t.spec.shape[2]}, t.spec.format},
                     {t.values.begin() + i * size, t.values.begin() + (i + 1) * size}});
    }
  }
  return out;
}

}  // namespace

Status set_parameters(std::vector<quant::NamedTensor> stacked, const std::string& where, model::Gpt& model) {
  FAIRWAY_ASSIGN(auto tensors, unstack_banks(std::move(stacked), model, where));
  std::set<std::string> seen;
  for (const auto& t : tensors) {
    model::Parameter* p = model.find(t.spec.name);
    if (p == nullptr) return at_tensor(where, t.spec.name, "the model has no parameter of this name");
    if (p->shape() != t.spec.shape) return wrong_shape(where, t, p->shape(), model.config());
    if (const int64_t bad = quant::first_non_finite(t.values); bad >= 0) {
      return at_tensor(where, t.spec.name, fmt::format("element {} is not finite", bad));
    }
    if (!seen.insert(t.spec.name).second) return at_tensor(where, t.spec.name, "stands there twice");
  }
  for (const auto& p : model.parameters()) {
    if (!seen.contains(p->name()) && quant::is_exported(p->name())) {
      return Error{Errc::kData, where, fmt::format("the tensor {} is missing", p->name())};
    }
  }
  // All of the file fits, so from here on nothing can leave the model half replaced.
  for (const auto& t : tensors) {
    model::Parameter& p = *model.find(t.spec.name);
    const quant::FloatFormat format = parameter_spec(p).format;
    std::transform(t.values.begin(), t.values.end(), p.value(), [&](float x) { return quant::round_to_format(x, format); });
    p.changed();
  }
  return {};
}

Status import_weights(const std::string& path, model::Gpt& model) {
  FAIRWAY_ASSIGN(MappedFile file, MappedFile::open(path));
  FAIRWAY_ASSIGN(auto weights, quant::read_safetensors(file.bytes(), path));
  return set_parameters(std::move(weights.tensors), path, model);
}

Result<Digest> load_artifact(const std::string& path, const submission::Submission& s, model::Gpt& model) {
  const auto parameters = static_cast<uint64_t>(model.parameter_count());
  const uint64_t most = 4 * parameters + kArchiveOverheadBytes;
  FAIRWAY_ASSIGN(auto file, read_file(path, most));
  if (!quant::upstream::is_archive(file)) {
    auto container = decompress_artifact(file, path, s, model);
    if (container) {
      FAIRWAY_TRY(unpack(*container, s, path, model));
      return sha256(*container);
    }
    const auto codec = quant::detect_codec(file);
    if (!codec) return container.error();
    auto archive = quant::decompress_at_most(*codec, file, most, path);
    if (!archive && *codec != s.codec.codec) return archive.error();
    if (!archive || !quant::upstream::is_archive(*archive)) return container.error();
    file = std::move(*archive);
  }
  // Scales come on top of the parameters: one per row, so never as many again.
  FAIRWAY_ASSIGN(auto tensors, quant::upstream::read_artifact(file, 2 * parameters, path));
  FAIRWAY_TRY(set_parameters(std::move(tensors), path, model));
  return Digest{};
}

}  // namespace fairway::replay
