#include "engine/data/document_reader.h"

#include <fmt/format.h>

#include <cstring>
#include <nlohmann/json.hpp>

namespace fairway::data {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

// SentencePiece counts in int and takes some hundred bytes of memory per byte of text.
constexpr size_t kMaxDocumentBytes = size_t{256} << 20;

void drop_newline(std::string& line) {
  if (line.ends_with('\n')) line.pop_back();
}

}  // namespace

Result<DocumentReader> DocumentReader::open(const std::string& path, const DocumentFormat& format) {
  FAIRWAY_ASSIGN(InputFile file, InputFile::open(path));
  return DocumentReader(std::move(file), path, format);
}

Result<bool> DocumentReader::next(std::string& text) {
  text.clear();
  switch (format_.kind) {
    case DocumentFormat::Kind::kWholeFile:
      return next_whole_file(text);
    case DocumentFormat::Kind::kJsonl:
      return next_jsonl(text);
    case DocumentFormat::Kind::kSeparated:
      return next_separated(text);
    case DocumentFormat::Kind::kLines:
      break;
  }
  FAIRWAY_ASSIGN(const bool found, append_line(text));
  drop_newline(text);
  return found;
}

Result<bool> DocumentReader::append_line(std::string& text) {
  bool found = false;
  for (;;) {
    if (buffer_begin_ == buffer_.size()) {
      buffer_.resize(kBufferBytes);
      buffer_begin_ = 0;
      FAIRWAY_ASSIGN(const size_t count, file_.read(buffer_));
      buffer_.resize(count);
      if (count == 0) break;
    }
    if (!found) ++line_number_;
    found = true;
    const auto* const begin = reinterpret_cast<const char*>(buffer_.data()) + buffer_begin_;
    const size_t available = buffer_.size() - buffer_begin_;
    const void* const newline = std::memchr(begin, '\n', available);
    const size_t count = newline ? static_cast<size_t>(static_cast<const char*>(newline) - begin) + 1 : available;
    if (text.size() + count > kMaxDocumentBytes) {
      return Error{Errc::kData, fmt::format("{}:{}", path_, line_number_),
                   fmt::format("a document is longer than {} bytes; cut the text into documents", kMaxDocumentBytes)};
    }
    text.append(begin, count);
    buffer_begin_ += count;
    bytes_used_ += count;
    if (newline) break;
  }
  return found;
}

Result<bool> DocumentReader::next_whole_file(std::string& text) {
  for (;;) {
    FAIRWAY_ASSIGN(const bool found, append_line(text));
    if (!found) return !text.empty();
  }
}

Result<bool> DocumentReader::next_jsonl(std::string& text) {
  std::string line;
  while (line.empty()) {
    FAIRWAY_ASSIGN(const bool found, append_line(line));
    if (!found) return false;
    drop_newline(line);
  }
  const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  const auto field = object.is_object() ? object.find("text") : object.end();
  if (!object.is_object() || field == object.end() || !field->is_string()) {
    return Error{Errc::kData, fmt::format("{}:{}", path_, line_number_),
                 object.is_discarded() ? "is not valid JSON; each line must be one object"
                                       : "is not a JSON object with a string field \"text\""};
  }
  text = field->get_ref<const std::string&>();
  return true;
}

Result<bool> DocumentReader::next_separated(std::string& text) {
  std::string line;
  for (;;) {
    line.clear();
    FAIRWAY_ASSIGN(const bool found, append_line(line));
    if (!found) return !text.empty();
    const std::string_view content(line.data(), line.size() - (line.ends_with('\n') ? 1 : 0));
    if (content == format_.separator) {
      if (!text.empty()) return true;
    } else {
      text += line;
    }
  }
}

}  // namespace fairway::data
