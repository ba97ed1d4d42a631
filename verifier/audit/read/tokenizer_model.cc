#include "verifier/audit/read/tokenizer_model.h"

#include <fmt/format.h>

#include <optional>

#include "verifier/audit/limits.h"

namespace fairway::audit {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kSpace = "\xE2\x96\x81"sv;  // U+2581

/// The fields of a protocol buffer, in order; a message inside is the text of a field.
class Fields {
 public:
  struct Field {
    uint64_t number = 0, value = 0;  ///< value: of a number
    std::string_view text;           ///< of everything that has a length
    bool has_text = false;
  };
  Fields(std::string_view bytes, size_t base) : bytes_(bytes), base_(base) {}

  /// The next field, or nothing: at the end, or where the format is broken.
  std::optional<Field> next() {
    if (at_ == bytes_.size()) return std::nullopt;
    start_ = at_;
    broken_ = true;
    const auto key = varint();
    if (!key) return std::nullopt;
    Field field;
    field.number = *key >> 3;
    uint64_t length = 0;
    switch (*key & 7) {
      case 0:
        if (const auto v = varint()) {
          field.value = *v;
          broken_ = false;
          return field;
        }
        return std::nullopt;
      case 1:
        length = 8;
        break;
      case 2:
        if (const auto v = varint()) {
          length = *v;
          field.has_text = true;
          break;
        }
        return std::nullopt;
      case 5:
        length = 4;
        break;
      default:
        return std::nullopt;
    }
    if (length > bytes_.size() - at_) return std::nullopt;
    field.text = bytes_.substr(at_, length);
    at_ += length;
    broken_ = false;
    return field;
  }
  bool broken() const { return broken_; }
  size_t offset() const { return base_ + start_; }  ///< of the field read last
  size_t text_offset(const Field& field) const {
    return base_ + static_cast<size_t>(field.text.data() - bytes_.data());
  }

 private:
  std::optional<uint64_t> varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && at_ < bytes_.size(); shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes_[at_++]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    return std::nullopt;
  }

  std::string_view bytes_;
  size_t base_, at_ = 0, start_ = 0;
  bool broken_ = false;
};

/// ModelProto.SentencePiece.Type
enum Type : uint64_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

}  // namespace

Result<TokenizerModel> read_tokenizer_model(const std::string& file, std::string_view bytes) {
  const auto bad = [&](size_t offset, std::string_view what) {
    return Error{Errc::kData, fmt::format("{} @ {:#x}", file, offset),
                 fmt::format("is no SentencePiece model: {}", what)};
  };
  if (static_cast<int64_t>(bytes.size()) > limits::kTokenizerBytes)
    return bad(0, fmt::format("has {} bytes, more than {}", bytes.size(), limits::kTokenizerBytes));
  TokenizerModel model;
  model.file = file;
  Fields fields(bytes, 0);
  while (const auto field = fields.next()) {
    if (field->number != 1) continue;  // training and normalisation settings
    if (!field->has_text) return bad(fields.offset(), "a piece is not a message");
    if (static_cast<int64_t>(model.pieces.size()) == limits::kTableTokens)
      return bad(fields.offset(), fmt::format("has more than {} pieces", limits::kTableTokens));
    std::string_view piece;
    uint64_t type = kNormal;
    Fields inner(field->text, fields.text_offset(*field));
    while (const auto part = inner.next()) {
      if (part->number == 1 && part->has_text) piece = part->text;
      if (part->number == 3 && !part->has_text) type = part->value;
    }
    if (inner.broken()) return bad(inner.offset(), "a piece ends inside a field");
    if (type < kNormal || type > kByte) return bad(fields.offset(), fmt::format("a piece has the type {}", type));
    if (static_cast<int64_t>(piece.size()) > limits::kPieceBytes)
      return bad(fields.offset(), fmt::format("a piece has more than {} bytes", limits::kPieceBytes));
    PieceBytes counted;
    counted.boundary = type == kUnknown || type == kControl || type == kUnused;
    if (type == kByte) {
      counted.bytes = 1;
      model.byte_fallback = true;
    } else if (!counted.boundary) {
      counted.leading_space = piece.starts_with(kSpace);
      counted.bytes = static_cast<int64_t>(piece.size() - (counted.leading_space ? kSpace.size() : 0));
      model.bare_space |= piece == kSpace;
    }
    model.pieces.push_back(counted);
  }
  if (fields.broken()) return bad(fields.offset(), "it ends inside a field");
  if (model.pieces.empty()) return bad(0, "it has no pieces");
  return model;
}

}  // namespace fairway::audit
