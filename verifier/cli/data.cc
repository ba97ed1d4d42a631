#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "engine/data/byte_accounting.h"
#include "engine/data/shard.h"
#include "engine/data/tokenize.h"
#include "engine/data/tokenizer.h"
#include "verifier/cli/command.h"

namespace fairway::cli {
namespace {

namespace po = boost::program_options;

ExitCode tokenize(const Arguments& arguments) {
  Parser parser("fairway data tokenize TEXT --model X.model --out DIR [options]",
                "Turns a text into token shards (<prefix>_train_*.bin and <prefix>_val_*.bin), each document as BOS + its tokens.\n"
                "A text is one document unless --separator or --jsonl says otherwise. Say what becomes validation data with one of\n"
                "--val-documents, --val-fraction, --val-tokens.");
  parser.positional("TEXT", "text file");
  parser.options().add_options()
      ("model", po::value<std::string>()->required(), "SentencePiece model")
      ("out", po::value<std::string>()->required(), "folder to make; must not exist or be empty")
      ("prefix", po::value<std::string>()->default_value("corpus"), "start of the shards' names")
      ("separator", po::value<std::string>(), "a line equal to this separates documents")
      ("jsonl", "one JSON object with a field `text` per line")
      ("val-documents", po::value<int64_t>(), "the first so many documents are for validation")
      ("val-fraction", po::value<double>(), "the first part of the documents, at least one")
      ("val-tokens", po::value<int64_t>(), "the first so many tokens");
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  if (v.count("separator") != 0 && v.count("jsonl") != 0) return Error{Errc::kUsage, "--separator", "cannot be combined with --jsonl"};
  data::TokenizeOptions options;
  options.prefix = v["prefix"].as<std::string>();
  if (v.count("separator") != 0) options.format = data::DocumentFormat::separated_by(v["separator"].as<std::string>());
  if (v.count("jsonl") != 0) options.format = data::DocumentFormat::jsonl();
  if (v.count("val-documents") != 0) options.val_documents = v["val-documents"].as<int64_t>();
  if (v.count("val-fraction") != 0) options.val_fraction = v["val-fraction"].as<double>();
  if (v.count("val-tokens") != 0) options.val_tokens = v["val-tokens"].as<int64_t>();
  FAIRWAY_ASSIGN(auto counts, data::tokenize_corpus(v["TEXT"].as<std::string>(), v["model"].as<std::string>(), v["out"].as<std::string>(), options));
  for (const auto& [name, c] : {std::pair{"train", counts.train}, std::pair{"val", counts.val}}) {
    std::fputs(fmt::format("{}: {} documents, {} tokens, {} bytes\n", name, c.documents, c.tokens, c.bytes).c_str(), stdout);
  }
  return 0;
}

ExitCode train_tokenizer(const Arguments& arguments) {
  Parser parser("fairway data train-tokenizer TEXT --vocab-size N --out PREFIX",
                "Trains a SentencePiece BPE model with the challenge's settings and writes PREFIX.model; every line of the text is a sentence.\n"
                "One thread, so it is repeatable with one version of SentencePiece; other versions may give other bytes.");
  parser.positional("TEXT", "text file");
  parser.options().add_options()("vocab-size", po::value<int32_t>()->default_value(1024), "pieces, 260 or more")
      ("out", po::value<std::string>()->required(), "path without extension");
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  const std::vector<std::string> texts = {v["TEXT"].as<std::string>()};
  FAIRWAY_TRY(data::train_tokenizer(texts, data::DocumentFormat::lines(), v["vocab-size"].as<int32_t>(), v["out"].as<std::string>()));
  FAIRWAY_ASSIGN(auto tokenizer, data::Tokenizer::load(v["out"].as<std::string>() + ".model"));
  std::fputs(fmt::format("{}.model: {} pieces\n", v["out"].as<std::string>(), tokenizer.vocab_size()).c_str(), stdout);
  return 0;
}

ExitCode inspect(const Arguments& arguments) {
  Parser parser("fairway data inspect SHARD [--vocab-size N]", "Checks a token shard and prints its tokens, documents and SHA-256.");
  parser.positional("SHARD", ".bin file");
  parser.options().add_options()("vocab-size", po::value<int32_t>()->default_value(65536), "largest id + 1 allowed");
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  const std::string path = v["SHARD"].as<std::string>();
  const int32_t vocab = v["vocab-size"].as<int32_t>();
  if (vocab < 1 || vocab > data::kMaxVocabSize) return Error{Errc::kUsage, "--vocab-size", "must be from 1 to 65536"};
  FAIRWAY_ASSIGN(auto shard, data::Shard::open(path, vocab));
  std::vector<uint16_t> tokens(1 << 16);
  int64_t documents = 0;
  uint16_t largest = 0;
  for (int64_t at = 0; at < shard.token_count(); at += static_cast<int64_t>(tokens.size())) {
    auto part = std::span(tokens).first(static_cast<size_t>(std::min<int64_t>(shard.token_count() - at, static_cast<int64_t>(tokens.size()))));
    FAIRWAY_TRY(shard.read(at, part));
    for (uint16_t t : part) {
      documents += t == 1 ? 1 : 0;
      largest = std::max(largest, t);
    }
  }
  FAIRWAY_ASSIGN(Digest digest, sha256_file(path));
  std::fputs(fmt::format("{}: {} tokens, {} documents (BOS), largest id {}, sha256 {}\n", path, shard.token_count(), documents, largest, hex(digest)).c_str(), stdout);
  return 0;
}

}  // namespace

ExitCode run_data(const Arguments& arguments) {
  const std::vector<Command> list = {{"tokenize", "text to token shards", tokenize},
                                     {"train-tokenizer", "text to a SentencePiece model", train_tokenizer},
                                     {"inspect", "check one shard", inspect}};
  if (!arguments.empty()) {
    for (const Command& c : list) {
      if (arguments[0] == c.name) return c.run({arguments.begin() + 1, arguments.end()});
    }
  }
  std::string overview = "Usage: fairway data COMMAND [arguments]\n\n";
  for (const Command& c : list) overview += fmt::format("  {:<16} {}\n", c.name, c.summary);
  if (!arguments.empty() && (arguments[0] == "--help" || arguments[0] == "-h")) {
    std::fputs(overview.c_str(), stdout);
    return 0;
  }
  return Error{Errc::kUsage, "", arguments.empty() ? "which? tokenize, train-tokenizer or inspect" : fmt::format("no command \"{}\"; tokenize, train-tokenizer or inspect", arguments[0])};
}

}  // namespace fairway::cli
