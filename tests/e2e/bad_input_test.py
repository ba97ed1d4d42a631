"""Unusable input ends with the right exit code and one line that names the culprit; nothing half-written stays."""

import os
import shutil
import zlib

import harness
from eval_test import shard
from harness import CORPUS, SEED, Case, Fairway


class BadInput(Case):
    def config(self, names, changes):
        bad = self.submission_with(changes, "bad")
        self.fails(65, ["fairway.toml", *names], "train", bad, "--out", self.folder / "never")
        self.assertFalse((self.folder / "never").exists())

    def with_shards(self, train=None, val=None):
        """A copy of the corpus with one shard replaced."""
        data = self.folder / "shards"
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(CORPUS / "shards", data)
        for split, content in (("train", train), ("val", val)):
            if content is not None:
                (data / f"fairway_{split}_000000.bin").write_bytes(content)
        return data

    def test_usage_errors_exit_64(self):
        for arguments, names in ((("conquer",), "conquer"), (("train", "--nonsense"), "nonsense"), (("train", self.submission), "out"),
                                 (("train", "--plan-memory"), "DIR"),
                                 (("eval", self.submission), "--weights"), (("verify", self.submission, "--level", "half"), "--level"),
                                 (("verify", self.submission, "--format", "xml"), "--format"), (("data", "steal"), "steal"),
                                 (("train", self.submission, "--out", "x", "--threads", "-1"), "--threads"),
                                 (("train", self.submission, "--out", "x", "--seed", "-1"), "--seed: must be a number from 0 up, not -1"),
                                 (("eval", self.submission, "--init=-3"), "--init: must be a number from 0 up, not -3"),
                                 (("ablate", self.submission, "--out", "x", "--seeds", "4", "-1", "--set", "model.layers=3"), "-1"),
                                 (("train", self.submission, "--out", "x", "--device", "gpu"), "--device")):
            with self.subTest(arguments=arguments):
                self.fails(64, names, *arguments)
        self.assertEqual(Fairway.run().returncode, 64)

    def test_an_unknown_instruction_set_exits_64(self):
        self.fails(64, "FAIRWAY_ISA=nonsense", "train", self.submission, "--out", self.folder / "o", env={"FAIRWAY_ISA": "nonsense"})

    def test_help_and_version_exit_0(self):
        for arguments in (["--help"], ["--version"], ["data", "--help"], *([c, "--help"] for c in ("train", "eval", "export", "verify")),
                          *(["data", c, "--help"] for c in ("tokenize", "train-tokenizer", "inspect"))):
            with self.subTest(arguments):
                self.assertTrue(self.ok(*arguments).stdout)

    def test_a_missing_folder_exits_66(self):
        self.fails(66, self.folder / "nowhere", "train", self.folder / "nowhere", "--out", self.folder / "o")

    def test_missing_data_exits_66(self):
        self.fails(66, self.folder / "no-data", "train", self.submission, "--out", self.folder / "o", "--data", self.folder / "no-data")
        self.fails(66, "no.model", "train", self.submission, "--out", self.folder / "o", "--tokenizer", self.folder / "no.model")

    def test_configs_that_cannot_be_meant_exit_65(self):
        self.config([":", "train.seq_length"], {"train.seq_length": 5})
        self.config(["model.width"], {"model.width": None})
        self.config(["model.width"], {"model.width": '"64"'})
        self.config(["model.heads"], {"model.heads": 5})
        self.config(["train.batch_tokens"], {"train.batch_tokens": 500})
        self.config(["edition"], {"edition": 2})
        self.config(["quantization.codec"], {"quantization.codec": '"lzma-9"'})
        self.config(["optimizer.matrix_lr"], {"optimizer.matrix_lr": "nan"})
        self.config([":"], {"name": '"unterminated'})

    def test_shards_that_are_none_exit_65(self):
        for what, content in (("magic", shard([1] * 3000, magic=1)), ("version", shard([1] * 3000, version=2)),
                              ("length", shard([1] * 3000, count=2999)), ("longer", shard([1] * 3000, count=3001)),
                              ("negative", shard([1] * 3000, count=-1)), ("header", b"short"), ("empty", b"")):
            with self.subTest(what):
                self.fails(65, "fairway_train_000000.bin", "train", self.submission, "--out", self.folder / "o", "--quiet",
                           "--data", self.with_shards(train=content))

    def test_a_token_beyond_the_vocabulary_exits_65_and_names_the_offset(self):
        tokens = [5] * 4000
        tokens[700] = 1024
        self.fails(65, ["fairway_train_000000.bin", f"0x{1024 + 1400:x}"], "train", self.submission, "--out", self.folder / "o", "--quiet",
                   "--data", self.with_shards(train=shard(tokens)))
        self.fails(65, "fairway_val_000000.bin", "eval", self.submission, "--init", 1, "--data", self.with_shards(val=shard(tokens)))

    def test_a_tokenizer_of_another_size_exits_65(self):
        small = self.submission_with({"model.vocab_size": 512}, "small")
        self.fails(65, ["fairway_1024_bpe.model", "512"], "train", small, "--out", self.folder / "o")

    def test_a_file_that_is_no_tokenizer_exits_65(self):
        (self.folder / "no.model").write_bytes(b"not a model")
        self.fails(65, "no.model", "train", self.submission, "--out", self.folder / "o", "--tokenizer", self.folder / "no.model")

    def test_a_decompression_bomb_is_refused_without_being_unpacked(self):
        bomb = self.folder / "bomb.zlib"
        packer = zlib.compressobj(9)
        with bomb.open("wb") as out:
            for _ in range(300):
                out.write(packer.compress(bytes(1 << 20)))
            out.write(packer.flush())
        # Address sanitizer reserves terabytes, so it gets no limit.
        limit = [] if "ASAN_OPTIONS" in os.environ else ["bash", "-c", 'ulimit -v 3000000; exec "$@"', "bash"]
        self.fails(65, bomb, "eval", self.submission, "--artifact", bomb, "--threads", 1, before=limit)
        huge = self.folder / "huge.zlib"
        with huge.open("wb") as out:
            out.truncate(8 << 30)
        self.fails(65, huge, "eval", self.submission, "--artifact", huge)

    def test_files_that_are_no_weights_exit_65(self):
        path = self.folder / "w.safetensors"
        for content in (b"", b"x" * 7, b"\xff" * 8 + b"{}", (2).to_bytes(8, "little") + b"{}"):
            path.write_bytes(content)
            self.fails(65, path, "eval", self.submission, "--weights", path)

    def interrupted_run(self):
        """A run without its record, with a kept state in the place of the checkpoint."""
        run = self.train()
        (run / "replay.json").unlink()
        kept = sorted((run / "state").glob("step_*.state"))[0]
        (run / "state" / "checkpoint.state").write_bytes(kept.read_bytes())
        return run

    def test_a_checkpoint_of_another_config_exits_65(self):
        run = self.interrupted_run()
        self.submission_with({"optimizer.matrix_lr": 0.05})
        self.fails(65, "checkpoint.state", "train", self.submission, "--out", run.parent, "--quiet")
        self.train(None, "out", "--fresh")

    def test_a_damaged_checkpoint_exits_65(self):
        run = self.interrupted_run()
        harness.flip(run / "state" / "checkpoint.state", 5000)
        self.fails(65, "checkpoint.state", "train", self.submission, "--out", run.parent, "--quiet")

    def test_a_full_disk_exits_74_and_leaves_no_half_file(self):
        disk = self.small_disk("1500k")
        done = Fairway.run("train", self.submission, "--out", disk, "--quiet")
        self.assertEqual(done.returncode, 74, done.stderr)
        self.assertIn("No space left on device", done.stderr)
        left = [p.name for p in disk.rglob("*") if p.is_file()]
        self.assertFalse([name for name in left if ".tmp-" in name], left)
        self.assertNotIn("replay.json", left)

    def test_an_output_that_cannot_be_written_exits_74(self):
        (self.folder / "file").write_text("in the way")
        self.fails(74, "file", "train", self.submission, "--out", self.folder / "file", "--quiet")
        self.fails(74, "/proc/version", "eval", self.submission, "--init", 1, "--nll-out", "/proc/version/x")

    def test_writing_the_log_to_a_full_device_exits_74(self):
        run = self.folder / "o" / f"seed_{SEED}"
        run.mkdir(parents=True)
        os.symlink("/dev/full", run / "train.log")
        self.fails(74, "train.log", "train", self.submission, "--out", self.folder / "o", "--quiet")
        self.assertFalse((run / "replay.json").exists())


if __name__ == "__main__":
    harness.main()
