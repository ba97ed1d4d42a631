#include "engine/data/tokenizer.h"

#include <fmt/format.h>
#include <sentencepiece_processor.h>

#include <exception>

#include "engine/base/check.h"
#include "engine/base/file.h"
#include "engine/data/shard.h"

namespace fairway::data {

struct Tokenizer::State {
  sentencepiece::SentencePieceProcessor processor;
  std::string path;
  Digest digest{};
  int32_t vocab_size = 0;
  uint16_t bos_id = 0;
};

namespace {

// Ten times the largest published vocabulary's file.
constexpr uint64_t kMaxModelBytes = uint64_t{64} << 20;

Error bad_model(const std::string& path, std::string what) { return Error{Errc::kData, path, std::move(what)}; }

// The library reports through its own status and, where it runs out of memory or meets a broken table, by exceptions.
template <class Call>
Status guarded(const std::string& path, std::string_view action, Call call) {
  try {
    const sentencepiece::util::Status status = call();
    if (status.ok()) return {};
    return bad_model(path, fmt::format("cannot {} ({})", action, status.ToString()));
  } catch (const std::exception& error) {
    return bad_model(path, fmt::format("cannot {} ({})", action, error.what()));
  }
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::load(const std::string& path) {
  FAIRWAY_ASSIGN(const std::vector<std::byte> bytes, read_file(path, kMaxModelBytes));
  auto state = std::make_unique<State>();
  state->path = path;
  state->digest = sha256(bytes);
  sentencepiece::SentencePieceProcessor& processor = state->processor;
  const absl::string_view model(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  FAIRWAY_TRY(
      guarded(path, "read this as a SentencePiece model", [&] { return processor.LoadFromSerializedProto(model); }));
  state->vocab_size = processor.GetPieceSize();
  if (state->vocab_size <= 0 || state->vocab_size > kMaxVocabSize) {
    return bad_model(path, fmt::format("has {} pieces; 1 to {} are supported", state->vocab_size, kMaxVocabSize));
  }
  const int bos_id = processor.bos_id();
  if (bos_id < 0 || bos_id >= state->vocab_size) {
    return bad_model(path, "has no BOS piece, with which every document starts");
  }
  state->bos_id = static_cast<uint16_t>(bos_id);
  return Tokenizer(std::move(state));
}

int32_t Tokenizer::vocab_size() const { return state_->vocab_size; }
uint16_t Tokenizer::bos_id() const { return state_->bos_id; }
const Digest& Tokenizer::digest() const { return state_->digest; }

Result<std::vector<uint16_t>> Tokenizer::encode(std::string_view text) const {
  std::vector<int> ids;
  FAIRWAY_TRY(guarded(state_->path, "encode a document with this model",
                      [&] { return state_->processor.Encode(absl::string_view(text.data(), text.size()), &ids); }));
  std::vector<uint16_t> tokens(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    FAIRWAY_CHECK(ids[i] >= 0 && ids[i] < state_->vocab_size);
    tokens[i] = static_cast<uint16_t>(ids[i]);
  }
  return tokens;
}

Result<std::string> Tokenizer::decode(std::span<const uint16_t> ids) const {
  const std::vector<int> wide(ids.begin(), ids.end());
  for (const int id : wide) FAIRWAY_CHECK(id < state_->vocab_size);
  std::string text;
  FAIRWAY_TRY(guarded(state_->path, "decode with this model", [&] { return state_->processor.Decode(wide, &text); }));
  return text;
}

std::string_view Tokenizer::piece(int32_t id) const {
  FAIRWAY_CHECK(id >= 0 && id < state_->vocab_size);
  return state_->processor.IdToPiece(id);
}

Tokenizer::PieceType Tokenizer::piece_type(int32_t id) const {
  FAIRWAY_CHECK(id >= 0 && id < state_->vocab_size);
  const sentencepiece::SentencePieceProcessor& processor = state_->processor;
  if (processor.IsControl(id) || processor.IsUnknown(id) || processor.IsUnused(id)) return PieceType::kBoundary;
  return processor.IsByte(id) ? PieceType::kByte : PieceType::kNormal;
}

}  // namespace fairway::data
