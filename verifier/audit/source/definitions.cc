#include "verifier/audit/source/interpreter.h"

namespace fairway::audit::source {

void Interpreter::define_class(int32_t node) {
  const int index = program_.class_at(file_, node);
  if (index < 0) return;
  const Class& cls = program_.classes()[static_cast<size_t>(index)];
  Value value;
  value.kind = Value::Kind::kClass;
  value.index = index;
  // Class attributes are those of a shared object; its settings may be logged under the attribute's name.
  value.receiver = static_cast<int>(objects_.size());
  objects_.push_back({});
  const int object = value.receiver;
  if (!cls.is_module && cls.body != kNoNode) {
    const int outer = frame_;
    const bool outer_read = environment_read_;
    environment_read_ = false;
    frame_ = static_cast<int>(frames_.size());
    frames_.push_back({});
    frames_.back().file = file_;
    frames_.back().lexical = outer;
    frames_.back().class_body = true;
    block(cls.body);
    Object& made = objects_[static_cast<size_t>(object)];
    made.class_index = index;
    for (auto& [name, attribute] : frames_[static_cast<size_t>(frame_)].variables) {
      if (attribute.kind != Value::Kind::kFunction) made.attributes[name] = attribute;
    }
    const std::string& text = cls.name < 0 ? std::string() : program_.name(cls.name);
    made.settings = environment_read_ || contains_lower(text, "hyper") || contains_lower(text, "config") ||
                    contains_lower(text, "args");
    environment_read_ = outer_read;
    frame_ = outer;
  }
  if (cls.name >= 0) set(cls.name, value);
}

void Interpreter::import_statement(int32_t node) {
  const bool from = tree()[node].kind == NodeKind::kImportFrom;
  int unit = -1;
  int32_t module = kNoNode;
  if (from) {
    module = tree().child(node, Field::kModuleName);
    if (module == kNoNode) return;
    std::string_view name = text(module);
    name = name.substr(name.rfind('.') == name.npos ? 0 : name.rfind('.') + 1);
    unit = program_.unit_named(name);
    if (unit < 0) return;
    run_unit(unit, false);
  }
  for (int32_t at : tree().children(node)) {
    if (at == module) continue;
    int32_t named = at;
    std::string_view alias;
    if (tree()[at].kind == NodeKind::kAliasedImport) {
      named = tree().child(at, Field::kName);
      if (const int32_t a = tree().child(at, Field::kAlias); a != kNoNode) alias = text(a);
      if (named == kNoNode) continue;
    }
    if (tree()[named].kind != NodeKind::kDottedName && tree()[at].kind != NodeKind::kAliasedImport) {
      if (from && text(at) == "*" && unit_frames_[static_cast<size_t>(unit)] != -1) {
        const auto all = frames_[static_cast<size_t>(unit_frames_[static_cast<size_t>(unit)])].variables;
        for (const auto& [name, value] : all) set(name, value);
      }
      continue;
    }
    std::string_view name = text(named);
    if (from) {
      const int frame = unit_frames_[static_cast<size_t>(unit)];
      const auto& variables = frames_[static_cast<size_t>(frame)].variables;
      if (auto found = variables.find(program_.intern(name)); found != variables.end()) {
        const Value value = found->second;
        set(program_.intern(alias.empty() ? name : alias), value);
      }
      continue;
    }
    const int imported = program_.unit_named(name.substr(name.rfind('.') == name.npos ? 0 : name.rfind('.') + 1));
    if (imported < 0) continue;
    run_unit(imported, false);
    Value value;
    value.kind = Value::Kind::kModule;
    value.index = imported;
    set(program_.intern(alias.empty() ? name : alias), value);
  }
}

int Interpreter::method_of(int class_index, int name) const {
  for (int guard = 0; class_index >= 0 && guard < 16; ++guard) {
    const Class& cls = program_.classes()[static_cast<size_t>(class_index)];
    if (auto found = cls.methods.find(name); found != cls.methods.end()) return found->second;
    int base = -1;
    for (const std::string& text : cls.bases) {
      for (size_t i = 0; i < program_.classes().size(); ++i) {
        const int id = program_.classes()[i].name;
        if (id >= 0 && program_.name(id) == text && static_cast<int>(i) != class_index) base = static_cast<int>(i);
      }
    }
    class_index = base;
  }
  return -1;
}

}  // namespace fairway::audit::source
