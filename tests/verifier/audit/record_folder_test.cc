/// Record folders on disk and in git objects.
#include <git2.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/engine/base/temporary_directory.h"
#include "verifier/audit/audit.h"
#include "verifier/audit/folder/choose_folder.h"
#include "verifier/audit/folder/directory_folder.h"
#include "verifier/audit/folder/git_repository.h"
#include "verifier/audit/limits.h"

namespace fairway::audit {
namespace {

namespace fs = std::filesystem;
using test::TemporaryDirectory;

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

const FileEntry* find(const RecordFolder& folder, const std::string& path) {
  for (const FileEntry& f : folder.files()) {
    if (f.path == path) return &f;
  }
  return nullptr;
}

TEST(DirectoryFolder, ListsAndReadsWhatIsBelow) {
  TemporaryDirectory dir;
  write(fs::path(dir.path()) / "logs" / "a b+c.log", "seed:1\n");
  write(fs::path(dir.path()) / ".git" / "config", "not listed");
  auto folder = open_directory(dir.path());
  ASSERT_TRUE(folder) << folder.error().message();
  ASSERT_EQ((*folder)->files().size(), 1u);
  const FileEntry* f = find(**folder, "logs/a b+c.log");
  ASSERT_NE(f, nullptr);
  EXPECT_EQ(*(*folder)->read(*f), "seed:1\n");
}

TEST(DirectoryFolder, LinksAreNamedAndNeverFollowed) {
  TemporaryDirectory dir, outside;
  write(fs::path(outside.path()) / "secret.log", "seed:1 final val_loss:1.0 val_bpb:0.5\n");
  fs::create_symlink(fs::path(outside.path()) / "secret.log", fs::path(dir.path()) / "train.log");
  fs::create_directory_symlink(outside.path(), fs::path(dir.path()) / "logs");
  ASSERT_EQ(mkfifo((fs::path(dir.path()) / "pipe.log").c_str(), 0600), 0);
  auto folder = open_directory(dir.path());
  ASSERT_TRUE(folder);
  ASSERT_EQ((*folder)->files().size(), 3u);
  for (const FileEntry& f : (*folder)->files()) {
    EXPECT_EQ(f.state, FileState::kLink) << f.path;
    EXPECT_FALSE((*folder)->read(f)) << f.path;
  }
  const Facts facts = read_facts(**folder);
  EXPECT_TRUE(facts.runs.empty());
  EXPECT_EQ(facts.problems.size(), 2u) << "both logs are named as not followed";
}

TEST(DirectoryFolder, AFileThatBecomesALinkIsNotFollowed) {
  TemporaryDirectory dir, outside;
  write(fs::path(outside.path()) / "secret", "secret");
  write(fs::path(dir.path()) / "sub" / "train.log", "seed:1\n");
  auto folder = open_directory(dir.path());
  ASSERT_TRUE(folder);
  const FileEntry entry = (*folder)->files()[0];
  fs::remove(fs::path(dir.path()) / "sub" / "train.log");
  fs::create_symlink(fs::path(outside.path()) / "secret", fs::path(dir.path()) / "sub" / "train.log");
  EXPECT_FALSE((*folder)->read(entry));
  fs::remove_all(fs::path(dir.path()) / "sub");
  fs::create_directory_symlink(outside.path(), fs::path(dir.path()) / "sub");
  EXPECT_FALSE((*folder)->read({"sub/secret", 6, FileState::kPresent}));
}

TEST(DirectoryFolder, TooManyFilesTooDeepAndTooLargeAreNamed) {
  TemporaryDirectory many, deep, large;
  for (int64_t i = 0; i <= limits::kFilesPerFolder; ++i) write(fs::path(many.path()) / std::to_string(i), "");
  auto folder = open_directory(many.path());
  ASSERT_FALSE(folder);
  EXPECT_EQ(folder.error().code, Errc::kData);
  fs::path at = deep.path();
  for (int i = 0; i < limits::kFolderDepth + 2; ++i) at /= "d";
  write(at / "x", "");
  EXPECT_FALSE(open_directory(deep.path()));
  write(fs::path(large.path()) / "train.log", "");
  fs::resize_file(fs::path(large.path()) / "train.log", limits::kTextFileBytes + 1);
  folder = open_directory(large.path());
  ASSERT_TRUE(folder);
  EXPECT_EQ((*folder)->files()[0].state, FileState::kTooLarge);
  EXPECT_EQ(read_facts(**folder).problems.size(), 1u);
}

TEST(DirectoryFolder, WhatIsNoFolderIsMissingInput) {
  TemporaryDirectory dir;
  write(fs::path(dir.path()) / "file", "");
  for (const std::string& path : {dir.path() + "/file", dir.path() + "/nothing"}) {
    auto folder = open_directory(path);
    ASSERT_FALSE(folder);
    EXPECT_EQ(folder.error().code, Errc::kNoInput);
  }
}

/// A repository whose commits are made through libgit2: no program of git is needed.
class TestRepository {
 public:
  explicit TestRepository(const std::string& path) {
    git_libgit2_init();
    git_repository_init(&repository_, path.c_str(), 1);
    git_repository_odb(&odb_, repository_);
  }
  ~TestRepository() {
    git_odb_free(odb_);
    git_repository_free(repository_);
    git_libgit2_shutdown();
  }
  /// Sets `ref` to a commit of exactly these files.
  git_oid commit(const std::string& ref, const std::map<std::string, std::string>& files,
                 const std::vector<git_oid>& parents, const std::string& message) {
    git_index* index = nullptr;
    git_index_new(&index);
    for (const auto& [path, text] : files) {
      git_index_entry e{};
      e.mode = GIT_FILEMODE_BLOB;
      e.path = path.c_str();
      if (text == "ABSENT") {
        git_oid_fromstr(&e.id, "0123456789012345678901234567890123456789");
        git_index_add(index, &e);
      } else {
        if (text.starts_with("LINK ")) e.mode = GIT_FILEMODE_LINK;
        git_blob_create_from_buffer(&e.id, repository_, text.data(), text.size());
        git_index_add(index, &e);
      }
    }
    git_oid tree_id, id;
    git_libgit2_opts(GIT_OPT_ENABLE_STRICT_OBJECT_CREATION, 0);
    EXPECT_EQ(git_index_write_tree_to(&tree_id, index, repository_), 0) << git_error_last()->message;
    git_index_free(index);
    git_tree* tree = nullptr;
    git_tree_lookup(&tree, repository_, &tree_id);
    git_signature* who = nullptr;
    git_signature_new(&who, "A", "a@example.org", 1'700'000'000 + ++clock_, 0);
    std::vector<git_commit*> parent_commits;
    std::vector<const git_commit*> pointers;
    for (const git_oid& p : parents) {
      git_commit* c = nullptr;
      git_commit_lookup(&c, repository_, &p);
      parent_commits.push_back(c);
      pointers.push_back(c);
    }
    EXPECT_EQ(git_commit_create(&id, repository_, nullptr, who, who, nullptr, message.c_str(), tree, pointers.size(),
                                pointers.data()),
              0);
    git_reference* reference = nullptr;
    git_reference_create(&reference, repository_, ref.c_str(), &id, 1, "");
    git_reference_free(reference);
    for (git_commit* c : parent_commits) git_commit_free(c);
    git_signature_free(who);
    git_tree_free(tree);
    return id;
  }

 private:
  git_repository* repository_ = nullptr;
  git_odb* odb_ = nullptr;
  int clock_ = 0;
};

using Files = std::map<std::string, std::string>;

Files with(Files files, const Files& more) {
  for (const auto& [k, v] : more) files[k] = v;
  return files;
}

Files record(const std::string& folder, const std::string& mark) {
  return {{folder + "/README.md", mark},
          {folder + "/submission.json", "{\"name\": \"" + mark + "\"}"},
          {folder + "/train_gpt.py", "import " + mark},
          {folder + "/train.log", "seed:1\n"}};
}

std::string chosen(const std::string& repository, const std::string& ref) {
  auto r = GitRepository::open(repository, "");
  EXPECT_TRUE(r) << r.error().message();
  auto folder = (*r)->folder(ref, "");
  return folder ? (*folder)->path() : folder.error().message();
}

TEST(GitFolder, TheFolderAReferenceAddsIsChosen) {
  TemporaryDirectory dir;
  TestRepository repo(dir.path());
  const Files base = with({{"train_gpt.py", "base"}, {"README.md", "base"}},
                          record("records/track_10min_16mb/2026-03-17_Base", "base"));
  const git_oid root = repo.commit("refs/heads/main", base, {}, "start");
  repo.commit("refs/pull/1/head", with(base, record("records/track_10min_16mb/2026-03-20_New one", "x")), {root},
              "Add");
  EXPECT_EQ(chosen(dir.path(), "refs/pull/1/head"), "records/track_10min_16mb/2026-03-20_New one");
  auto r = GitRepository::open(dir.path(), "");
  auto folder = (*r)->folder("refs/pull/1/head", "");
  ASSERT_TRUE(folder);
  EXPECT_EQ((*folder)->files().size(), 4u);
  EXPECT_EQ(*(*folder)->read(*find(**folder, "train_gpt.py")), "import x");
}

TEST(GitFolder, AMergedHeadIsComparedWithTheFirstParentOfItsMerge) {
  TemporaryDirectory dir;
  TestRepository repo(dir.path());
  const Files base = record("records/t/a", "base");
  const git_oid root = repo.commit("refs/heads/main", base, {}, "start");
  const Files head = with(with(base, record("records/t/2026-03-19_MixedQuant_SlidingWindow", "mine")),
                          record("records/t/2026-03-19_smeargate", "other"));
  const git_oid merged = repo.commit("refs/pull/2/head", head, {root}, "smeargate");
  repo.commit("refs/heads/main", head, {root, merged},
              "Merge pull request #2\n\nRecord: Mixed Quant + Sliding Window\n");
  EXPECT_EQ(chosen(dir.path(), "refs/pull/2/head"), "records/t/2026-03-19_MixedQuant_SlidingWindow")
      << "the title of the merge decides";
}

TEST(GitFolder, SomebodyElsesRecordCarriedAlongIsNotChosen) {
  TemporaryDirectory dir;
  TestRepository repo(dir.path());
  const Files base = record("records/t/a", "base");
  const git_oid root = repo.commit("refs/heads/main", base, {}, "start");
  const Files copied = with(base, record("records/t/z_merged_meanwhile", "theirs"));
  repo.commit("refs/heads/main", copied, {root}, "their record");
  repo.commit("refs/pull/3/head", with(copied, record("records/t/b_mine", "mine")), {root}, "both");
  EXPECT_EQ(chosen(dir.path(), "refs/pull/3/head"), "records/t/b_mine");
}

TEST(GitFolder, AnAbsentBlobAndALinkAreStatesOfTheirOwn) {
  TemporaryDirectory dir;
  TestRepository repo(dir.path());
  const git_oid root = repo.commit("refs/heads/main", {{"x", "y"}}, {}, "start");
  repo.commit("refs/pull/4/head",
              with(record("records/t/a", "m"),
                   {{"records/t/a/model.ptz", "ABSENT"}, {"records/t/a/l.log", "LINK ../../../secret"}}),
              {root}, "a");
  auto r = GitRepository::open(dir.path(), "");
  auto folder = (*r)->folder("refs/pull/4/head", "");
  ASSERT_TRUE(folder) << folder.error().message();
  EXPECT_EQ(find(**folder, "model.ptz")->state, FileState::kAbsent);
  EXPECT_EQ(find(**folder, "l.log")->state, FileState::kLink);
  EXPECT_FALSE((*folder)->read(*find(**folder, "model.ptz")));
}

TEST(GitFolder, WhatIsMissingIsNamed) {
  TemporaryDirectory dir;
  EXPECT_EQ(GitRepository::open(dir.path(), "").error().code, Errc::kNoInput);
  TestRepository repo(dir.path());
  const git_oid root = repo.commit("refs/heads/main", {{"x", "y"}}, {}, "start");
  auto r = GitRepository::open(dir.path(), "");
  ASSERT_TRUE(r);
  EXPECT_EQ((*r)->folder("refs/pull/9/head", "").error().code, Errc::kNoInput);
  EXPECT_EQ((*r)->folder("main", "records/none").error().code, Errc::kNoInput);
  repo.commit("refs/pull/5/head", {{"x", "y"}}, {root}, "nothing");
  EXPECT_EQ((*r)->folder("refs/pull/5/head", "").error().code, Errc::kData);
  EXPECT_EQ(GitRepository::open(dir.path(), "no-such").error().code, Errc::kNoInput);
}

}  // namespace
}  // namespace fairway::audit
