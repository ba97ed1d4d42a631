"""A submission replays to the same bits whatever must not matter: instruction set, threads, ranks, running twice."""

import json
import re
import shutil

import harness
from harness import Case, Fairway

# The shapes of the challenge's own logs, which other tools read.
FLOAT = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
LOG_SHAPES = {
    "a step": rf"^step:\d+/\d+ train_loss:{FLOAT} train_time:{FLOAT}ms step_avg:{FLOAT}ms$",
    "a validation": rf"^step:\d+/\d+ val_loss:{FLOAT} val_bpb:{FLOAT} train_time:{FLOAT}ms step_avg:{FLOAT}ms$",
    "a score": rf"^(?P<tag>.*?)\bval_loss\s*[:=]\s*{FLOAT}[\s,;|]+(?:\w*_)?val_bpb\s*[:=]\s*{FLOAT}(?P<rest>.*)$",
    "the exact score": r"^final_int8_zlib_roundtrip_exact val_loss:\d+\.\d{8} val_bpb:\d+\.\d{8}$",
    "the total size": r"^.*?Total submission size.*?[:=]\s*([\d,]+)\s*(bytes|B|MB|MiB)?",
    "the artifact's total": r"^Total submission size int8\+zlib: \d+ bytes$",
    "the model's size": r"^.*?Serialized model.*?[:=]\s*([\d,]+)\s*bytes",
    "the code's size": r"^.*?Code size(?: \((?:un)?compressed\))?[:=]\s*([\d,]+) bytes",
    "the seed": r"\bseed\s*[:=]\s*(\d+)",
    "the world size": r"\bworld_size\s*[:=]\s*(\d+)",
    "the evaluation time": r"(eval_time|elapsed|total_eval_time)\w*\s*[:=]\s*([\d.]+)\s*(ms|s|m)?",
}


class Replay(Case):
    def test_training_again_gives_every_bit(self):
        done = self.ok("verify", self.submission, "--level", "full", "--out", self.folder / "v", "--quiet")
        self.assertIn("verdict: pass", done.stdout)
        self.assertRegex(done.stdout, r"bytes +\d+ of 16000000")

    def test_a_second_full_verification_trains_again(self):
        # Otherwise a replay left by an older program would vouch for the newer one.
        record = self.train().parent
        for _ in range(2):
            self.assertEqual(self.verify(record, level="full")["verdict"], "pass")
        log = (self.folder / "verify" / "again" / f"seed_{harness.SEED}" / "train.log").read_text()
        first_line_of_last_run = log.rindex("\nseed:")
        self.assertIn("step:1/20 ", log[first_line_of_last_run:])

    def test_instruction_sets_and_threads_change_nothing(self):
        expected = self.identity(self.train(out="default"))
        for name, reason in harness.cpu_sets():
            with self.subTest(isa=name):
                if reason:
                    self.skipTest(reason)
                self.assertEqual(self.identity(self.train(None, name, env={"FAIRWAY_ISA": name})), expected)
        for threads in (1, 2, 8):
            with self.subTest(threads=threads):
                self.assertEqual(self.identity(self.train(None, f"threads{threads}", "--threads", threads)), expected)

    def test_ranks_change_nothing(self):
        if shutil.which("mpirun") is None:
            self.skipTest("mpirun is not installed")
        if "mpi yes" not in Fairway.run("--version").stdout:
            self.skipTest("this build has no MPI")
        expected = self.identity(self.train(out="alone"))
        for ranks in (1, 2, 4):
            with self.subTest(ranks=ranks):
                mpirun = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", str(ranks)]
                run = self.train(None, f"ranks{ranks}", before=mpirun, env={"OMP_NUM_THREADS": "1"})
                self.assertEqual(self.identity(run), expected)

    def test_the_log_has_the_published_line_shapes(self):
        lines = (self.train() / "train.log").read_text().splitlines()
        for what, shape in LOG_SHAPES.items():
            with self.subTest(what):
                self.assertTrue(any(re.search(shape, line) for line in lines), shape)

    def test_the_record_names_what_it_is_about(self):
        record = json.loads((self.train() / "replay.json").read_text())
        identity = record["identity"]
        self.assertEqual([c["step"] for c in identity["commitments"]], [5, 10, 15, 20])
        self.assertEqual(identity["eval"]["method"], "standard")
        self.assertTrue(identity["val_loss"].startswith("0x"), "an identity holds no decimal fractions")
        self.assertEqual(int(record["informative"]["total_bytes"]),
                         int(record["informative"]["artifact_bytes"]) + int(record["informative"]["code_bytes"]))

    def test_another_codec_build_is_no_difference(self):
        # Two versions of zlib cannot be had in one test; a record that claims another known answer stands for one.
        run = self.train()
        record = json.loads((run / "replay.json").read_text())
        record["informative"]["codec_known_answer"] = "0" * 64
        (run / "replay.json").write_text(json.dumps(record))
        report = self.verify(run.parent, level="full")
        [codec] = [c for c in report["checks"] if c["id"] == "replay.codec"]
        self.assertEqual(codec["status"], "pass")
        self.assertIn("containers are compared", codec["message"])


if __name__ == "__main__":
    harness.main()
