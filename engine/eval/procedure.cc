#include "engine/eval/procedure.h"

#include <cstring>

#include "engine/eval/procedures/procedures.h"

namespace fairway::eval {

void Archive::bytes(void* data, size_t size) {
  if (size == 0) return;  // what is empty may have no address
  switch (mode_) {
    case Mode::kHash: sha_.update(data, size); break;
    case Mode::kSave: {
      const auto* p = static_cast<const std::byte*>(data);
      saved_.insert(saved_.end(), p, p + size);
      break;
    }
    case Mode::kLoad:
      FAIRWAY_CHECK(source_.size() >= size);
      std::memcpy(data, source_.data(), size);
      source_ = source_.subspan(size);
      break;
  }
}

void Archive::parameter(model::Parameter& p) {
  if (mode_ != Mode::kLoad) p.download();
  bytes(p.value(), p.values().size_bytes());
  if (mode_ != Mode::kLoad) return;
  p.upload();
  p.changed();
}

void Archive::mirrored(kernels::Mirrored<float>& x) {
  uint64_t size = x.size();
  value(size);
  FAIRWAY_CHECK(size == x.size());
  if (mode_ != Mode::kLoad) x.download();
  bytes(x.host().data(), x.host().size_bytes());
  if (mode_ == Mode::kLoad) x.upload();
}

Digest Procedure::state_digest() {
  Archive archive = Archive::hashing();
  archive_state(archive);
  return archive.digest();
}

std::vector<std::byte> Procedure::save_state() {
  Archive archive = Archive::saving();
  archive_state(archive);
  return archive.take();
}

std::vector<std::byte> Procedure::save_position() {
  Archive archive = Archive::saving();
  archive_position(archive);
  return archive.take();
}

void Procedure::restore(std::span<const std::byte> state, std::span<const std::byte> position) {
  Archive from_state = Archive::loading(state), from_position = Archive::loading(position);
  archive_state(from_state);
  archive_position(from_position);
}

Digest weights_digest(model::Gpt& model) {
  Sha256 sha;
  for (auto& p : model.parameters()) {
    sha.update(p->name().data(), p->name().size());
    const int64_t count = p->count();
    sha.update(&count, sizeof count);
    p->download();
    sha.update(p->value(), p->values().size_bytes());
  }
  return sha.finish();
}

namespace {

/// The dishonest procedure that goes by documents and claims, as its honest counterpart does, that they are independent.
bool leaks_across_documents(const EvalConfig& c) {
  return c.procedure == ProcedureKind::kDishonest && c.dishonest.trick == "state_leaks_across_documents";
}

}  // namespace

bool EvalConfig::whole_stream() const {
  return procedure == ProcedureKind::kLoraTtt || procedure == ProcedureKind::kPhasedTtt || leaks_across_documents(*this);
}

bool EvalConfig::queue_order() const {
  return (procedure == ProcedureKind::kPhasedTtt && phases.order == "length") || leaks_across_documents(*this);
}

const char* procedure_name(ProcedureKind kind) {
  switch (kind) {
    case ProcedureKind::kWindows: return "windows";
    case ProcedureKind::kDocuments: return "documents";
    case ProcedureKind::kDocuments212: return "documents_pr212";
    case ProcedureKind::kScoreFirstTtt: return "score_first_ttt";
    case ProcedureKind::kLoraTtt: return "lora_ttt";
    case ProcedureKind::kPhasedTtt: return "phased_ttt";
    case ProcedureKind::kNeuralCache: return "neural_cache";
    case ProcedureKind::kNgram: return "ngram";
    case ProcedureKind::kDishonest: return "dishonest";
  }
  return "";
}

Result<std::unique_ptr<Procedure>> make_procedure(const EvalConfig& config, model::Gpt& model, int64_t predictions,
                                                  const std::vector<int64_t>& document_starts) {
  switch (config.procedure) {
    case ProcedureKind::kWindows: return make_windows(config, model, predictions);
    case ProcedureKind::kDocuments:
    case ProcedureKind::kDocuments212: return make_documents(config, model, predictions, document_starts);
    case ProcedureKind::kScoreFirstTtt: return make_score_first(config, model, predictions);
    case ProcedureKind::kLoraTtt:
    case ProcedureKind::kPhasedTtt: return make_lora(config, model, predictions, document_starts);
    case ProcedureKind::kNeuralCache: return make_neural_cache(config, model, predictions);
    case ProcedureKind::kNgram: return make_ngram(config, model, predictions);
    case ProcedureKind::kDishonest: return make_dishonest(config, model, predictions, document_starts);
  }
  return Error{Errc::kInternal, "eval.procedure", "not one of the procedures"};
}

}  // namespace fairway::eval
