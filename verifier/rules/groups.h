/// The entries of the registry, one table a group of checks; rules.h puts them together.
#pragma once

#include <span>

#include "verifier/rules/rules.h"

namespace fairway::verifier {

std::span<const Rule> record_rules();    ///< structure, artifact, time, score, data, evidence, stats
std::span<const Rule> legality_rules();  ///< legality.*
std::span<const Rule> replay_rules();    ///< replay.*
std::span<const Rule> ledger_rules();    ///< ledger.*
std::span<const Rule> causality_rules();  ///< trace.*, probe.*

}  // namespace fairway::verifier
