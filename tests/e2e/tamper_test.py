"""Whoever changes a bit of a record, an artifact or an input is found out, with the file named."""

import hashlib
import json
import shutil

import harness
from harness import CORPUS, Case, flip, statuses


class Tamper(Case):
    """Every test starts from an untouched copy of one honest record."""

    def setUp(self):
        super().setUp()
        self.run_dir = self.train(out="record")
        self.record = self.run_dir.parent

    def edit(self, change, fix_hash=True):
        """Changes the identity and, as a careful forger would, its hash."""
        path = self.run_dir / "replay.json"
        record = json.loads(path.read_text())
        change(record)
        if fix_hash:
            canonical = json.dumps(record["identity"], sort_keys=True, separators=(",", ":"))
            record["identity_sha256"] = hashlib.sha256(canonical.encode()).hexdigest()
        path.write_text(json.dumps(record))

    def refused(self, code, names, level="eval"):
        self.fails(code, names, "verify", self.submission, "--record", self.record, "--out", self.folder / "verify", "--level", level, "--quiet")

    def test_an_honest_record_passes_every_level(self):
        for level in ("eval", "spot", "full"):
            with self.subTest(level):
                report = self.verify(self.record, level=level)
                self.assertEqual(report["verdict"], "pass")
        self.assertEqual(len(statuses(self.verify(self.record, "--segments", 4, level="spot"), "replay.segment")), 4)

    def test_an_edited_identity_without_its_hash_is_refused(self):
        def change(record):
            record["identity"]["val_bpb"] = "0x1p+0"
        self.edit(change, fix_hash=False)
        self.refused(65, [self.run_dir / "replay.json", "edited"])

    def test_a_better_score_is_found_even_with_its_hash_fixed(self):
        def change(record):
            record["identity"]["val_bpb"] = "0x1p+0"
        self.edit(change)
        report = self.verify(self.record, code=1)
        self.assertEqual(statuses(report, "replay.scores"), ["fail"])
        full = self.verify(self.record, level="full", code=1)
        self.assertEqual(statuses(full, "replay.identity"), ["fail"])

    def test_a_commitment_that_is_not_the_training_is_found_by_spot_and_full(self):
        def change(record):
            record["identity"]["commitments"][3]["root"] = "ab" * 32
        self.edit(change)
        report = self.verify(self.record, "--segments", 4, level="spot", code=1)
        self.assertEqual(statuses(report, "replay.segment").count("fail"), 1)
        report = self.verify(self.record, level="full", code=1)
        [identity] = [c for c in report["checks"] if c["id"] == "replay.identity"]
        self.assertIn("commitments[3].root", identity["message"])

    def test_another_container_of_the_right_size_is_found(self):
        self.ok("train", self.submission, "--out", self.folder / "other", "--seed", 8, "--quiet")
        shutil.copy(self.folder / "other" / "seed_8" / "model.zlib", self.run_dir / "model.zlib")
        report = self.verify(self.record, code=1)
        self.assertEqual(statuses(report, "replay.artifact"), ["fail"])
        self.assertEqual(statuses(report, "replay.scores"), ["fail"])

    def test_a_flipped_byte_of_the_artifact_is_refused(self):
        size = (self.run_dir / "model.zlib").stat().st_size
        for offset in (0, size // 2, size - 1):
            with self.subTest(offset=offset):
                flip(self.run_dir / "model.zlib", offset)
                self.refused(65, self.run_dir / "model.zlib")
                flip(self.run_dir / "model.zlib", offset)

    def test_a_flipped_byte_of_the_schedule_is_refused(self):
        flip(self.run_dir / "schedule.f64", 60)
        self.refused(65, self.run_dir / "schedule.f64")

    def test_a_flipped_byte_of_the_record_is_refused(self):
        text = (self.run_dir / "replay.json").read_bytes()
        flip(self.run_dir / "replay.json", text.index(b'"root"') + 12)
        self.refused(65, self.run_dir / "replay.json")

    def test_a_truncated_record_is_refused(self):
        text = (self.run_dir / "replay.json").read_text()
        (self.run_dir / "replay.json").write_text(text[: len(text) // 2])
        self.refused(65, self.run_dir / "replay.json")

    def test_a_flipped_byte_of_a_kept_state_is_refused(self):
        for step in (5, 10, 15):
            flip(self.run_dir / "state" / f"step_{step:08}.state", -1000)
        done = harness.Fairway.run("verify", self.submission, "--record", self.record, "--level", "spot", "--segments", 4, "--quiet",
                                   "--out", self.folder / "v")
        self.assertEqual(done.returncode, 65, done.stdout + done.stderr)
        self.assertRegex(done.stderr, r"step_\d{8}\.state")

    def test_a_kept_state_that_was_not_committed_is_refused(self):
        # Whole and valid, of this config and seed, but from a training on other data: it must not start a segment.
        data = self.folder / "data"
        shutil.copytree(CORPUS / "shards", data)
        flip(data / "fairway_train_000000.bin", 1024 + 2 * 100)
        self.ok("train", self.submission, "--out", self.folder / "other", "--data", data, "--quiet")
        name = "step_00000010.state"
        shutil.copy(self.folder / "other" / self.run_dir.name / "state" / name, self.run_dir / "state" / name)
        done = harness.Fairway.run("verify", self.submission, "--record", self.record, "--level", "spot", "--segments", 4, "--quiet",
                                   "--out", self.folder / "v")
        self.assertEqual(done.returncode, 65, done.stdout + done.stderr)
        self.assertIn(name, done.stderr)

    def test_other_shards_are_not_the_records_inputs(self):
        data = self.folder / "shards"
        shutil.copytree(CORPUS / "shards", data)
        for shard in ("fairway_val_000000.bin", "fairway_train_000000.bin"):
            with self.subTest(shard):
                flip(data / shard, 1024 + 2 * 100)
                report = self.verify(self.record, "--data", data, level="full", code=1)
                [inputs] = [c for c in report["checks"] if c["id"] == "replay.inputs"]
                self.assertEqual(inputs["status"], "fail")
                self.assertIn("validation" if "val" in shard else "training", inputs["message"])
                flip(data / shard, 1024 + 2 * 100)

    def test_another_config_is_not_the_records_input(self):
        self.submission_with({"optimizer.matrix_lr": 0.05})
        report = self.verify(self.record, code=1)
        self.assertEqual(statuses(report, "replay.inputs"), ["fail"])

    def test_spot_without_kept_states_says_what_to_do(self):
        shutil.rmtree(self.run_dir / "state")
        self.refused(66, ["state", "--level full"], level="spot")


if __name__ == "__main__":
    harness.main()
