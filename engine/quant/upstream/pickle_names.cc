#include "engine/quant/upstream/pickle_names.h"

#include <fmt/format.h>

#include <vector>

namespace fairway::quant::upstream {
namespace {

struct Allowed {
  const char* name;
  PickleValue value;
};

const std::vector<Allowed>& allowed_globals() {
  static const std::vector<Allowed> list = {
      {"collections.OrderedDict", Global::kOrderedDict},
      {"torch._utils._rebuild_tensor_v2", Global::kRebuildTensor},
      {"torch.DoubleStorage", StorageType{Dtype::kFloat64}},
      {"torch.FloatStorage", StorageType{Dtype::kFloat32}},
      {"torch.HalfStorage", StorageType{Dtype::kFloat16}},
      {"torch.BFloat16Storage", StorageType{Dtype::kBfloat16}},
      {"torch.LongStorage", StorageType{Dtype::kInt64}},
      {"torch.IntStorage", StorageType{Dtype::kInt32}},
      {"torch.ShortStorage", StorageType{Dtype::kInt16}},
      {"torch.CharStorage", StorageType{Dtype::kInt8}},
      {"torch.ByteStorage", StorageType{Dtype::kUint8}},
      {"torch.BoolStorage", StorageType{Dtype::kBool}},
  };
  return list;
}

// All opcodes of protocols 0 to 5, for the message that refuses one.
constexpr struct {
  uint8_t code;
  const char* name;
} kOpcodes[] = {{'(', "MARK"},
                {'.', "STOP"},
                {'0', "POP"},
                {'1', "POP_MARK"},
                {'2', "DUP"},
                {'F', "FLOAT"},
                {'I', "INT"},
                {'J', "BININT"},
                {'K', "BININT1"},
                {'L', "LONG"},
                {'M', "BININT2"},
                {'N', "NONE"},
                {'P', "PERSID"},
                {'Q', "BINPERSID"},
                {'R', "REDUCE"},
                {'S', "STRING"},
                {'T', "BINSTRING"},
                {'U', "SHORT_BINSTRING"},
                {'V', "UNICODE"},
                {'X', "BINUNICODE"},
                {'a', "APPEND"},
                {'b', "BUILD"},
                {'c', "GLOBAL"},
                {'d', "DICT"},
                {'}', "EMPTY_DICT"},
                {'e', "APPENDS"},
                {'g', "GET"},
                {'h', "BINGET"},
                {'i', "INST"},
                {'j', "LONG_BINGET"},
                {'l', "LIST"},
                {']', "EMPTY_LIST"},
                {'o', "OBJ"},
                {'p', "PUT"},
                {'q', "BINPUT"},
                {'r', "LONG_BINPUT"},
                {'s', "SETITEM"},
                {'t', "TUPLE"},
                {')', "EMPTY_TUPLE"},
                {'u', "SETITEMS"},
                {'G', "BINFLOAT"},
                {0x80, "PROTO"},
                {0x81, "NEWOBJ"},
                {0x82, "EXT1"},
                {0x83, "EXT2"},
                {0x84, "EXT4"},
                {0x85, "TUPLE1"},
                {0x86, "TUPLE2"},
                {0x87, "TUPLE3"},
                {0x88, "NEWTRUE"},
                {0x89, "NEWFALSE"},
                {0x8a, "LONG1"},
                {0x8b, "LONG4"},
                {'B', "BINBYTES"},
                {'C', "SHORT_BINBYTES"},
                {0x8c, "SHORT_BINUNICODE"},
                {0x8d, "BINUNICODE8"},
                {0x8e, "BINBYTES8"},
                {0x8f, "EMPTY_SET"},
                {0x90, "ADDITEMS"},
                {0x91, "FROZENSET"},
                {0x92, "NEWOBJ_EX"},
                {0x93, "STACK_GLOBAL"},
                {0x94, "MEMOIZE"},
                {0x95, "FRAME"},
                {0x96, "BYTEARRAY8"},
                {0x97, "NEXT_BUFFER"},
                {0x98, "READONLY_BUFFER"}};

constexpr struct {
  const char* name;
  uint64_t size_bytes;
} kDtypes[] = {{"float64", 8}, {"float32", 4}, {"float16", 2}, {"bfloat16", 2}, {"int64", 8},
               {"int32", 4},   {"int16", 2},   {"int8", 1},    {"uint8", 1},    {"bool", 1}};

}  // namespace

std::string opcode_name(uint8_t code) {
  for (const auto& entry : kOpcodes) {
    if (entry.code == code) return entry.name;
  }
  return fmt::format("0x{:02x}", code);
}

std::optional<PickleValue> allowed_global(const std::string& name) {
  for (const Allowed& allowed : allowed_globals()) {
    if (name == allowed.name) return allowed.value;
  }
  return {};
}

const char* dtype_name(Dtype dtype) { return kDtypes[static_cast<size_t>(dtype)].name; }
uint64_t dtype_size_bytes(Dtype dtype) { return kDtypes[static_cast<size_t>(dtype)].size_bytes; }

}  // namespace fairway::quant::upstream
