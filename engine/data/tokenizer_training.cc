#include <fmt/format.h>
#include <sentencepiece_trainer.h>

#include <exception>
#include <optional>
#include <unordered_map>

#include "engine/base/file.h"
#include "engine/data/shard.h"
#include "engine/data/tokenizer.h"

namespace fairway::data {
namespace {

// Feeds the documents of several files to the trainer, one after the other.
class Sentences : public sentencepiece::SentenceIterator {
 public:
  Sentences(std::span<const std::string> paths, const DocumentFormat& format) : paths_(paths), format_(format) {
    Next();
  }

  bool done() const override { return done_; }

  void Next() override {
    while (!done_) {
      if (!reader_ && !open_next()) return;
      Result<bool> more = reader_->next(text_);
      if (!more) return stop(more.error());
      if (!*more) {
        reader_.reset();
        continue;
      }
      clean();
      if (!text_.empty()) return;
    }
  }

  const std::string& value() const override { return text_; }

  // Reading errors are kept in error() with their code; to the library the text merely ends.
  sentencepiece::util::Status status() const override { return {}; }

  const std::optional<Error>& error() const { return error_; }

 private:
  bool open_next() {
    if (next_path_ == paths_.size()) {
      done_ = true;
      return false;
    }
    Result<DocumentReader> reader = DocumentReader::open(paths_[next_path_++], format_);
    if (!reader) {
      stop(reader.error());
      return false;
    }
    reader_.emplace(std::move(*reader));
    return true;
  }

  void stop(const Error& error) {
    error_ = error;
    done_ = true;
  }

  void clean() {
    for (char& c : text_) {
      if (c == '\0') c = ' ';
    }
    constexpr const char* kBlank = " \t\n\v\f\r";
    text_.erase(text_.find_last_not_of(kBlank) + 1);
    text_.erase(0, text_.find_first_not_of(kBlank));
  }

  std::span<const std::string> paths_;
  const DocumentFormat& format_;
  size_t next_path_ = 0;
  std::optional<DocumentReader> reader_;
  std::string text_;
  bool done_ = false;
  std::optional<Error> error_;
};

}  // namespace

Status train_tokenizer(std::span<const std::string> text_files, const DocumentFormat& format, int32_t vocab_size,
                       const std::string& out_prefix) {
  if (vocab_size <= 0 || vocab_size > kMaxVocabSize) {
    return Error{Errc::kUsage, "vocabulary size", fmt::format("is {}; give 1 to {}", vocab_size, kMaxVocabSize)};
  }
  const std::string model_path = out_prefix + ".model";
  Sentences sentences(text_files, format);
  if (sentences.error()) return *sentences.error();
  if (sentences.done()) return Error{Errc::kData, model_path, "there is no text to train a tokenizer on"};
  const std::unordered_map<std::string, std::string> settings = {
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(vocab_size)},
      {"character_coverage", "0.999"},
      {"byte_fallback", "true"},
      {"split_digits", "true"},
      {"normalization_rule_name", "nmt_nfkc"},
      {"add_dummy_prefix", "false"},
      {"pad_id", "0"},
      {"bos_id", "1"},
      {"eos_id", "2"},
      {"unk_id", "3"},
      {"hard_vocab_limit", "false"},
      {"num_threads", "1"},
      {"minloglevel", "2"},
  };
  std::string model;
  std::string problem;
  try {
    const auto status = sentencepiece::SentencePieceTrainer::Train(settings, &sentences, &model);
    if (!status.ok()) problem = status.ToString();
  } catch (const std::exception& error) {
    problem = error.what();
  }
  // A file that broke off half-way must not pass for a shorter corpus.
  if (sentences.error()) return *sentences.error();
  if (!problem.empty()) {
    return Error{Errc::kUsage, model_path,
                 fmt::format("cannot train a tokenizer of {} pieces on this text ({})", vocab_size, problem)};
  }
  return write_file_atomic(model_path, std::string_view(model));
}

}  // namespace fairway::data
