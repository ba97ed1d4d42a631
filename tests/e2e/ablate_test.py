"""fairway ablate: variants of a submission over the same seeds, each a submission of its own."""

import json

import harness
from harness import SEED, Case

SHORT = "schedule.iterations=3;schedule.warmdown_iters=1;replay.keep_states=false"


class Ablate(Case):
    def ablate(self, *arguments):
        done = self.ok("ablate", self.submission, "--out", self.folder / "ablation", "--with", SHORT, *arguments)
        return done.stdout

    def test_every_variant_has_the_seeds_and_the_base_comes_first(self):
        text = self.ablate("--json", "--seeds", 1, 2, "--set", "model.mlp_slope=0.5", "--set", "model.mtp_heads=1;model.mtp_weight=0.5")
        variants = json.loads(text)["variants"]
        self.assertEqual([v["variant"] for v in variants], ["base", "model.mlp_slope=0.5", "model.mtp_heads=1;model.mtp_weight=0.5"])
        for v in variants:
            self.assertEqual([r["seed"] for r in v["runs"]], ["1", "2"])
        self.assertNotIn("welch", variants[0])
        for v in variants[1:]:
            self.assertTrue(0 < float(v["welch"]["p"]) < 1)
        self.assertEqual(len({r["val_loss"] for v in variants for r in v["runs"]}), 6)

    def test_the_base_is_the_submission_itself(self):
        found = json.loads(self.ablate("--json", "--set", "model.ln_scale=true"))["variants"][0]["runs"][0]["val_loss"]
        run = self.train(self.submission_with({"schedule.iterations": 3, "schedule.warmdown_iters": 1}, "short"))
        record = json.loads((run / "replay.json").read_text())["identity"]
        self.assertEqual(found, float.fromhex(record["val_loss"]))

    def test_a_variant_can_be_verified_alone_and_is_not_trained_twice(self):
        self.ablate("--set", "model.ln_scale=true")
        run = next((self.folder / "ablation").glob("01-*")) / f"seed_{SEED}"
        before = (run / "replay.json").stat().st_mtime_ns
        self.assertIn("model.ln_scale=true", self.ablate("--set", "model.ln_scale=true"))
        self.assertEqual((run / "replay.json").stat().st_mtime_ns, before)
        done = harness.Fairway.run("verify", run.parent, "--record", run, "--level", "full", "--out", self.folder / "v", "--quiet")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_account_of_a_slower_step_is_printed_on_request(self):
        arguments = ("--set", "model.ln_scale=true")
        self.assertIn("required_bpb", self.ablate(*arguments, "--bpb-per-step", "9e-6"))
        self.assertNotIn("required_bpb", self.ablate(*arguments))
        for options, budget_ms in (((), 600e3), (("--budget-seconds", "60"), 60e3)):
            variants = json.loads(self.ablate(*arguments, "--bpb-per-step", "9e-6", "--json", *options))["variants"]
            steps = [budget_ms / v["runs"][0]["step_ms"] for v in variants]
            for v, n in zip(variants, steps):
                self.assertAlmostEqual(v["required_bpb"], (steps[0] - n) * 9e-6, places=9)

    def test_wrong_settings_stop_before_anything_is_trained(self):
        arguments = ("ablate", self.submission, "--out", self.folder / "ablation", "--set")
        self.fails(64, "model.xsa_last_n", *arguments, "model.xsa_last_n")
        self.fails(65, ["model.xsa_last_n", "model.layers"], *arguments, "model.xsa_last_n=3")
        self.fails(65, "model.widht", *arguments, "model.widht=3")
        self.fails(64, "--set", "ablate", self.submission, "--out", self.folder / "ablation")
        self.assertEqual(list((self.folder / "ablation").glob("*/seed_*")), [])


if __name__ == "__main__":
    harness.main()
