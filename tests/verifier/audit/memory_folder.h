/// A record folder made of strings.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "verifier/audit/record_folder.h"

namespace fairway::audit {

class MemoryFolder final : public RecordFolder {
 public:
  MemoryFolder(std::string path, const std::map<std::string, std::string>& contents)
      : path_(std::move(path)), contents_(contents) {
    for (const auto& [name, text] : contents_)
      files_.push_back({name, static_cast<int64_t>(text.size()), FileState::kPresent});
  }
  /// Lists `name` in another state than present.
  void add(const std::string& name, FileState state, int64_t size_bytes = 0) {
    files_.push_back({name, size_bytes, state});
    std::sort(files_.begin(), files_.end(), [](const FileEntry& a, const FileEntry& b) { return a.path < b.path; });
  }
  const std::vector<FileEntry>& files() const override { return files_; }
  std::string path() const override { return path_; }
  Result<std::string> read(const FileEntry& entry) const override {
    const auto at = contents_.find(entry.path);
    if (at == contents_.end()) return Error{Errc::kData, entry.path, "has no content to read"};
    return at->second;
  }

 private:
  std::string path_;
  std::map<std::string, std::string> contents_;
  std::vector<FileEntry> files_;
};

/// A record that breaks nothing: three seeds, whose logs differ in the last digits. Tests change one thing in it.
struct Record {
  std::string path = "records/track_10min_16mb/2026-04-01_Example";
  std::map<std::string, std::string> files;

  struct Seed {
    int seed = 42;
    double val_loss = 1.90000000, val_bpb = 1.12526900;
    int64_t model_bytes = 15'000'000, code_bytes = 50'000;
    double train_ms = 600'050, eval_ms = 90'000;
    int world_size = 8;
    int64_t val_tokens = 62'021'632;
    std::string more = {};  ///< lines before the final score
  };
  std::vector<Seed> seeds = {
      {42, 1.90000000, 1.12526900}, {1337, 1.90020000, 1.12538745}, {2024, 1.89980000, 1.12515055}};
  std::string json;  ///< empty: written from the seeds
  bool with_final = true;

  static std::string log(const Seed& s, bool with_final = true);
  std::string default_json() const;
  MemoryFolder folder() const;
};

}  // namespace fairway::audit
