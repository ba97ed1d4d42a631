/// Where a command takes a model's parameters from: --artifact, --weights or --init.
#pragma once

#include "engine/model/gpt.h"
#include "verifier/cli/command.h"

namespace fairway::cli {

void add_model_options(Parser& parser);
/// Error kUsage unless exactly one of the three is given.
Status one_model_source(const boost::program_options::variables_map& v);
/// The parameters from wherever the command line says. Returns the digest of the artifact's container, zeros without one.
Result<Digest> load_model(const boost::program_options::variables_map& v, const submission::Submission& s, model::Gpt& model);

}  // namespace fairway::cli
