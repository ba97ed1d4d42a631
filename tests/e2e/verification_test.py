"""`fairway verify` from end to end: every seed, a baseline given or taken from a log, and --resume after kill -9 anywhere."""

import json
import math
import os
import random
import signal
import time

import harness
from harness import CORPUS, Case, Fairway

SEEDS = [7, 8, 9]
ORIGIN = "example.com/verification"
ATTEMPTS = int(os.environ.get("FAIRWAY_CRASH_ATTEMPTS", "6"))


def welch(candidate, baseline, margin):
    """p of Welch's one-sided test by the definitions, the tail of Student's t integrated by Simpson's rule."""
    def moments(x):
        mean = sum(x) / len(x)
        return mean, sum((v - mean) ** 2 for v in x) / (len(x) - 1) / len(x)
    (mean_c, var_c), (mean_b, var_b) = moments(candidate), moments(baseline)
    t = (mean_b - margin - mean_c) / math.sqrt(var_c + var_b)
    df = (var_c + var_b) ** 2 / (var_c ** 2 / (len(candidate) - 1) + var_b ** 2 / (len(baseline) - 1))
    # With u = sqrt(df) tan(a) the density is proportional to cos(a)^(df - 1).
    start, steps = math.atan(t / math.sqrt(df)), 200000
    h = (math.pi / 2 - start) / steps
    tail = sum((1 if k in (0, steps) else 4 if k % 2 else 2) * max(math.cos(start + k * h), 0.0) ** (df - 1) for k in range(steps + 1)) * h / 3
    return tail * math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(math.pi)


class Verification(Case):
    def setUp(self):
        super().setUp()
        self.log = self.folder / "log"

    def init(self):
        return self.ok("ledger", "init", self.log, "--origin", ORIGIN).stdout.strip()

    def make(self, name, iterations, seeds=SEEDS, **changes):
        """A submission and its runs, all seeds."""
        directory = self.submission_with({"name": f'"{name}"', "train.seeds": str(seeds), "schedule.iterations": iterations, "schedule.warmdown_iters": 0,
                                          "replay.commit_every": iterations, "replay.checkpoint_every": iterations, **changes}, name)
        runs = self.folder / f"{name}-runs"
        self.ok("train", directory, "--out", runs, "--quiet", "--threads", 1)
        return directory, runs

    def check(self, submission, runs, *arguments, code=0, out="verified"):
        done = Fairway.run("verify", submission, "--record", runs, "--level", "eval", "--probes", 0, "--out", self.folder / out, "--quiet", "--format", "json",
                           *arguments)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        report = json.loads(done.stdout)
        return report, next(c for c in report["checks"] if c["id"] == "stats.significance")

    def scores(self, runs):
        return [float.fromhex(json.loads((runs / f"seed_{n}" / "replay.json").read_text())["identity"]["val_bpb"]) for n in SEEDS]

    def entries(self):
        return [json.loads(line)["statement"] for line in self.ok("ledger", "export", self.log, "--entries").stdout.splitlines()]

    def test_every_seed_is_verified_and_their_scores_are_tested_against_a_baseline(self):
        good, good_runs = self.make("good", 12)
        poor, poor_runs = self.make("poor", 1)
        report, check = self.check(good, good_runs, "--baseline", poor_runs)
        self.assertEqual(harness.statuses(report, "replay.scores"), ["pass"] * 3)
        self.assertEqual(check["status"], "pass")
        self.assertEqual([e["file"] for e in check["evidence"]], [f"seed_{n}/replay.json" for n in SEEDS])
        identity = json.loads((good_runs / "seed_7" / "replay.json").read_text())["identity"]
        per_bpb = math.log(2) * identity["eval"]["bytes"] / identity["eval"]["tokens"]
        mine, theirs = self.scores(good_runs), self.scores(poor_runs)
        self.assertIn(f"p = {welch(mine, theirs, .005 / per_bpb):#.4g} with 0.005 nats/token", check["message"])
        self.assertIn(f"p = {welch(mine, theirs, 0):#.4g} with no margin; Welch, one-sided", check["message"])
        for seed, score in zip(SEEDS, mine):
            self.assertIn(f"seed {seed} {score:.8f}", check["message"])
        self.assertIn(f"val_bpb mean {sum(mine) / 3:.8f} sd ", check["message"])
        # The other way round nothing is shown, and a person must look.
        report, check = self.check(poor, poor_runs, "--baseline", good_runs, code=2)
        self.assertEqual((report["verdict"], check["status"]), ("review", "review"))
        self.assertIn("higher than", check["message"])
        # Literal scores, a published mean, a constant; one seed alone decides nothing.
        self.assertEqual(self.check(good, good_runs, "--baseline", *theirs)[1]["status"], "pass")
        self.assertEqual(self.check(good, good_runs, "--baseline", "6.5:0.01:3")[1]["status"], "pass")
        self.assertIn("against a constant", self.check(good, good_runs, "--baseline", "6.5")[1]["message"])
        check = self.check(good, good_runs, "--baseline", *theirs, "--seed", 7, code=2)[1]
        self.assertIn("no test against the baseline is possible", check["message"])
        self.assertEqual(self.check(good, good_runs)[1]["status"], "skip")
        shown = self.ok("verify", good, "--record", good_runs, "--level", "eval", "--probes", 0, "--out", self.folder / "v", "--quiet").stdout
        self.assertIn("3 seeds, val_loss mean ", shown)
        self.fails(65, "--baseline", "verify", good, "--record", good_runs, "--level", "eval", "--baseline", "1.2", "x")
        self.fails(66, "--baseline", "verify", good, "--record", good_runs, "--level", "eval", "--baseline", self.folder / "absent")
        self.fails(64, "--baseline", "verify", good, "--record", good_runs, "--level", "eval", "--baseline", "1.2", "--baseline-log", self.log)
        self.fails(64, "--baseline-entry", "verify", good, "--record", good_runs, "--level", "eval", "--baseline-entry", "3")

    def test_the_baseline_of_a_log_is_its_best_entry_that_passed(self):
        vkey = self.init()
        # More steps do not help at first: the learning rate of the harness is high.
        poor, poor_runs = self.make("poor", 6)
        good, good_runs = self.make("good", 1)
        best, best_runs = self.make("best", 12)
        self.assertIn("no earlier entry", self.check(poor, poor_runs, "--ledger", self.log)[1]["message"])
        # The same config is never its own baseline.
        self.assertEqual(self.check(poor, poor_runs, "--ledger", self.log)[1]["status"], "skip")
        check = self.check(best, best_runs, "--ledger", self.log)[1]
        self.assertEqual(check["status"], "pass")
        self.assertIn("lower than entry 0 (poor)", check["message"])
        # A score that is not better is for a person; its entry is a review, and no baseline for others.
        report, check = self.check(good, good_runs, "--ledger", self.log, code=2)
        self.assertIn("higher than entry 2 (best)", check["message"])
        entries = self.entries()
        self.assertEqual([e["predicate"]["verdict"] for e in entries], ["pass", "pass", "pass", "review"])
        logged = next(c for c in entries[3]["predicate"]["checks"] if c["id"] == "stats.significance")
        self.assertTrue(check["message"].startswith(logged["message"][:150]), logged)
        for run, seed in zip(entries[2]["predicate"]["runs"], SEEDS):
            identity = json.loads((best_runs / f"seed_{seed}" / "replay.json").read_text())["identity"]
            self.assertEqual([run[k] for k in ("seed", "val_loss", "val_bpb", "config_sha256")],
                             [str(seed), identity["val_loss"], identity["val_bpb"], identity["config_sha256"]])
            self.assertEqual(run["scored"], {"val_sha256": identity["data"]["val_sha256"], "tokenizer_sha256": identity["data"]["tokenizer_sha256"],
                                             "tokens": str(identity["eval"]["tokens"]), "bytes": str(identity["eval"]["bytes"])})
        # Readers need no private key; an entry may be named by index or name.
        read = ("--baseline-log", self.log)
        self.assertIn("entry 0 (poor)", self.check(best, best_runs, *read, "--vkey", vkey, "--baseline-entry", "0")[1]["message"])
        self.assertIn("entry 1 (poor)", self.check(best, best_runs, *read, "--baseline-entry", "poor")[1]["message"])
        self.assertEqual(self.check(best, best_runs, *read, "--baseline-entry", "none")[1]["status"], "skip")
        self.assertEqual(len(self.entries()), 4)
        verify = ("verify", best, "--record", best_runs, "--level", "eval", *read)
        self.fails(65, ["entry 3", "its verdict is review"], *verify, "--baseline-entry", "3")
        self.fails(65, ["its verdict is review"], *verify, "--baseline-entry", "good")
        self.fails(66, ["no entry 4"], *verify, "--baseline-entry", "4")
        self.fails(66, ['"nobody"'], *verify, "--baseline-entry", "nobody")
        other = self.ok("ledger", "init", self.folder / "other", "--origin", ORIGIN).stdout.strip()
        self.fails(65, "not signed by", *verify, "--vkey", other)
        self.fails(66, "absent", *verify[:-1], self.folder / "absent")
        harness.flip(self.log / "tile" / "entries" / "000.p" / "4", 3000)
        self.fails(65, "no baseline is taken", *verify)

    def test_scores_of_another_text_are_not_compared_unasked(self):
        self.init()
        text = self.folder / "text.txt"
        text.write_bytes((CORPUS / "corpus.txt").read_bytes()[:150000])
        shards = self.folder / "shards"
        self.ok("data", "tokenize", text, "--model", CORPUS / "fairway_1024_bpe.model", "--out", shards, "--prefix", "fairway", "--val-tokens", "5000")
        poor, poor_runs = self.make("elsewhere", 1, **{"data.path": f'"{shards}"'})
        good, good_runs = self.make("good", 6)
        self.check(poor, poor_runs, "--ledger", self.log)
        self.assertEqual(self.check(good, good_runs, "--baseline-log", self.log)[1]["status"], "skip")
        for asked in (("--baseline-log", self.log, "--baseline-entry", "0"), ("--baseline", poor_runs)):
            check = self.check(good, good_runs, *asked, code=2)[1]
            self.assertEqual(check["status"], "review")
            self.assertIn("is it the same text?", check["message"])

    def resumable(self, name="resumable"):
        return self.submission_with({"name": f'"{name}"', "replay.checkpoint_every": 1, "train.seeds": "[7, 8]"}, name)

    def arguments(self, submission, out, log):
        return ["verify", submission, "--out", self.folder / out, "--ledger", self.folder / log, "--quiet", "--threads", 1, "--format", "json"]

    def uninterrupted(self, submission):
        """The report of a verification that nothing disturbs, in a log of its own; and how long it took."""
        self.ok("ledger", "init", self.folder / "calm-log", "--origin", ORIGIN, "--key", self.folder / "key.pem")
        start = time.monotonic()
        done = self.ok(*self.arguments(submission, "calm", "calm-log"), "--key", self.folder / "key.pem")
        (self.folder / "key.pem.last").unlink()  # the same key will sign a log of the same name elsewhere
        return (self.folder / "calm" / "report.json").read_bytes(), done.stdout, time.monotonic() - start

    def test_killed_in_every_part_it_ends_in_the_same_report_and_one_entry(self):
        submission = self.resumable()
        expected, shown, _ = self.uninterrupted(submission)
        out, log, key = self.folder / "killed", self.folder / "log", self.folder / "key.pem"
        self.ok("ledger", "init", log, "--origin", ORIGIN, "--key", key)
        empty = (log / "checkpoint").read_bytes()

        def journal_has(part):
            return lambda: (out / "verification.json").exists() and f'"{part}"' in (out / "verification.json").read_text()

        moments = [
            ("training", (out / "first" / "seed_7" / "state" / "checkpoint.state").exists),
            ("packing", lambda: any((out / "first" / "seed_7").glob("model.*"))),
            ("scoring", lambda: any((out / "first" / "seed_7").glob("scores.f32*"))),
            ("scoring again", (out / "again" / "seed_7" / "eval").exists),
            ("probes", journal_has("seed_7/eval")),
            ("second training", (out / "again" / "seed_7" / "state" / "checkpoint.state").exists),
            ("second packing", lambda: any((out / "again" / "seed_7").glob("model.*"))),
            ("second record", (out / "again" / "seed_7" / "replay.json").exists),
            ("next seed", journal_has("seed_7/full")),
            ("second training of the next seed", (out / "again" / "seed_8" / "state" / "checkpoint.state").exists),
            ("report", (out / "report.json").exists),
            ("tiles", (log / "tile").exists),
            ("memory of the key", lambda: key.with_name("key.pem.last").read_bytes() != empty),
            ("checkpoint", lambda: (log / "checkpoint").read_bytes() != empty)]
        arguments = [*self.arguments(submission, "killed", "log"), "--key", key, "--resume"]
        caught = []
        for name, reached in moments:
            with Fairway.start(*arguments) as process:
                while process.poll() is None and not reached():
                    pass
                process.send_signal(signal.SIGKILL)
                process.communicate()
            if process.returncode == -signal.SIGKILL:
                caught.append(name)
        print(f"killed at: {', '.join(caught)}")
        self.assertGreaterEqual(len(caught), len(moments) - 4, caught)
        done = self.ok(*arguments)
        self.assertEqual(done.stdout, shown)
        self.assertEqual((out / "report.json").read_bytes(), expected)
        self.ok("ledger", "fsck", log, "--statements")
        self.assertEqual(self.entries_of(log), self.entries_of(self.folder / "calm-log"))
        self.assertEqual(len(self.entries_of(log)), 1)
        # Once more is the same answer from what is kept: nothing is trained, nothing is recorded.
        trained = (out / "again" / "seed_8" / "train.log").stat().st_mtime_ns
        self.assertIn("recorded before", self.ok(*arguments).stderr)
        self.assertEqual((out / "again" / "seed_8" / "train.log").stat().st_mtime_ns, trained)
        self.assertEqual(len(self.entries_of(log)), 1)

    def entries_of(self, log):
        return self.ok("ledger", "export", log, "--entries").stdout.splitlines()

    def test_killed_at_random_it_ends_in_the_same_report(self):
        submission = self.resumable()
        expected, _, duration = self.uninterrupted(submission)
        self.ok("ledger", "init", self.folder / "log", "--origin", ORIGIN, "--key", self.folder / "key.pem")
        draw = random.Random(2026)
        arguments = [*self.arguments(submission, "killed", "log"), "--key", self.folder / "key.pem", "--resume"]
        kills = 0
        for _ in range(ATTEMPTS):
            with Fairway.start(*arguments) as process:
                time.sleep(draw.uniform(0.02, 0.5) * duration)
                kills += process.poll() is None
                process.send_signal(signal.SIGKILL)
                process.communicate()
        self.assertGreater(kills, 0, "never caught alive")
        self.ok(*arguments)
        self.assertEqual((self.folder / "killed" / "report.json").read_bytes(), expected)
        self.assertEqual(self.entries_of(self.folder / "log"), self.entries_of(self.folder / "calm-log"))

    def test_resuming_is_for_the_same_question_and_the_same_record_only(self):
        record = self.train()
        out = self.folder / "verified"
        verify = ["verify", self.submission, "--record", record.parent, "--level", "eval", "--out", out, "--quiet"]
        self.ok(*verify, "--resume")  # where none was begun, one is begun
        journal = (out / "verification.json").read_bytes()
        for words, arguments in (("level", ["--level", "spot"]), ("probes", ["--probes", "3"]), ("choice-seed", ["--choice-seed", "1"]),
                                 ("trace", ["--no-trace"]), ("baseline", ["--baseline", "4.0"]), ("seeds", ["--seed", "9"])):
            changed = [a for a in verify if arguments[0] != "--level" or a not in ("--level", "eval")]
            self.fails(66 if words == "seeds" else 64, [] if words == "seeds" else [f"had {words} ", "--resume"], *changed, *arguments, "--resume")
            self.assertEqual((out / "verification.json").read_bytes(), journal)
        # What was found about one artifact is not said of another.
        artifact = next(record.glob("model.*"))
        harness.flip(artifact, -3)
        self.assertNotEqual(Fairway.run(*verify, "--resume").returncode, 0)
        harness.flip(artifact, -3)
        self.ok(*verify, "--resume")
        (out / "verification.json").write_bytes(journal[: len(journal) // 2])
        self.fails(65, ["verification.json", "leave --resume away"], *verify, "--resume")
        self.ok(*verify)

    def test_without_resume_every_check_is_made_again(self):
        out = self.folder / "twice"
        verify = ["verify", self.submission, "--out", out, "--quiet", "--threads", 1]
        self.ok(*verify)
        log = out / "again" / f"seed_{harness.SEED}" / "train.log"
        first = log.stat().st_mtime_ns
        self.ok(*verify)
        self.assertGreater(log.stat().st_mtime_ns, first)
        # Where no verification was begun, a replay that is lying about belongs to none: it is not even read.
        (out / "verification.json").unlink()
        (out / "again" / f"seed_{harness.SEED}" / "replay.json").write_text("{")
        self.ok(*verify, "--resume")


if __name__ == "__main__":
    harness.main()
