/// `fairway ledger`: the subcommands that read a log.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/base/canonical_json.h"
#include "engine/base/progress.h"
#include "ledger/base64.h"
#include "ledger/entry.h"
#include "ledger/fsck.h"
#include "ledger/proof.h"
#include "ledger/store.h"
#include "verifier/cli/ledger.h"

namespace fairway::cli {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;
using ledger::TileStore;
using verifier::Verdict;

/// A proof is tried on the checkpoint before anybody gets it: a damaged tile must not turn into a false proof.
Result<std::string> inclusion_file(TileStore& store, const ledger::Checkpoint& checkpoint, uint64_t index) {
  FAIRWAY_ASSIGN(auto entry, store.entry(index));
  FAIRWAY_ASSIGN(auto hashes, ledger::inclusion_proof(store, index, store.size()));
  const Status holds =
      ledger::verify_inclusion(ledger::leaf_hash(entry), index, store.size(), hashes, checkpoint.head.root);
  if (!holds) {
    return Error{Errc::kData, store.bundle_file(index / ledger::kTileWidth),
                 fmt::format("entry {} does not prove: {}; run `fairway ledger fsck`", index, holds.error().what)};
  }
  return format_proof(ledger::InclusionProof{std::move(entry), index, std::move(hashes), checkpoint});
}

/// Indices of the entries that name a file of this digest as a subject.
Result<std::vector<uint64_t>> entries_about(TileStore& store, const std::string& digest) {
  std::vector<uint64_t> found;
  for (uint64_t n = 0; n * ledger::kTileWidth < store.size(); ++n) {
    FAIRWAY_ASSIGN(const auto bytes, store.bundle(n));
    ledger::BundleReader reader(bytes, store.bundle_file(n));
    for (uint64_t index = n * ledger::kTileWidth;; ++index) {
      FAIRWAY_ASSIGN(const auto entry, reader.next());
      if (!entry) break;
      const auto envelope = ledger::parse_envelope(*entry, "");
      const auto value = envelope ? parse_json(envelope->payload, "") : Result<nlohmann::json>(envelope.error());
      const auto statement = value ? ledger::statement_from_json(*value, "") : Result<ledger::Statement>(value.error());
      if (!statement) continue;  // fsck --statements says what is wrong with it
      for (const auto& subject : statement->subjects) {
        if (hex(subject.sha256) != digest) continue;
        found.push_back(index);
        break;
      }
    }
  }
  return found;
}

/// Adds the outcome of a step that is either true or disproved; other errors end the command.
Status add_outcome(verifier::Report& report, const char* id, const Status& status, std::string passed) {
  if (!status && status.error().code != Errc::kDisproved) return status;
  report.add(id, status ? Verdict::kPass : Verdict::kFail, status ? std::move(passed) : status.error().what);
  return {};
}

template <class T>
Status status_of(const Result<T>& result) {
  return result ? Status() : Status(result.error());
}

std::string signers(const ledger::Trust& trust) {
  if (trust.cosigned.empty()) return fmt::format("signed by {}", trust.log.name);
  std::vector<std::string> names;
  for (const auto& [name, time] : trust.cosigned) names.push_back(name);
  return fmt::format("signed by {}, cosigned by {}", trust.log.name, fmt::join(names, ", "));
}

/// What a statement says, in a line.
std::string summary(const ledger::Statement& s) {
  std::string text = fmt::format("{} of {}: {}", s.level, s.submission, s.verdict);
  for (const auto& run : s.runs) text += fmt::format(", seed {} val_bpb {}", run.seed, run.val_bpb);
  return text;
}

Status verify_inclusion_file(const po::variables_map& v, const std::string& text, const std::string& path,
                             const ledger::Policy& policy, verifier::Report& report) {
  FAIRWAY_ASSIGN(const auto proof, ledger::parse_inclusion_proof(text, path));
  std::string entry = proof.extra;
  if (const std::string entry_path = v["entry"].as<std::string>(); !entry_path.empty()) {
    FAIRWAY_ASSIGN(entry, ledger::read_text(entry_path, ledger::kMaxEntryBytes));
  }
  if (entry.empty()) return Error{Errc::kUsage, path, "the proof does not carry its entry; give it with --entry"};
  const auto trusted = ledger::check_policy(policy, proof.checkpoint, path);
  FAIRWAY_TRY(add_outcome(report, "ledger.checkpoint", status_of(trusted), trusted ? signers(*trusted) : ""));
  const auto& head = proof.checkpoint.head;
  FAIRWAY_TRY(
      add_outcome(report, "ledger.inclusion",
                  ledger::verify_inclusion(ledger::leaf_hash(entry), proof.index, head.size, proof.hashes, head.root),
                  fmt::format("entry {} of {}", proof.index, head.size)));
  if (!trusted) {
    report.add("ledger.statement", Verdict::kSkip, "no key of the log to check it with");
    return {};
  }
  FAIRWAY_ASSIGN(const auto key, statement_key(v, trusted->log));
  const auto statement = ledger::read_entry(entry, key, path);
  if (!statement && statement.error().code == Errc::kData) {
    report.add("ledger.statement", Verdict::kFail, statement.error().message());
    return {};
  }
  return add_outcome(report, "ledger.statement", status_of(statement), statement ? summary(*statement) : "");
}

Status verify_consistency_file(const po::variables_map& v, const std::string& text, const std::string& path,
                               const ledger::Policy& policy, verifier::Report& report) {
  FAIRWAY_ASSIGN(const auto proof, ledger::parse_consistency_proof(text, path));
  const std::string old_path = v["old"].as<std::string>();
  if (old_path.empty())
    return Error{Errc::kUsage, path, "is a consistency proof; give the older checkpoint with --old"};
  FAIRWAY_ASSIGN(const auto old_text, ledger::read_text(old_path, ledger::kMaxNoteBytes));
  FAIRWAY_ASSIGN(const auto old, ledger::parse_checkpoint(old_text, old_path));
  // The older checkpoint may have been cosigned by fewer witnesses, or by none: its log's signature is what counts.
  ledger::Policy old_policy = policy;
  old_policy.quorum = "none";
  const auto trusted = ledger::check_policy(policy, proof.checkpoint, path),
             old_trusted = ledger::check_policy(old_policy, old, old_path);
  FAIRWAY_TRY(add_outcome(report, "ledger.checkpoint", status_of(old_trusted),
                          old_trusted ? "the older one: " + signers(*old_trusted) : ""));
  FAIRWAY_TRY(add_outcome(report, "ledger.checkpoint", status_of(trusted), trusted ? signers(*trusted) : ""));
  const auto &a = old.head, &b = proof.checkpoint.head;
  Status consistent = ledger::verify_consistency(a.size, a.root, b.size, b.root, proof.hashes);
  if (a.origin != b.origin)
    consistent = Error{Errc::kDisproved, path, fmt::format("two logs: \"{}\" and \"{}\"", a.origin, b.origin)};
  return add_outcome(report, "ledger.consistency", consistent, fmt::format("{} entries continue {}", b.size, a.size));
}

/// The file a record of the log would be copied as: exactly what its checkpoint names.
Status copy_log(TileStore& store, const std::string& from, const std::string& to) {
  const auto copy = [&](const std::string& name, std::string_view bytes) -> Status {
    FAIRWAY_TRY(make_directories(parent_directory(to + "/" + name)));
    return write_file_atomic(to + "/" + name, bytes);
  };
  const uint64_t size = store.size();
  for (unsigned level = 0; level < ledger::kMaxTileLevels; ++level) {
    for (uint64_t n = 0; ledger::tile_width(level, n, size) > 0; ++n) {
      const unsigned width = ledger::tile_width(level, n, size);
      FAIRWAY_ASSIGN(const auto tile, store.tile(level, n));
      FAIRWAY_TRY(copy(ledger::tile_path(level, n, width), ledger::encode_tile(tile)));
      if (level > 0) continue;
      FAIRWAY_ASSIGN(const auto bundle, store.bundle(n));
      FAIRWAY_TRY(copy(ledger::bundle_path(n, width), bundle));
    }
  }
  FAIRWAY_ASSIGN(const auto vkey, ledger::read_text(from + "/" + ledger::kVkeyName, 4096));
  FAIRWAY_TRY(copy(ledger::kVkeyName, vkey));
  FAIRWAY_ASSIGN(const auto checkpoint, ledger::read_checkpoint(from));
  return copy(ledger::kCheckpointName, checkpoint.text());  // last: a copy without it is no log
}

}  // namespace

ExitCode ledger_prove(const Arguments& arguments) {
  Parser parser("fairway ledger prove DIR (--index N | --subject SHA256 | --all | --from CHECKPOINT) [--out PATH]",
                "Writes proofs against the log's checkpoint.\n"
                "  --index N          that entry is in the log: a C2SP tlog-proof that carries the entry\n"
                "  --subject SHA256   the same for every entry about a file of that digest, into the folder --out\n"
                "  --all              the same for every entry\n"
                "  --from CHECKPOINT  the log still begins with the tree of an older checkpoint; the file is also what "
                "a witness is asked\n"
                "                     with (C2SP tlog-witness, add-checkpoint)\n"
                "`fairway ledger verify` checks them.");
  parser.positional("DIR", "folder of the log");
  parser.options().add_options()("index", po::value<uint64_t>(), "one entry")(
      "subject", po::value<std::string>()->default_value(""), "entries about a file of this SHA-256")(
      "all", "every entry")("from", po::value<std::string>()->default_value(""),
                            "file with the older checkpoint; \"0\": the empty tree")(
      "out", po::value<std::string>()->default_value(""),
      "file (default: standard output), or folder for several proofs");
  add_trust(parser);
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  const std::string directory = v["DIR"].as<std::string>(), subject = v["subject"].as<std::string>(),
                    from = v["from"].as<std::string>(), out = v["out"].as<std::string>();
  if (static_cast<int>(v.count("index")) + (subject.empty() ? 0 : 1) + static_cast<int>(v.count("all")) +
          (from.empty() ? 0 : 1) !=
      1) {
    return Error{Errc::kUsage, "", "give one of --index, --subject, --all and --from"};
  }
  FAIRWAY_ASSIGN(const auto policy, trust(v, directory));
  FAIRWAY_ASSIGN(const auto checkpoint, ledger::read_checkpoint(directory));
  FAIRWAY_ASSIGN(const auto trusted,
                 ledger::check_policy(policy, checkpoint, directory + "/" + ledger::kCheckpointName));
  (void)trusted;
  TileStore store(directory, checkpoint.head.size);
  if (!from.empty()) {
    ledger::TreeHead old{checkpoint.head.origin, 0, ledger::Frontier().root()};
    if (from != "0") {
      FAIRWAY_ASSIGN(const auto text, ledger::read_text(from, ledger::kMaxNoteBytes));
      FAIRWAY_ASSIGN(const auto parsed, ledger::parse_checkpoint(text, from));
      old = parsed.head;
    }
    std::vector<Digest> hashes;
    if (old.size <= checkpoint.head.size) {
      FAIRWAY_ASSIGN(hashes, ledger::consistency_proof(store, old.size, checkpoint.head.size));
    }
    FAIRWAY_TRY(ledger::verify_consistency(old.size, old.root, checkpoint.head.size, checkpoint.head.root, hashes));
    FAIRWAY_TRY(write_output(out, format_proof(ledger::ConsistencyProof{old.size, std::move(hashes), checkpoint})));
    return 0;
  }
  std::vector<uint64_t> indices;
  if (v.count("index") != 0) {
    const uint64_t index = v["index"].as<uint64_t>();
    if (index >= store.size())
      return Error{Errc::kUsage, "--index", fmt::format("the log has {} entries", store.size())};
    FAIRWAY_ASSIGN(const auto text, inclusion_file(store, checkpoint, index));
    FAIRWAY_TRY(write_output(out, text));
    return 0;
  }
  if (out.empty()) return Error{Errc::kUsage, "--out", "name a folder for the proofs"};
  if (!subject.empty()) {
    if (!digest_from_hex(subject))
      return Error{Errc::kUsage, "--subject", "must be a SHA-256 in 64 hexadecimal digits"};
    FAIRWAY_ASSIGN(indices, entries_about(store, subject));
    if (indices.empty()) return Error{Errc::kNoInput, directory, "no entry is about a file of that SHA-256"};
  } else {
    for (uint64_t i = 0; i < store.size(); ++i) indices.push_back(i);
  }
  FAIRWAY_TRY(make_directories(out));
  for (const uint64_t index : indices) {
    const std::string path = fmt::format("{}/{}.tlog-proof", out, index);
    FAIRWAY_ASSIGN(const auto text, inclusion_file(store, checkpoint, index));
    FAIRWAY_TRY(write_output(path, text));
    std::fputs((path + "\n").c_str(), stdout);
  }
  return 0;
}

ExitCode ledger_verify(const Arguments& arguments) {
  Parser parser(
      "fairway ledger verify PROOF (--vkey KEY | --policy FILE) [options]",
      "Checks a proof that `fairway ledger prove`, or any other tlog software, has written. Nothing of the log itself "
      "is needed.\n"
      "  a .tlog-proof          the checkpoint's signatures, the inclusion of the entry, the statement's signature and "
      "shape\n"
      "  a consistency proof    with --old: both checkpoints' signatures, and that the newer log continues the older\n"
      "Ends with 0 if all hold and with 1 if anything is disproved.");
  parser.positional("PROOF", "file");
  parser.options().add_options()("entry", po::value<std::string>()->default_value(""),
                                 "the entry, if the proof does not carry it or another is claimed")(
      "old", po::value<std::string>()->default_value(""), "the older checkpoint of a consistency proof");
  add_trust(parser);
  add_report(parser);
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  if (v.count("explain") != 0) return explain(v);
  FAIRWAY_ASSIGN(const auto format, report_format(v));
  const std::string path = v["PROOF"].as<std::string>();
  FAIRWAY_ASSIGN(const auto policy, trust(v, ""));
  FAIRWAY_ASSIGN(const auto text, ledger::read_text(path, ledger::kMaxProofBytes));
  verifier::Report report;
  report.subject_path = path;
  report.subject_sha256 = hex(sha256(std::string_view(text)));
  if (text.starts_with("old ")) {
    FAIRWAY_TRY(verify_consistency_file(v, text, path, policy, report));
  } else {
    FAIRWAY_TRY(verify_inclusion_file(v, text, path, policy, report));
  }
  FAIRWAY_TRY(print_reports(format, {&report, 1}));
  return report.exit_code();
}

ExitCode ledger_fsck(const Arguments& arguments) {
  Parser parser("fairway ledger fsck DIR [--vkey KEY | --policy FILE] [options]",
                "Reads every entry, derives every tile and the root again, and compares them with the files and the "
                "signed checkpoint. The first\n"
                "thing that is wrong is named with its file, offset and entry. Without a key the one in DIR/log.vkey "
                "is used, which shows\n"
                "that the log is whole, not whose it is. --statements also checks each entry's signature and shape.");
  parser.positional("DIR", "folder of the log");
  parser.options().add_options()("statements", "check the statement of every entry too");
  add_trust(parser);
  add_report(parser);
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  if (v.count("explain") != 0) return explain(v);
  FAIRWAY_ASSIGN(const auto format, report_format(v));
  const std::string directory = v["DIR"].as<std::string>();
  const bool own_key = v["vkey"].as<std::string>().empty() && v["policy"].as<std::string>().empty();
  FAIRWAY_ASSIGN(const auto policy, trust(v, directory));
  ledger::FsckOptions options;
  if (v.count("statements") != 0) {
    if (policy.logs.empty())
      return Error{Errc::kUsage, "--policy", "names no log, whose key would check the statements"};
    FAIRWAY_ASSIGN(const auto key, statement_key(v, policy.logs[0]));
    options.check_entry = [key](uint64_t, std::string_view entry) {
      return status_of(ledger::read_entry(entry, key, ""));
    };
  }
  std::optional<Progress> progress;
  options.progress = [&](uint64_t done, uint64_t total) {
    if (!progress) progress.emplace("fsck", total, "entries");
    progress->update(done);
  };
  FAIRWAY_ASSIGN(const auto result, ledger::fsck(directory, policy, options));
  progress.reset();
  verifier::Report report;
  report.subject_path = directory;
  report.subject_sha256 = hex(result.head.root);
  verifier::Check check{"ledger.tree", Verdict::kPass, "", "", ""};
  if (result.finding) {
    check.status = Verdict::kFail;
    check.message = result.finding->first_entry
                        ? fmt::format("first bad entry {}: {}", *result.finding->first_entry, result.finding->what)
                        : result.finding->what;
    check.evidence.push_back({result.finding->where, 0, 0, ""});
  } else {
    check.message = fmt::format("{} entries, root {}{}", result.checked, hex(result.head.root),
                                own_key ? "; key taken from the log itself" : "");
  }
  report.add(std::move(check));
  FAIRWAY_TRY(print_reports(format, {&report, 1}));
  return report.exit_code();
}

ExitCode ledger_export(const Arguments& arguments) {
  Parser parser(
      "fairway ledger export DIR (--out FOLDER | --entries | --bundle N)",
      "  --out FOLDER  copies what the checkpoint names, and nothing else: for a static host or an archive. The log is "
      "checked first.\n"
      "  --entries     prints every entry as one line of JSON: index, leaf hash, statement\n"
      "  --bundle N    prints entry N as a Sigstore bundle (v0.3) with a DSSE envelope, as model_signing writes them");
  parser.positional("DIR", "folder of the log");
  parser.options().add_options()("out", po::value<std::string>()->default_value(""), "folder to make")(
      "entries", "JSON lines on standard output")("bundle", po::value<uint64_t>(),
                                                  "one entry as a bundle on standard output");
  add_trust(parser);
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  const std::string directory = v["DIR"].as<std::string>(), out = v["out"].as<std::string>();
  if ((out.empty() ? 0 : 1) + static_cast<int>(v.count("entries")) + static_cast<int>(v.count("bundle")) != 1) {
    return Error{Errc::kUsage, "", "give one of --out, --entries and --bundle"};
  }
  FAIRWAY_ASSIGN(const auto policy, trust(v, directory));
  FAIRWAY_ASSIGN(const auto checked, ledger::fsck(directory, policy, {}));
  if (checked.finding)
    return Error{Errc::kData, checked.finding->where, checked.finding->what + "; nothing was exported"};
  TileStore store(directory, checked.head.size);
  if (!out.empty()) {
    if (fs::exists(out + "/" + ledger::kCheckpointName))
      return Error{Errc::kUsage, out, "is a log already; name a new folder"};
    FAIRWAY_TRY(copy_log(store, directory, out));
    return 0;
  }
  if (v.count("bundle") != 0) {
    const uint64_t index = v["bundle"].as<uint64_t>();
    if (index >= store.size())
      return Error{Errc::kUsage, "--bundle", fmt::format("the log has {} entries", store.size())};
    FAIRWAY_ASSIGN(const auto entry, store.entry(index));
    FAIRWAY_ASSIGN(const auto envelope, ledger::parse_envelope(entry, fmt::format("entry {}", index)));
    const nlohmann::json bundle = {{"mediaType", "application/vnd.dev.sigstore.bundle.v0.3+json"},
                                   {"verificationMaterial", {{"publicKey", {{"hint", envelope.signatures[0].keyid}}}}},
                                   {"dsseEnvelope", nlohmann::json::parse(entry)}};
    FAIRWAY_TRY(write_output("", bundle.dump() + "\n"));
    return 0;
  }
  for (uint64_t n = 0; n * ledger::kTileWidth < store.size(); ++n) {
    FAIRWAY_ASSIGN(const auto bytes, store.bundle(n));
    FAIRWAY_ASSIGN(const auto entries,
                   ledger::decode_bundle(bytes, ledger::tile_width(0, n, store.size()), store.bundle_file(n)));
    for (size_t i = 0; i < entries.size(); ++i) {
      const std::string where = fmt::format("entry {}", n * ledger::kTileWidth + i);
      FAIRWAY_ASSIGN(const auto envelope, ledger::parse_envelope(entries[i], where));
      FAIRWAY_ASSIGN(const auto statement, parse_json(envelope.payload, where));
      const nlohmann::json line = {{"index", n * ledger::kTileWidth + i},
                                   {"leaf_sha256", hex(ledger::leaf_hash(entries[i]))},
                                   {"statement", statement}};
      FAIRWAY_TRY(write_output("", line.dump() + "\n"));
    }
  }
  return 0;
}

}  // namespace fairway::cli
