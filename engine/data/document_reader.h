/// Documents out of a text file, one after the other, without reading the whole file ahead.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/result.h"

namespace fairway::data {

/// How a file is cut into documents.
struct DocumentFormat {
  enum class Kind {
    kWholeFile,  ///< the file is one document, byte for byte
    kJsonl,      ///< one JSON object per line; the document is its field "text". Empty lines are passed over
    kSeparated,  ///< documents end before a line that equals `separator`; empty documents are passed over
    kLines,      ///< every line, without its newline, is a document
  };
  Kind kind = Kind::kWholeFile;
  std::string separator = {};

  static DocumentFormat whole_file() { return {}; }
  static DocumentFormat jsonl() { return {Kind::kJsonl}; }
  static DocumentFormat separated_by(std::string line) { return {Kind::kSeparated, std::move(line)}; }
  static DocumentFormat lines() { return {Kind::kLines}; }
};

class DocumentReader {
 public:
  static Result<DocumentReader> open(const std::string& path, const DocumentFormat& format);

  /// Puts the next document into `text`; false when there is none left. Errors: kIo; kData, naming "file:line", for a
  /// line that is no JSON object with a string "text", or a document of more than 256 MiB.
  Result<bool> next(std::string& text);

  /// Bytes of the file used up by the documents returned so far.
  uint64_t bytes_used() const { return bytes_used_; }

 private:
  DocumentReader(InputFile file, std::string path, DocumentFormat format)
      : file_(std::move(file)), path_(std::move(path)), format_(std::move(format)) {}

  /// Appends the next line, with its newline if it has one, to `text`; false at the end of the file.
  Result<bool> append_line(std::string& text);
  Result<bool> next_whole_file(std::string& text);
  Result<bool> next_jsonl(std::string& text);
  Result<bool> next_separated(std::string& text);

  InputFile file_;
  std::string path_;
  DocumentFormat format_;
  std::vector<std::byte> buffer_;
  size_t buffer_begin_ = 0;
  uint64_t bytes_used_ = 0;
  uint64_t line_number_ = 0;
};

}  // namespace fairway::data
