/// Ownership of libgit2's objects.
#pragma once

#include <git2.h>

#include <memory>
#include <string>

namespace fairway::audit {

template <auto kFree>
struct GitFree {
  template <class T>
  void operator()(T* p) const {
    kFree(p);
  }
};
template <class T, auto kFree>
using GitHandle = std::unique_ptr<T, GitFree<kFree>>;

using Repository = GitHandle<git_repository, git_repository_free>;
using Odb = GitHandle<git_odb, git_odb_free>;
using OdbObject = GitHandle<git_odb_object, git_odb_object_free>;
using Commit = GitHandle<git_commit, git_commit_free>;
using Object = GitHandle<git_object, git_object_free>;
using Tree = GitHandle<git_tree, git_tree_free>;
using TreeEntry = GitHandle<git_tree_entry, git_tree_entry_free>;
using Revwalk = GitHandle<git_revwalk, git_revwalk_free>;
using Diff = GitHandle<git_diff, git_diff_free>;

/// What libgit2 says about its last failure on this thread.
inline std::string git_problem() {
  const git_error* e = git_error_last();
  return e != nullptr && e->message != nullptr ? e->message : "unknown git error";
}

}  // namespace fairway::audit
