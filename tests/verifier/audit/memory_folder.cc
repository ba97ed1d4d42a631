#include "tests/verifier/audit/memory_folder.h"

#include <fmt/format.h>

#include <algorithm>

namespace fairway::audit {

std::string Record::log(const Seed& s, bool with_final) {
  std::string out = fmt::format(
      "train_loader:dataset:fineweb10B_sp1024 train_shards:80\n"
      "val_loader:shards pattern=./data/fineweb_val_*.bin tokens:{}\n"
      "world_size:{} grad_accum_steps:1\n"
      "iterations:20000 warmup_steps:20 max_wallclock_seconds:600.000\n"
      "seed:{}\n"
      "step:0/20000 val_loss:6.9357 val_bpb:{:.4f} train_time:0ms step_avg:0.01ms\n"
      "step:12000/20000 train_loss:1.9972 train_time:{:.0f}ms step_avg:48.41ms\n"
      "stopping_early: wallclock_cap train_time:{:.0f}ms step:12395/20000\n"
      "Serialized model: 86099351 bytes\n"
      "Code size: {} bytes\n"
      "Total submission size: {} bytes\n"
      "Serialized model int6+zlib: {} bytes (payload:21906720 raw_torch:21951833 payload_ratio:3.93x)\n"
      "Total submission size int6+zlib: {} bytes\n",
      s.val_tokens, s.world_size, s.seed, 6.9357 * s.val_bpb / s.val_loss, s.train_ms - 10, s.train_ms, s.code_bytes,
      86'099'351 + s.code_bytes, s.model_bytes, s.model_bytes + s.code_bytes);
  out += s.more;
  if (with_final) {
    out += fmt::format("final_int6_roundtrip_exact val_loss:{:.8f} val_bpb:{:.8f}\n", s.val_loss + 0.01,
                       (s.val_loss + 0.01) * s.val_bpb / s.val_loss);
    out += fmt::format("final_sliding_window val_loss:{:.4f} val_bpb:{:.4f} eval_time:{:.0f}ms\n", s.val_loss,
                       s.val_bpb, s.eval_ms);
    out += fmt::format("final_sliding_window_exact val_loss:{:.8f} val_bpb:{:.8f}\n", s.val_loss, s.val_bpb);
  }
  return out;
}

std::string Record::default_json() const {
  double sum = 0;
  std::string results, list;
  int64_t bytes = 0;
  for (const Seed& s : seeds) {
    sum += s.val_bpb;
    results += fmt::format("{}\"{}\": {{\"val_bpb\": {:.8f}}}", results.empty() ? "" : ", ", s.seed, s.val_bpb);
    list += fmt::format("{}{}", list.empty() ? "" : ", ", s.seed);
    bytes = std::max(bytes, s.model_bytes + s.code_bytes);
  }
  return fmt::format(
      "{{\n  \"name\": \"Example\",\n  \"author\": \"A\",\n  \"val_bpb\": {:.8f},\n  \"bytes_total\": {},\n  "
      "\"seeds\": [{}],\n"
      "  \"seed_results\": {{{}}},\n  \"track\": \"track_10min_16mb\"\n}}\n",
      sum / static_cast<double>(seeds.size()), bytes, list, results);
}

MemoryFolder Record::folder() const {
  std::map<std::string, std::string> all = {{"README.md", "# Example\n"},
                                            {"train_gpt.py", "import torch\n" + std::string(49'987, '#')}};
  all["submission.json"] = json.empty() ? default_json() : json;
  for (const Seed& s : seeds) all[fmt::format("train_seed{}.log", s.seed)] = log(s, with_final);
  for (const auto& [name, text] : files) all[name] = text;
  return MemoryFolder(path, all);
}

}  // namespace fairway::audit
