#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <set>

#include "engine/base/sha256.h"
#include "verifier/audit/audit.h"
#include "verifier/audit/limits.h"
#include "verifier/audit/read/log.h"
#include "verifier/audit/read/npz.h"
#include "verifier/audit/read/submission_json.h"
#include "verifier/audit/read/text.h"
#include "verifier/audit/read/tokenizer_model.h"
#include "verifier/audit/read/unpack.h"

namespace fairway::audit {
namespace {

using namespace std::string_view_literals;

std::optional<Language> language_of(std::string_view path) {
  const std::string name = lower(path);
  auto ends = [&](std::initializer_list<const char*> list) {
    return std::any_of(list.begin(), list.end(), [&](const char* e) { return name.ends_with(e); });
  };
  if (ends({".py"})) return Language::kPython;
  if (ends({".c", ".h"})) return Language::kC;
  if (ends({".cpp", ".cc", ".cxx", ".hpp", ".cu", ".cuh"})) return Language::kCpp;
  if (ends({".sh"})) return Language::kShell;
  return std::nullopt;
}

std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }
int64_t depth_of(std::string_view path) { return std::count(path.begin(), path.end(), '/'); }

/// Reads one folder within the bounds of limits.h. The digest is over path, zero byte and SHA-256 of each file read.
class FolderReader {
 public:
  explicit FolderReader(const RecordFolder& folder) : folder_(folder), started_(std::chrono::steady_clock::now()) {}

  Facts read() {
    facts_.folder = folder_.path();
    facts_.ref = folder_.ref();
    facts_.files = folder_.files();
    if (const FileEntry* json = find_named("submission.json")) read_claims(*json);
    if (const FileEntry* readme = find_named("readme.md")) {
      facts_.readme_file = readme->path;
      if (auto text = text_of(*readme)) facts_.readme = std::move(*text);
    }
    for (const FileEntry& f : facts_.files) {
      if (const auto language = language_of(f.path)) read_source(f, *language);
    }
    for (const FileEntry& f : facts_.files) {
      if (is_log_name(f.path)) read_one_log(f);
    }
    read_packed_side_files();
    add_embedded_c();
    read_byte_tables();
    read_tokenizers();
    Sha256 whole;
    for (const auto& [path, digest] : digests_) {
      whole.update(path.data(), path.size() + 1);
      whole.update(digest.data(), digest.size());
    }
    facts_.sha256 = hex(whole.finish());
    return std::move(facts_);
  }

 private:
  /// The file of that name (lower case) nearest to the root; its state may be anything.
  const FileEntry* find_named(std::string_view name) const {
    const FileEntry* best = nullptr;
    for (const FileEntry& f : facts_.files) {
      if (lower(base_name(f.path)) == name && (best == nullptr || depth_of(f.path) < depth_of(best->path))) best = &f;
    }
    return best;
  }

  const FileEntry* find_path(std::string_view path) const {
    const auto at = std::lower_bound(facts_.files.begin(), facts_.files.end(), path,
                                     [](const FileEntry& f, std::string_view p) { return f.path < p; });
    return at != facts_.files.end() && at->path == path ? &*at : nullptr;
  }

  void problem(const std::string& file, const std::string& what) { facts_.problems.push_back(file + ": " + what); }

  /// Bytes of a present file within the bounds; else nothing, and a problem that says why.
  std::optional<std::string> bytes_of(const FileEntry& f) {
    switch (f.state) {
      case FileState::kAbsent:
        problem(f.path, "is listed, but its content is not in this repository");
        return std::nullopt;
      case FileState::kLink:
        problem(f.path, "is a link; it is not followed");
        return std::nullopt;
      case FileState::kTooLarge:
        problem(f.path, fmt::format("has {} bytes, more than {}; not read", f.size_bytes, limits::kTextFileBytes));
        return std::nullopt;
      case FileState::kPresent:
        break;
    }
    if (read_bytes_ + f.size_bytes > limits::kFolderTextBytes) {
      problem(f.path, fmt::format("not read: the folder's texts take more than {} bytes", limits::kFolderTextBytes));
      return std::nullopt;
    }
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - started_;
    if (passed.count() > limits::kFolderSeconds) {
      problem(f.path, fmt::format("not read: the folder took more than {} seconds", limits::kFolderSeconds));
      return std::nullopt;
    }
    auto bytes = folder_.read(f);
    if (!bytes) {
      facts_.problems.push_back(bytes.error().message());
      return std::nullopt;
    }
    read_bytes_ += static_cast<int64_t>(bytes->size());
    Sha256 digest;
    digest.update(bytes->data(), bytes->size());
    digests_.emplace(f.path, digest.finish());
    return std::move(*bytes);
  }

  std::optional<std::string> text_of(const FileEntry& f) {
    auto bytes = bytes_of(f);
    if (!bytes) return std::nullopt;
    std::string text = decode_text(std::move(*bytes));
    if (looks_binary(text)) {
      problem(f.path, "is not text");
      return std::nullopt;
    }
    return text;
  }

  void read_claims(const FileEntry& f) {
    facts_.claims.present = true;
    facts_.claims.file = f.path;
    if (auto text = text_of(f)) {
      facts_.claims = read_submission_json(f.path, *text);
    } else {
      facts_.claims.problem = "could not be read";
    }
  }

  void read_one_log(const FileEntry& f) {
    auto text = text_of(f);
    if (!text) return;
    facts_.log_files.push_back(f.path);
    find_claim(f.path, *text);
    std::vector<LoggedRun> runs = read_log(f.path, *text, facts_.problems);
    std::move(runs.begin(), runs.end(), std::back_inserter(facts_.runs));
  }

  /// Where a log prints the claimed score in a form that no reader knows: its first four decimals, cut or rounded.
  void find_claim(const std::string& path, std::string_view text) {
    if (!facts_.claims.val_bpb || facts_.claim_in_logs) return;
    const double v = facts_.claims.val_bpb->value;
    for (const std::string& digits : {fmt::format("{:.4f}", v), fmt::format("{:.4f}", std::floor(v * 1e4) / 1e4)}) {
      const size_t at = text.find(digits);
      if (at == std::string_view::npos) continue;
      facts_.claim_in_logs =
          Place{path, 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n')};
      return;
    }
  }

  void read_source(const FileEntry& f, Language language) {
    auto text = text_of(f);
    if (!text) return;
    facts_.sources.push_back({f.path, f.path, language, false, std::move(*text)});
    if (language == Language::kPython) add_unpacked(f.path, unpack_source(facts_.sources.back().text));
  }

  /// C text that scripts keep in a string of several lines and compile: sources of their own, at the lines where they
  /// stand.
  void add_embedded_c() {
    int count = 0;
    for (size_t script = 0, scripts = facts_.sources.size(); script < scripts; ++script) {
      if (facts_.sources[script].language != Language::kPython ||
          facts_.sources[script].text.find("#include <") == std::string::npos)
        continue;
      const SourceFile source = facts_.sources[script];
      for (const std::string_view quote : {"\"\"\""sv, "'''"sv}) {
        const std::string_view text = source.text;
        for (size_t begin = text.find(quote); begin != text.npos;) {
          const size_t end = text.find(quote, begin + 3);
          if (end == text.npos) break;
          const std::string_view inside = text.substr(begin + 3, end - begin - 3);
          if (inside.find("#include <") != inside.npos) {
            if (++count > limits::kEmbeddedTexts) {
              problem(source.name, fmt::format("more than {} texts in C inside scripts; the rest is not read",
                                               limits::kEmbeddedTexts));
              return;
            }
            const bool cpp = inside.find("std::") != inside.npos || inside.find("torch/") != inside.npos;
            const auto lines = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(begin), '\n');
            facts_.sources.push_back({source.path, source.name, cpp ? Language::kCpp : Language::kC, source.unpacked,
                                      std::string(static_cast<size_t>(lines), '\n') + std::string(inside)});
          }
          begin = text.find(quote, end + 3);
        }
      }
    }
  }

  void add_unpacked(const std::string& path, UnpackResult unpacked) {
    for (const std::string& p : unpacked.problems) problem(path, p);
    int count = 0;
    for (UnpackedSource& u : unpacked.sources) {
      const std::string suffix = ++count == 1 ? "!unpacked" : fmt::format("!unpacked{}", count);
      facts_.sources.push_back({path, path + suffix, Language::kPython, true, std::move(u.text)});
    }
  }

  void read_byte_tables() {
    for (const FileEntry& f : facts_.files) {
      if (!lower(f.path).ends_with(".npz") || f.size_bytes > limits::kTableBytes || f.state != FileState::kPresent)
        continue;
      auto bytes = bytes_of(f);
      if (!bytes) continue;
      auto table = read_npz_integers(*bytes, "base_bytes", limits::kTableTokens);
      if (!table) continue;
      auto spaces = read_npz_integers(*bytes, "has_leading_space", limits::kTableTokens);
      facts_.byte_tables.push_back({f.path, std::move(*table), spaces.value_or(std::vector<int64_t>())});
    }
  }

  void read_tokenizers() {
    for (const FileEntry& f : facts_.files) {
      if (!lower(f.path).ends_with(".model") || f.size_bytes > limits::kTokenizerBytes ||
          f.state != FileState::kPresent)
        continue;
      auto bytes = bytes_of(f);
      if (!bytes) continue;
      auto model = read_tokenizer_model(f.path, *bytes);
      if (model) {
        facts_.tokenizers.push_back(std::move(*model));
      } else {
        facts_.problems.push_back(model.error().message());
      }
    }
  }

  /// Code kept in a compressed file beside the script (train_gpt.py.lzma), and scripts without .py that are executed by
  /// name.
  void read_packed_side_files() {
    std::set<std::string> named;
    for (const SourceFile& s : facts_.sources) {
      if (s.language != Language::kPython) continue;
      const bool executes = s.text.find("exec(") != std::string::npos;
      if (!executes) continue;
      for (const FileEntry& f : facts_.files) {
        if (f.size_bytes <= 4 << 20 && s.text.find(base_name(f.path)) != std::string::npos) named.insert(f.path);
      }
    }
    for (const std::string& path : named) {
      const FileEntry* f = find_path(path);
      const std::string name = lower(path);
      const bool packed =
          std::any_of(kPackedEnds.begin(), kPackedEnds.end(), [&](std::string_view e) { return name.ends_with(e); });
      if (!packed) continue;
      auto bytes = bytes_of(*f);
      if (!bytes) continue;
      auto text = decompress_source(*bytes);
      if (!text) continue;
      facts_.sources.push_back({path, path + "!unpacked", Language::kPython, true, *text});
      add_unpacked(path, unpack_source(*text));
    }
  }

  static constexpr std::array kPackedEnds = {".lzma"sv, ".xz"sv, ".br"sv,  ".zlib"sv,
                                             ".z"sv,    ".gz"sv, ".bin"sv, ".dat"sv};

  const RecordFolder& folder_;
  std::chrono::steady_clock::time_point started_;
  Facts facts_;
  int64_t read_bytes_ = 0;
  std::map<std::string, Digest> digests_;
};

}  // namespace

Facts read_facts(const RecordFolder& folder) { return FolderReader(folder).read(); }

}  // namespace fairway::audit
