#include "verifier/stats/units.h"

#include <fmt/format.h>

#include <numbers>

namespace fairway::stats {

Result<Unit> parse_unit(const std::string& name) {
  if (name == "bpb") return Unit::kBpb;
  if (name == "nats-per-token") return Unit::kNatsPerToken;
  if (name == "nats-per-byte") return Unit::kNatsPerByte;
  return Error{Errc::kUsage, "--unit", fmt::format("no unit \"{}\"; nats-per-token, nats-per-byte or bpb", name)};
}

const char* unit_name(Unit unit) {
  switch (unit) {
    case Unit::kBpb:
      return "bpb";
    case Unit::kNatsPerToken:
      return "nats/token";
    case Unit::kNatsPerByte:
      return "nats/byte";
  }
  return "";
}

double to_bpb(double value, Unit unit, double bytes_per_token) { return value / from_bpb(1.0, unit, bytes_per_token); }

double from_bpb(double bpb, Unit unit, double bytes_per_token) {
  switch (unit) {
    case Unit::kBpb:
      return bpb;
    case Unit::kNatsPerToken:
      return bpb * std::numbers::ln2 * bytes_per_token;
    case Unit::kNatsPerByte:
      return bpb * std::numbers::ln2;
  }
  return bpb;
}

std::span<const Split> splits() {
  static const Split kSplits[] = {
      {"sp1024", 151080363.0 / 62021632.0, "1,024 pieces, 62,021,632 predictions"},
      {"sp1024-first", 2.442304, "1,024 pieces, the first export of 63,779,840 predictions, of the baseline's record"},
      {"sp4096", 3.319681, "4,096 pieces, 45,508,608 predictions"},
      {"sp8192", 3.726631, "8,192 pieces, 40,540,160 predictions"},
      {"sp8192-caseops", 3.157357, "8,192 pieces after a lossless case transform, 47,851,520 predictions"},
  };
  return kSplits;
}

Result<Split> find_split(std::string_view name) {
  std::string names;
  for (const Split& s : splits()) {
    if (name == s.name) return s;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", s.name);
  }
  return Error{Errc::kUsage, "--split", fmt::format("no split \"{}\"; {}", name, names)};
}

}  // namespace fairway::stats
