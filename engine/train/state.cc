#include "engine/train/state.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/base/file.h"
#include "kernels/cpu/parallel.h"
#include "kernels/numerics_edition.h"

namespace fairway::train {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are written as they lie in memory");

constexpr size_t kPieceBytes = size_t{1} << 20;
constexpr char kMagic[9] = "FWSTATE1";
constexpr size_t kPreambleBytes = 16;

std::vector<optim::StateTensor> all_tensors(model::Gpt& model, optim::Optimizer& optimizer) {
  std::vector<optim::StateTensor> tensors;
  for (auto& p : model.parameters()) tensors.push_back({p->name(), p->values()});
  for (auto& s : optimizer.state()) tensors.push_back(s);
  return tensors;
}

Error damaged(const std::string& path, const char* what) {
  return Error{Errc::kData, path, fmt::format("{}; delete it to start again", what)};
}

}  // namespace

Digest state_root(model::Gpt& model, optim::Optimizer& optimizer, int64_t completed_steps) {
  const auto tensors = all_tensors(model, optimizer);
  std::string header = fmt::format("fairway-state-1\n{}\n", completed_steps);
  std::vector<std::span<const std::byte>> pieces;
  for (const auto& t : tensors) {
    header += fmt::format("{} {}\n", t.name, t.values.size());
    auto bytes = std::as_bytes(t.values);
    for (size_t at = 0; at < bytes.size(); at += kPieceBytes) pieces.push_back(bytes.subspan(at, std::min(kPieceBytes, bytes.size() - at)));
  }
  std::vector<Digest> leaves(pieces.size() + 1);
  leaves[0] = merkle_leaf(std::as_bytes(std::span<const char>(header)));
  kernels::parallel_for(static_cast<int64_t>(pieces.size()), [&](int64_t i) {
    leaves[static_cast<size_t>(i) + 1] = merkle_leaf(pieces[static_cast<size_t>(i)]);
  });
  return merkle_root(leaves);
}

Status write_state(const std::string& path, const Digest& config_sha256, model::Gpt& model, optim::Optimizer& optimizer,
                   const Progress& progress) {
  const auto tensors = all_tensors(model, optimizer);
  nlohmann::json header;
  header["config_sha256"] = hex(config_sha256);
  header["numerics"] = kNumericsEdition;
  header["seed"] = std::to_string(progress.seed);
  header["completed_steps"] = progress.completed_steps;
  header["elapsed_ms"] = progress.elapsed_ms;
  header["multipliers"] = progress.multipliers.size();
  header["commitments"] = nlohmann::json::array();
  for (const Commitment& c : progress.commitments) header["commitments"].push_back({{"step", c.step}, {"root", hex(c.root)}});
  header["tensors"] = nlohmann::json::array();
  for (const auto& t : tensors) header["tensors"].push_back({{"name", t.name}, {"count", t.values.size()}});
  const std::string text = header.dump();

  FAIRWAY_ASSIGN(AtomicFile file, AtomicFile::create(path));
  Sha256 digest;
  auto write = [&](std::span<const std::byte> bytes) -> Status {
    digest.update(bytes);
    return file.write(bytes);
  };
  std::byte preamble[kPreambleBytes];
  std::memcpy(preamble, kMagic, 8);
  const uint64_t size = text.size();
  std::memcpy(preamble + 8, &size, 8);
  FAIRWAY_TRY(write(preamble));
  FAIRWAY_TRY(write(std::as_bytes(std::span<const char>(text))));
  FAIRWAY_TRY(write(std::as_bytes(std::span<const double>(progress.multipliers))));
  for (const auto& t : tensors) FAIRWAY_TRY(write(std::as_bytes(t.values)));
  const Digest end = digest.finish();
  FAIRWAY_TRY(file.write(std::as_bytes(std::span<const uint8_t>(end))));
  return file.commit();
}

Result<Progress> read_state(const std::string& path, const Digest& config_sha256, uint64_t seed, model::Gpt& model,
                            optim::Optimizer& optimizer) {
  FAIRWAY_ASSIGN(MappedFile file, MappedFile::open(path));
  const auto bytes = file.bytes();
  if (bytes.size() < kPreambleBytes + 32 || std::memcmp(bytes.data(), kMagic, 8) != 0) {
    return damaged(path, "not a state file of this version");
  }
  const auto body = bytes.first(bytes.size() - 32);
  const Digest digest = sha256(body);
  if (std::memcmp(digest.data(), bytes.data() + body.size(), 32) != 0) {
    return damaged(path, "the state file is damaged (its SHA-256 does not match)");
  }
  uint64_t header_size = 0;
  std::memcpy(&header_size, body.data() + 8, 8);
  if (header_size > body.size() - kPreambleBytes) return damaged(path, "the state file is damaged (header size)");
  Progress progress;
  try {
    const char* text = reinterpret_cast<const char*>(body.data()) + kPreambleBytes;
    const nlohmann::json header = nlohmann::json::parse(text, text + header_size);
    if (header.at("config_sha256").get<std::string>() != hex(config_sha256)) {
      return Error{Errc::kData, path, "this state belongs to another fairway.toml; delete it or use another --out"};
    }
    if (header.at("numerics") != kNumericsEdition) {
      return Error{Errc::kData, path, "this state was made under another edition of the numerics; delete it to start again"};
    }
    progress.seed = std::stoull(header.at("seed").get<std::string>());
    if (progress.seed != seed) return Error{Errc::kData, path, fmt::format("this state is of seed {}, not {}", progress.seed, seed)};
    progress.completed_steps = header.at("completed_steps").get<int64_t>();
    progress.elapsed_ms = header.at("elapsed_ms").get<int64_t>();
    const auto multipliers = header.at("multipliers").get<uint64_t>();
    if (progress.completed_steps < 0 || multipliers != static_cast<uint64_t>(progress.completed_steps) || multipliers > body.size() / sizeof(double)) {
      return damaged(path, "the state file does not hold one multiplier per step");
    }
    progress.multipliers.resize(multipliers);
    for (const auto& c : header.at("commitments")) {
      const auto root = digest_from_hex(c.at("root").get_ref<const std::string&>());
      if (!root) return damaged(path, "the state file holds a malformed digest");
      progress.commitments.push_back({c.at("step").get<int64_t>(), *root});
    }
    const auto tensors = all_tensors(model, optimizer);
    const auto& listed = header.at("tensors");
    uint64_t expected = kPreambleBytes + header_size + progress.multipliers.size() * sizeof(double);
    bool same = listed.size() == tensors.size();
    for (size_t i = 0; same && i < tensors.size(); ++i) {
      same = listed[i].at("name") == tensors[i].name && listed[i].at("count") == tensors[i].values.size();
      expected += tensors[i].values.size() * sizeof(float);
    }
    if (!same || expected != body.size()) return damaged(path, "the state file does not hold this model's tensors");
    size_t at = kPreambleBytes + header_size;
    // std::ranges::copy, since multipliers and tensors may be empty and memcpy takes no null pointer.
    const auto take = [&](std::span<std::byte> to) {
      std::ranges::copy(std::span(body).subspan(at, to.size()), to.begin());
      at += to.size();
    };
    take(std::as_writable_bytes(std::span(progress.multipliers)));
    for (const auto& t : tensors) take(std::as_writable_bytes(t.values));
  } catch (const std::exception&) {
    return damaged(path, "the state file's header cannot be read");
  }
  for (auto& p : model.parameters()) p->changed();
  return progress;
}

}  // namespace fairway::train
