#include "verifier/audit/folder/git_repository.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "verifier/audit/folder/choose_folder.h"
#include "verifier/audit/folder/git_handle.h"
#include "verifier/audit/limits.h"

namespace fairway::audit {
namespace {

struct OidLess {
  bool operator()(const git_oid& a, const git_oid& b) const { return git_oid_cmp(&a, &b) < 0; }
};

class TreeFolder final : public RecordFolder {
 public:
  TreeFolder(git_repository* repository, git_odb* odb, std::string path, std::string ref)
      : repository_(repository), odb_(odb), path_(std::move(path)), ref_(std::move(ref)) {}

  const std::vector<FileEntry>& files() const override { return files_; }
  std::string path() const override { return path_; }
  std::string ref() const override { return ref_; }

  Result<std::string> read(const FileEntry& entry) const override {
    const std::string where = fmt::format("{}:{}/{}", ref_, path_, entry.path);
    const auto at = std::lower_bound(files_.begin(), files_.end(), entry.path,
                                     [](const FileEntry& f, const std::string& p) { return f.path < p; });
    if (at == files_.end() || at->path != entry.path || at->state != FileState::kPresent)
      return Error{Errc::kData, where, "has no content to read"};
    git_odb_object* raw = nullptr;
    if (git_odb_read(&raw, odb_, &oids_[static_cast<size_t>(at - files_.begin())]) != 0)
      return Error{Errc::kIo, where, fmt::format("cannot read ({})", git_problem())};
    const OdbObject object(raw);
    return std::string(static_cast<const char*>(git_odb_object_data(raw)), git_odb_object_size(raw));
  }

  Status list(const git_tree* tree, bool with_folders) {
    with_folders_ = with_folders;
    FAIRWAY_TRY(list_below(tree, "", 0));
    std::vector<size_t> order(files_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return files_[a].path < files_[b].path; });
    std::vector<FileEntry> files;
    std::vector<git_oid> oids;
    for (const size_t i : order) {
      files.push_back(std::move(files_[i]));
      oids.push_back(oids_[i]);
    }
    files_ = std::move(files);
    oids_ = std::move(oids);
    return {};
  }

 private:
  Status list_below(const git_tree* tree, const std::string& prefix, int depth) {
    for (size_t i = 0; i < git_tree_entrycount(tree); ++i) {
      const git_tree_entry* entry = git_tree_entry_byindex(tree, i);
      FileEntry file{prefix + git_tree_entry_name(entry), 0, FileState::kPresent};
      const git_oid* oid = git_tree_entry_id(entry);
      switch (git_tree_entry_type(entry)) {
        case GIT_OBJECT_TREE: {
          if (!with_folders_) continue;
          if (depth >= limits::kFolderDepth)
            return Error{Errc::kData, path_ + "/" + file.path,
                         fmt::format("is nested deeper than {} folders", limits::kFolderDepth)};
          git_tree* below = nullptr;
          if (git_tree_lookup(&below, repository_, oid) != 0) {
            file.state = FileState::kAbsent;
            break;
          }
          const Tree owner(below);
          FAIRWAY_TRY(list_below(below, file.path + "/", depth + 1));
          continue;
        }
        case GIT_OBJECT_BLOB: {
          size_t size = 0;
          git_object_t type;
          if (git_odb_read_header(&size, &type, odb_, oid) != 0) {
            file.state = FileState::kAbsent;
            break;
          }
          file.size_bytes = static_cast<int64_t>(size);
          if (git_tree_entry_filemode(entry) == GIT_FILEMODE_LINK) file.state = FileState::kLink;
          if (file.state == FileState::kPresent && file.size_bytes > limits::kTextFileBytes)
            file.state = FileState::kTooLarge;
          break;
        }
        default:
          file.state = FileState::kLink;  // a submodule
      }
      if (static_cast<int64_t>(files_.size()) >= limits::kFilesPerFolder) {
        return Error{
            Errc::kData, path_,
            fmt::format("holds more than {} files; name the record folder with --path", limits::kFilesPerFolder)};
      }
      files_.push_back(std::move(file));
      oids_.push_back(*oid);
    }
    return {};
  }

  git_repository* repository_;
  git_odb* odb_;
  std::string path_, ref_;
  bool with_folders_ = true;
  std::vector<FileEntry> files_;
  std::vector<git_oid> oids_;
};

/// libgit2's global state, set up once and kept.
void start_libgit2() {
  static const int started = [] {
    const int count = git_libgit2_init();
    // Only objects are read, no configuration is obeyed and nothing is run: whose files they are does not matter.
    git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
    return count;
  }();
  (void)started;
}

class LibgitRepository final : public GitRepository {
 public:
  LibgitRepository(Repository repository, Odb odb, std::string path)
      : repository_(std::move(repository)), odb_(std::move(odb)), path_(std::move(path)) {}

  Status find_base(const std::string& base) {
    if (!base.empty()) {
      FAIRWAY_ASSIGN(auto commit, commit_of(base));
      base_ = *git_commit_id(commit.get());
    } else {
      bool found = false;
      for (const char* name :
           {"refs/heads/main", "refs/remotes/origin/main", "refs/heads/master", "refs/remotes/origin/master", "HEAD"}) {
        auto commit = commit_of(name);
        if (!commit) continue;
        base_ = *git_commit_id(commit->get());
        found = true;
        break;
      }
      if (!found)
        return Error{Errc::kNoInput, path_, "has no branch main or master to compare with; name one with --base"};
    }
    return find_merges();
  }

  Status find(const std::string& ref) const override {
    FAIRWAY_TRY(commit_of(ref));
    return {};
  }

  Result<std::unique_ptr<RecordFolder>> folder(const std::string& ref, const std::string& path) override {
    FAIRWAY_ASSIGN(auto head, commit_of(ref));
    git_tree* raw = nullptr;
    if (git_commit_tree(&raw, head.get()) != 0)
      return Error{Errc::kNoInput, ref, fmt::format("has no tree here ({})", git_problem())};
    const Tree tree(raw);
    std::string chosen = path;
    while (chosen.ends_with('/')) chosen.pop_back();
    if (chosen.empty()) {
      FAIRWAY_ASSIGN(chosen, choose(head.get(), tree.get(), ref));
    }
    auto folder = std::make_unique<TreeFolder>(repository_.get(), odb_.get(), chosen, ref);
    if (chosen.empty()) {  // files at the root only: the folders there belong to everybody
      FAIRWAY_TRY(folder->list(tree.get(), /*with_folders=*/false));
      return std::unique_ptr<RecordFolder>(std::move(folder));
    }
    const Tree below = subtree(tree.get(), chosen);
    if (below == nullptr) return Error{Errc::kNoInput, ref + ":" + chosen, "is not a folder of this reference"};
    FAIRWAY_TRY(folder->list(below.get(), /*with_folders=*/true));
    return std::unique_ptr<RecordFolder>(std::move(folder));
  }

 private:
  Result<Commit> commit_of(const std::string& ref) const {
    git_object* raw = nullptr;
    if (git_revparse_single(&raw, repository_.get(), ref.c_str()) != 0) {
      return Error{Errc::kNoInput, ref, fmt::format("no such reference in {}", path_)};
    }
    const Object object(raw);
    git_object* peeled = nullptr;
    if (git_object_peel(&peeled, raw, GIT_OBJECT_COMMIT) != 0) return Error{Errc::kNoInput, ref, "is not a commit"};
    return Commit(reinterpret_cast<git_commit*>(peeled));
  }

  struct Merge {
    git_oid first_parent;
    std::string message;
  };

  /// For every merge of the base's history: what was merged, into what.
  Status find_merges() {
    git_revwalk* raw = nullptr;
    if (git_revwalk_new(&raw, repository_.get()) != 0) return Error{Errc::kIo, path_, git_problem()};
    const Revwalk walk(raw);
    git_revwalk_push(raw, &base_);
    git_oid oid;
    for (int count = 0; count < 200'000 && git_revwalk_next(&oid, raw) == 0; ++count) {
      git_commit* c = nullptr;
      if (git_commit_lookup(&c, repository_.get(), &oid) != 0) continue;
      const Commit commit(c);
      for (unsigned i = 1; i < git_commit_parentcount(c); ++i) {
        merged_.emplace(*git_commit_parent_id(c, i), Merge{*git_commit_parent_id(c, 0), message_of(c)});
      }
    }
    return {};
  }

  static std::string message_of(const git_commit* c) {
    const char* message = git_commit_message(c);
    return message == nullptr ? "" : std::string(message, strnlen(message, 2000));
  }

  Tree tree_of(const git_oid& commit_id) const {
    git_commit* c = nullptr;
    git_tree* t = nullptr;
    if (git_commit_lookup(&c, repository_.get(), &commit_id) != 0) return nullptr;
    const Commit commit(c);
    git_commit_tree(&t, c);
    return Tree(t);
  }

  Tree subtree(const git_tree* tree, const std::string& path) const {
    git_tree_entry* e = nullptr;
    if (git_tree_entry_bypath(&e, tree, path.c_str()) != 0) return nullptr;
    const TreeEntry entry(e);
    git_tree* t = nullptr;
    if (git_tree_entry_type(e) != GIT_OBJECT_TREE || git_tree_lookup(&t, repository_.get(), git_tree_entry_id(e)) != 0)
      return nullptr;
    return Tree(t);
  }

  /// Files of `to` that `from` (null: nothing) lacks or has otherwise.
  std::vector<ChangedFile> changes(git_tree* from, git_tree* to) const {
    git_diff_options options = GIT_DIFF_OPTIONS_INIT;
    options.flags = GIT_DIFF_SKIP_BINARY_CHECK;
    git_diff* raw = nullptr;
    std::vector<ChangedFile> out;
    if (git_diff_tree_to_tree(&raw, repository_.get(), from, to, &options) != 0) return out;
    const Diff diff(raw);
    for (size_t i = 0; i < git_diff_num_deltas(raw); ++i) {
      const git_diff_delta* d = git_diff_get_delta(raw, i);
      if (d->status == GIT_DELTA_DELETED) continue;
      out.push_back({d->new_file.path, d->status == GIT_DELTA_ADDED, false});
    }
    return out;
  }

  /// What the newest commit that is not a merge touched, and what the branch's commits say.
  void describe(const git_commit* head, const git_oid& base, ChooseInput& input) const {
    std::map<std::string, ChangedFile*> by_path;
    for (ChangedFile& f : input.changed) by_path.emplace(f.path, &f);
    git_oid at = *git_commit_id(head);
    bool marked = false;
    for (int count = 0; count < 64 && git_oid_equal(&at, &base) == 0; ++count) {
      git_commit* c = nullptr;
      if (git_commit_lookup(&c, repository_.get(), &at) != 0) break;
      const Commit commit(c);
      const unsigned parents = git_commit_parentcount(c);
      if (parents < 2) {
        input.messages += message_of(c);
        if (!marked) {
          marked = true;
          const Tree before = parents == 0 ? nullptr : tree_of(*git_commit_parent_id(c, 0)), after = tree_of(at);
          for (const ChangedFile& f : changes(before.get(), after.get())) {
            if (const auto known = by_path.find(f.path); known != by_path.end()) known->second->last_commit = true;
          }
        }
      }
      if (parents == 0) break;
      at = *git_commit_parent_id(c, 0);
    }
  }

  Result<std::string> choose(const git_commit* head, git_tree* tree, const std::string& ref) {
    const git_oid head_id = *git_commit_id(head);
    git_oid from{};
    bool merged = false;
    Tree before;
    ChooseInput input;
    if (const auto at = merged_.find(head_id); at != merged_.end()) {
      from = at->second.first_parent;
      input.title = at->second.message;
      merged = true;
      before = tree_of(from);
    } else if (git_merge_base(&from, repository_.get(), &head_id, &base_) == 0) {
      merged = git_oid_equal(&from, &head_id) != 0;
      if (merged && git_commit_parentcount(head) > 0) from = *git_commit_parent_id(head, 0);
      before = tree_of(from);
    } else {
      before = tree_of(base_);  // no common history: what differs from the base
    }
    input.changed = changes(before.get(), tree);
    describe(head, from, input);
    const Tree base_tree = merged ? nullptr : tree_of(base_);
    input.has_json = [&](const std::string& folder) {
      git_tree_entry* e = nullptr;
      if (git_tree_entry_bypath(&e, tree, (folder + "/submission.json").c_str()) != 0) return false;
      git_tree_entry_free(e);
      return true;
    };
    input.same_in_base = [&](const std::string& folder) {
      if (base_tree == nullptr) return false;
      git_tree_entry *a = nullptr, *b = nullptr;
      const bool both = git_tree_entry_bypath(&a, tree, folder.c_str()) == 0 &&
                        git_tree_entry_bypath(&b, base_tree.get(), folder.c_str()) == 0;
      const bool same = both && git_oid_equal(git_tree_entry_id(a), git_tree_entry_id(b)) != 0;
      git_tree_entry_free(a);
      git_tree_entry_free(b);
      return same;
    };
    bool found = false;
    std::string folder = choose_folder(input, found);
    if (!found)
      return Error{Errc::kData, ref, "adds or changes nothing that could be a record folder; name one with --path"};
    return folder;
  }

  Repository repository_;
  Odb odb_;
  std::string path_;
  git_oid base_{};
  std::map<git_oid, Merge, OidLess> merged_;
};

}  // namespace

Result<std::unique_ptr<GitRepository>> GitRepository::open(const std::string& path, const std::string& base) {
  start_libgit2();
  git_repository* raw = nullptr;
  if (git_repository_open_ext(&raw, path.c_str(), GIT_REPOSITORY_OPEN_NO_SEARCH, nullptr) != 0) {
    return Error{Errc::kNoInput, path, fmt::format("is not a git repository that can be opened ({})", git_problem())};
  }
  Repository repository(raw);
  git_odb* odb = nullptr;
  if (git_repository_odb(&odb, raw) != 0)
    return Error{Errc::kNoInput, path, fmt::format("has no object database ({})", git_problem())};
  auto out = std::make_unique<LibgitRepository>(std::move(repository), Odb(odb), path);
  FAIRWAY_TRY(out->find_base(base));
  return std::unique_ptr<GitRepository>(std::move(out));
}

}  // namespace fairway::audit
