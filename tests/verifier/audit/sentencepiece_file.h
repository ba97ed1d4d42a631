/// SentencePiece models made of a list of pieces, as files (sentencepiece_model.proto).
#pragma once

#include <string>
#include <vector>

namespace fairway::audit::test_models {

enum Type { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

struct Piece {
  std::string text;
  int type = kNormal;
};

inline std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7F) | 0x80);
  return out += static_cast<char>(value);
}

/// ModelProto { repeated SentencePiece { string piece = 1; float score = 2; Type type = 3; } pieces = 1; }
inline std::string model_file(const std::vector<Piece>& pieces) {
  std::string out;
  const auto append = [](std::string& to, char tag, const std::string& text) {
    to += tag;
    to += varint(text.size());
    to += text;
  };
  for (const Piece& p : pieces) {
    std::string piece;
    append(piece, '\x0A', p.text);
    piece.append("\x15\0\0\0\0", 5);
    if (p.type != kNormal) {
      piece += '\x18';
      piece += static_cast<char>(p.type);
    }
    append(out, '\x0A', piece);
  }
  return out;
}

/// <unk>, <s>, three single bytes, a bare space if wanted, " the", "s", an accent of two bytes.
inline std::vector<Piece> small_vocabulary(bool bare_space = true) {
  std::vector<Piece> pieces = {
      {"<unk>", kUnknown}, {"<s>", kControl}, {"<0x41>", kByte}, {"<0xC3>", kByte}, {"<0xFF>", kByte}};
  if (bare_space) pieces.push_back({"\xE2\x96\x81"});
  for (const char* text : {"\xE2\x96\x81the", "s", "\xC3\xA9"}) pieces.push_back({text});
  return pieces;
}

}  // namespace fairway::audit::test_models
