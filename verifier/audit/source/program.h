/// The Python sources of a folder as one program: files, functions, classes, names.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "verifier/audit/source/syntax.h"

namespace fairway::audit::source {

struct Parameter {
  int name = -1;
  int32_t default_node = kNoNode;
  bool rest = false;      ///< *args or **kwargs
  bool keywords = false;  ///< **kwargs
};

struct Function {
  int file = -1;
  int32_t node = kNoNode, body = kNoNode;
  int name = -1;
  int class_index = -1;
  bool no_grad = false;  ///< decorated with torch.no_grad or inference_mode
  std::vector<Parameter> parameters;
};

struct Class {
  int file = -1;
  int32_t node = kNoNode, body = kNoNode;
  int name = -1;
  std::vector<std::string> bases;
  std::unordered_map<int, int> methods;
  bool is_module = false;  ///< a torch.nn.Module
  bool dataclass = false;
};

struct Unit {
  const SourceFile* source = nullptr;
  Tree tree;
  std::string module;  ///< the name it is imported under
  bool entry = false;  ///< run as a script for the reported score
  bool has_main = false;
  bool loaded = false;
  std::vector<int> names;  ///< per node: interned identifier, or -1
};

class Program {
 public:
  /// Parses the scripts that are run; other files when `load` asks for them.
  explicit Program(const std::vector<SourceFile>& sources);
  /// Parses that file, once.
  void load(int file);

  const std::vector<Unit>& units() const { return units_; }
  const std::deque<Function>& functions() const { return functions_; }
  const std::deque<Class>& classes() const { return classes_; }
  /// Index of the function (class) defined at that node, or -1.
  int function_at(int file, int32_t node) const;
  int class_at(int file, int32_t node) const;
  int unit_named(std::string_view module) const;

  int intern(std::string_view text);
  const std::string& name(int id) const { return texts_[static_cast<size_t>(id)]; }

  /// Functions, in any class or none, of that name.
  const std::vector<int>& functions_named(int name) const;

 private:
  void collect(int file, int32_t node, int class_index);

  std::vector<Unit> units_;
  std::deque<Function> functions_;  ///< grow while they are used: references stay valid
  std::deque<Class> classes_;
  std::vector<std::unordered_map<int32_t, int>> function_nodes_, class_nodes_;
  std::unordered_map<int, std::vector<int>> by_name_;
  std::unordered_map<std::string, int> ids_;
  std::vector<std::string> texts_;
};

}  // namespace fairway::audit::source
