"""Every dishonest submission is found out by its trace and, separately, by probes alone; a damaged trace is found with its event."""

import array
import json
import os
import struct

import harness
from harness import CORPUS, SOURCE, Case, Fairway, flip

DISHONEST = SOURCE / "tests" / "dishonest"
TOKENS = 2049
CASES = sorted(p.parent.name for p in DISHONEST.glob("*/expected.json"))


def small_shards(folder):
    """The training shard as it is, and the first tokens of the validation shard with a document beginning at every 128th."""
    folder.mkdir()
    os.symlink(CORPUS / "shards" / "fairway_train_000000.bin", folder / "fairway_train_000000.bin")
    values = array.array("H", (CORPUS / "shards" / "fairway_val_000000.bin").read_bytes()[1024:1024 + 2 * TOKENS])
    for n in range(TOKENS // 128):
        values[128 * n + 5 * n % 37] = 1
    tokens = values.tobytes()
    (folder / "fairway_val_000000.bin").write_bytes(struct.pack("<256i", 20240520, 1, TOKENS, *[0] * 253) + tokens)
    return folder


class Dishonest(Case):
    def setUp(self):
        super().setUp()
        self.data = small_shards(self.folder / "data")

    def verdicts(self, record, submission, *arguments):
        done = Fairway.run("verify", submission, "--data", self.data, "--record", record, "--level", "eval", "--out", self.folder / "v", "--quiet",
                           "--format", "json", "--threads", 1, *arguments)
        self.assertIn(done.returncode, (0, 1, 2), done.stdout + done.stderr)
        report = json.loads(done.stdout)
        return done.returncode, {c["id"]: c for c in report["checks"] if c["status"] == "fail"}

    def test_each_is_found_by_its_trace_and_by_probes_alone(self):
        self.assertGreaterEqual(len(CASES), 14)
        for name in CASES:
            if name == "pr212-ttt-mini":
                continue  # ttt_before_scoring at the size of legal-ttt-mini: ci/nightly
            with self.subTest(name):
                submission = DISHONEST / name
                expected = json.loads((submission / "expected.json").read_text())
                record = self.folder / name
                self.ok("train", submission, "--data", self.data, "--out", record, "--quiet", "--threads", 1)
                code, failed = self.verdicts(record, submission, "--probes", 0)
                self.assertEqual((code, expected["verdict"]), (1, "fail"))
                self.assertIn(expected["trace"], failed)
                self.assertRegex(failed[expected["trace"]]["message"], r"event \d+ .*\b\d+")
                code, failed = self.verdicts(record, submission, "--no-trace", "--probes", 8)
                self.assertEqual(code, 1, name)
                self.assertTrue(set(expected["probes"]) & set(failed), f"{name}: {list(failed)}")
                self.assertFalse([check for check in failed if not check.startswith("probe.")])


class Traces(Case):
    """A tiny legal submission whose trace is then damaged."""

    def setUp(self):
        super().setUp()
        self.submission = self.submission_with({"data.path": f'"{small_shards(self.folder / "data")}"', "eval.procedure": '"ngram"', "eval.method": '"sliding_b"', "eval.stride": 32})
        self.run_dir = self.train(out="record")
        self.trace = self.run_dir / "trace.bin"

    def chain(self):
        report = self.verify(self.run_dir.parent, "--probes", 0, code=1)
        return [c["message"] for c in report["checks"] if c["id"].startswith("trace.") and c["status"] == "fail"]

    def events(self):
        """(offset, size) of each event."""
        data, at, found = self.trace.read_bytes(), 176, []
        while at < len(data):
            size = 8 + struct.unpack_from("<I", data, at + 4)[0] + 32
            found.append((at, size))
            at += size
        return found

    def test_an_untouched_trace_passes_with_probes(self):
        self.assertEqual(self.verify(self.run_dir.parent)["verdict"], "pass")

    def test_damage_is_named(self):
        whole, events = self.trace.read_bytes(), self.events()
        (a, a_size), (b, b_size) = events[4], events[5]
        swapped = whole[:a] + whole[b:b + b_size] + whole[a:a + a_size] + whole[b + b_size:]
        for what, data, said in (("truncated", whole[:b], "event 5 .*truncated"), ("cut inside an event", whole[:b + 20], "event 5 .*truncated"),
                                 ("reordered", swapped, "event 4 .*link"), ("an event removed", whole[:a] + whole[b:], "event 4 .*link")):
            with self.subTest(what):
                self.trace.write_bytes(data)
                [message] = [m for m in self.chain() if "event" in m][:1]
                self.assertRegex(message, said)
        self.trace.write_bytes(whole)
        flip(self.trace, a + 12)
        self.assertRegex(self.chain()[0], "event 4 .*link")

    def test_the_trace_of_another_run_is_named(self):
        self.ok("train", self.submission, "--out", self.folder / "other", "--seed", 8, "--quiet")
        self.trace.write_bytes((self.folder / "other" / "seed_8" / "trace.bin").read_bytes())
        self.assertRegex(self.chain()[0], "another run.*container")


if __name__ == "__main__":
    harness.main()
