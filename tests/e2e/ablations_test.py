"""Every variant of submissions/ablations.md: accepted at the published size, trained for a step at a small one."""

import json
import re

import harness
from harness import CORPUS, SOURCE, Case

TEXT = (SOURCE / "submissions" / "ablations.md").read_text()

# Widths, lengths and counts only: every feature of the base and of the variant stays on. A projection with a side below 64 would start
# at zero, and the hash embedding behind it would never be trained; a single step of a small rate would be below the floor of scales.
SMALL = {
    "model.width": 80, "model.heads": 4, "model.kv_heads": 2, "model.mlp_hidden": 96,
    "train.seq_len": 32, "train.batch_tokens": 128, "train.grad_chunk_tokens": 32, "train.virtual_workers": 4, "train.seeds": "[7]",
    "optimizer.matrix_lr": 0.5,
    "schedule.iterations": 1, "schedule.warmdown_iters": 0, "quantization.codec": "zstd-1", "quantization.small_tensor_max_elements": 1500,
    "eval.seq_len": 512, "eval.stride": 512, "replay.commit_every": 1, "replay.checkpoint_every": 0,
}
BANKED = {
    "model.rope_dims": 8, "model.bigram_buckets": 97, "model.bigram_dim": 64, "eval.ttt.chunk_tokens": 8192, "eval.ttt.epochs": 1,
    "eval.ttt.grad_chunk_tokens": 512,
}
SMALL_OF = {
    "pr212-nine-layer": {},
    "pr549-parallel-muon-ttt": {**BANKED, "model.ve_dim": 40},
    # Two steps, so that the mean of snapshots is not the last of them.
    "pr635-value-residual-ttt": {**BANKED, "schedule.iterations": 2, "averages.snapshot_every": 1, "averages.snapshot_below": 0.0},
}


def variants():
    """(base, settings) of every table row; settings named as a supplement are added to the rows they are for."""
    for section in TEXT.split("\n## ")[1:]:
        base = re.search(r"Base `submissions/([a-z0-9-]+)`", section)
        if base is None:
            continue
        rows = re.findall(r"`--set '?([^`']+)'?`", section)
        yield from ((base[1], row) for row in rows)
        for supplement in re.findall(r"add `(;[^`]+)`", section):
            yield from ((base[1], row + supplement) for row in rows if "mlp_blocks" in row or "hypersphere" in row)


class Ablations(Case):
    def by_base(self):
        found = {}
        for base, settings in variants():
            found.setdefault(base, []).append(settings)
        self.assertEqual(set(found), set(SMALL_OF))
        # As many as the tables have rows: a row whose command is written otherwise would go untested.
        self.assertEqual(len(set(variants())), len(re.findall(r"^\| (?!finding|experiment|candidate).*`", TEXT, re.MULTILINE)) + 1)
        return found

    def test_every_variant_is_a_valid_config_at_the_published_size(self):
        for base, settings in self.by_base().items():
            sets = [x for s in settings for x in ("--set", s)]
            # All configs are read before anything else, so what stops this is the data that nobody ships.
            self.fails(66, "fineweb", "ablate", SOURCE / "submissions" / base, "--out", self.folder / base, *sets, "--data", self.folder / "fineweb")
            self.assertEqual(len(list((self.folder / base).glob("*/fairway.toml"))), len(settings) + 1)

    def test_every_variant_trains_packs_and_scores(self):
        for base, settings in self.by_base().items():
            settings = [re.sub(r"qat_from=[0-9]+", "qat_from=0", text) for text in settings]  # in the one step there is
            small = ";".join(f"{key}={value}" for key, value in {**SMALL, **SMALL_OF[base]}.items())
            sets = [x for s in settings for x in ("--set", s)]
            done = self.ok("ablate", SOURCE / "submissions" / f"{base}-mini", "--out", self.folder / base, "--with", small, *sets, "--json",
                           "--bpb-per-step", "9e-6", "--data", CORPUS / "shards", "--tokenizer", CORPUS / "fairway_1024_bpe.model")
            found = json.loads(done.stdout)["variants"]
            self.assertEqual([v["variant"] for v in found], ["base", *settings])
            losses = [v["runs"][0]["val_loss"] for v in found]
            # A setting that did nothing would score like the base.
            for v, loss in zip(found[1:], losses[1:]):
                self.assertNotEqual(loss, losses[0], v["variant"])


if __name__ == "__main__":
    harness.main()
