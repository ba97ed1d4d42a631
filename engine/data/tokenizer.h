/// A SentencePiece tokenizer: text to token ids and back, and what each id stands for.
///
/// Host-only and outside the numerics contract: a model file is an input known by its SHA-256, and so is the corpus it
/// has tokenized. Training a tokenizer again need not give the same bytes on another version of the library.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "engine/base/sha256.h"
#include "engine/data/document_reader.h"

namespace fairway::data {

class Tokenizer {
 public:
  /// Control, unknown and unused pieces are boundaries: they stand for no text. User-defined pieces are normal.
  enum class PieceType { kNormal, kByte, kBoundary };

  /// Reads a SentencePiece model. kNoInput if absent; kData if it is no model, has more than 65,536 pieces (ids are 16
  /// bits on disk) or has no BOS piece.
  static Result<Tokenizer> load(const std::string& path);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  int32_t vocab_size() const;
  uint16_t bos_id() const;

  /// SHA-256 of the model file.
  const Digest& digest() const;

  /// The ids of `text`, without BOS. Lossy where the model's normaliser is: the challenge's models turn newlines and
  /// tabs into spaces and collapse runs of them. Text of any bytes is accepted. May be called from several threads.
  Result<std::vector<uint16_t>> encode(std::string_view text) const;

  /// The (normalised) text of `ids`; boundaries give nothing. Every id < vocab_size().
  Result<std::string> decode(std::span<const uint16_t> ids) const;

  /// The piece's UTF-8 string, spaces written as U+2581; `id` in 0..vocab_size()-1.
  std::string_view piece(int32_t id) const;
  PieceType piece_type(int32_t id) const;

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Trains a byte-fallback BPE model with the challenge's settings and writes `<out_prefix>.model` atomically.
///
/// Settings: bpe, character_coverage 0.999, byte_fallback, split_digits, nmt_nfkc, no dummy prefix, pad 0, bos 1, eos
/// 2, unk 3, hard_vocab_limit off; one thread, so the same library and text give the same model. Each document of
/// `text_files` is one training sentence, with NUL as a space; empty ones are skipped, and the library skips those of
/// more than 4,192 bytes, so plain text is best given as DocumentFormat::lines().
///
/// Errors: those of DocumentReader; kData if there is no text; kUsage if `vocab_size` cannot be reached or is too
/// small.
Status train_tokenizer(std::span<const std::string> text_files, const DocumentFormat& format, int32_t vocab_size,
                       const std::string& out_prefix);

}  // namespace fairway::data
