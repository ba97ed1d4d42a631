/// The ledger's speed beside that of SHA-256, which bounds it: every byte of an entry and every node is hashed once.
///
/// Logs are made in FAIRWAY_BENCH_DIR, by default /dev/shm: what a disk adds is its fsync. Entries have the size of a
/// signed statement. `peak_rss_MB` of fsck shows that memory does not grow with the log.
#include <benchmark/benchmark.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "ledger/entry.h"
#include "ledger/fsck.h"
#include "ledger/log.h"
#include "ledger/proof.h"
#include "ledger/store.h"

namespace fairway::ledger {
namespace {

namespace fs = std::filesystem;

constexpr size_t kEntryBytes = 1536;
const std::string kOrigin = "example.com/bench";

PrivateKey bench_key() { return PrivateKey::from_seed({1}); }
VerifierKey bench_vkey() { return make_verifier_key(kOrigin, SignatureType::kEd25519, bench_key().public_key()); }

std::vector<std::string> bench_entries(size_t count, uint64_t first) {
  std::vector<std::string> entries(count, std::string(kEntryBytes, 'x'));
  for (size_t i = 0; i < count; ++i) {
    const std::string number = std::to_string(first + i);
    entries[i].replace(0, number.size(), number);
  }
  return entries;
}

/// A log in a folder of its own; failures end the benchmark.
struct BenchLog {
  PrivateKey key = bench_key();
  std::string root;
  LogPaths paths;

  BenchLog() {
    const char* base = std::getenv("FAIRWAY_BENCH_DIR");
    root = (base != nullptr ? std::string(base) : "/dev/shm") + "/fairway-bench-" + std::to_string(::getpid());
    paths = {root + "/log", root + "/last"};
    fs::remove_all(root);
    FAIRWAY_CHECK(Log::create(paths, kOrigin, key));
  }
  ~BenchLog() { fs::remove_all(root); }

  Log open() {
    auto log = Log::open(paths, key);
    FAIRWAY_CHECK(log);
    return std::move(*log);
  }
  void fill(uint64_t size) {
    Log log = open();
    for (uint64_t done = 0; done < size;) {
      const auto batch = bench_entries(std::min<uint64_t>(8192, size - done), done);
      FAIRWAY_CHECK(log.append(batch));
      done += batch.size();
    }
  }
};

void sha256_of_entries(benchmark::State& state) {
  const auto entries = bench_entries(1024, 0);
  size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(leaf_hash(entries[i++ % entries.size()]));
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kEntryBytes));
}
BENCHMARK(sha256_of_entries);

void append_one_durable(benchmark::State& state) {
  BenchLog folder;
  Log log = folder.open();
  for (auto _ : state) {
    const auto entries = bench_entries(1, log.checkpoint().head.size);
    FAIRWAY_CHECK(log.append(entries));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(append_one_durable);

void append_batch(benchmark::State& state) {
  BenchLog folder;
  Log log = folder.open();
  const auto entries = bench_entries(static_cast<size_t>(state.range(0)), 0);
  for (auto _ : state) FAIRWAY_CHECK(log.append(entries));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(append_batch)->Arg(256)->Arg(8192);

/// One entry of a log of 100,000 is proved to be in it. The checkpoint's signature is checked once for all its proofs,
/// or for each one.
void verify_proof(benchmark::State& state) {
  BenchLog folder;
  folder.fill(100000);
  const Checkpoint checkpoint = *read_checkpoint(folder.paths.directory);
  TileStore store(folder.paths.directory, checkpoint.head.size);
  constexpr uint64_t kIndex = 54321;
  const std::string entry = *store.entry(kIndex);
  const std::string file =
      format_proof(InclusionProof{"", kIndex, *inclusion_proof(store, kIndex, checkpoint.head.size), checkpoint});
  const bool with_signature = state.range(0) != 0;
  const Policy policy = policy_of(bench_vkey());
  for (auto _ : state) {
    const auto proof = parse_inclusion_proof(file, "proof");
    FAIRWAY_CHECK(proof);
    if (with_signature) FAIRWAY_CHECK(check_policy(policy, proof->checkpoint, "proof"));
    const auto& head = proof->checkpoint.head;
    FAIRWAY_CHECK(verify_inclusion(leaf_hash(entry), proof->index, head.size, proof->hashes, head.root));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(verify_proof)->ArgName("signature")->Arg(0)->Arg(1);

void ed25519_verify(benchmark::State& state) {
  const PrivateKey key = bench_key();
  const Signature signature = key.sign("message");
  for (auto _ : state) FAIRWAY_CHECK(verify_ed25519(key.public_key(), "message", signature));
}
BENCHMARK(ed25519_verify);

void fsck_log(benchmark::State& state) {
  BenchLog folder;
  folder.fill(static_cast<uint64_t>(state.range(0)));
  for (auto _ : state) {
    const auto report = fsck(folder.paths.directory, policy_of(bench_vkey()), {});
    FAIRWAY_CHECK(report && !report->finding);
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  state.counters["peak_rss_MB"] = static_cast<double>(usage.ru_maxrss) / 1024;
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.SetBytesProcessed(state.iterations() * state.range(0) * static_cast<int64_t>(kEntryBytes));
}
BENCHMARK(fsck_log)->Arg(10000)->Arg(100000)->Arg(1000000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fairway::ledger

BENCHMARK_MAIN();
