"""fairway audit as a user runs it: folders on disk, references of a git repository, exit codes."""

import json
import os
import shutil
import subprocess

import harness
from harness import Case, Fairway

BITS = "final_exact val_loss:1.90000000 val_bpb:1.12526800 eval_time:1000ms\n"  # 0.41052 tokens per byte, as the validation text has
LOG = ("train_loader:dataset:x train_shards:80\nval_loader:shards pattern=x tokens:62021632\nworld_size:8\nseed:{seed}\n"
       "stopping_early: wallclock_cap train_time:599000ms step:100/200\nSerialized model int6+zlib: 15000000 bytes\nCode size: 60 bytes\n"
       "Total submission size int6+zlib: 15000060 bytes\n" + BITS)
JSON = {"name": "Example", "author": "A", "val_bpb": 1.125268, "bytes_total": 15000060, "seeds": [42, 1337, 2024], "track": "track_10min_16mb"}
FOLDER = "records/track_10min_16mb/2026-04-01_Example"


class Audit(Case):
    def record(self, root, folder=FOLDER, **claims):
        path = root / folder
        path.mkdir(parents=True)
        (path / "README.md").write_text("# Example\n")
        (path / "submission.json").write_text(json.dumps({**JSON, **claims}))
        (path / "train_gpt.py").write_text("raise SystemExit('this must never run')\n")
        for seed in JSON["seeds"]:
            (path / f"train_seed{seed}.log").write_text(LOG.format(seed=seed))
        return path

    def report(self, code, *arguments):
        done = Fairway.run("audit", *arguments, "--skip-legality", "--format", "json")
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return {c["id"]: c for c in json.loads(done.stdout)["checks"]}

    def test_a_folder_that_breaks_nothing_exits_0_and_runs_nothing(self):
        checks = self.report(0, self.record(self.folder / "a"))
        # Nothing is known here of the record that this one would have to beat.
        self.assertEqual({i for i, c in checks.items() if c["status"] != "pass"}, {"stats.significance"}, checks)

    def test_a_broken_rule_exits_1_and_names_the_line(self):
        checks = self.report(2, self.record(self.folder / "a", bytes_total=16076737))
        self.assertEqual(checks["artifact.bytes"]["status"], "review", "its log says less")
        shutil.rmtree(self.folder / "a")
        path = self.record(self.folder / "a", val_bpb=1.05)
        checks = self.report(1, path)
        self.assertEqual(checks["score.claim"]["status"], "fail")
        self.assertIn({"file": "submission.json", "line": 1}, checks["score.claim"]["evidence"])

    def test_a_question_exits_2(self):
        path = self.record(self.folder / "a")
        (path / "README.md").unlink()
        self.assertEqual(self.report(2, path)["structure.files"]["status"], "review")

    def test_what_is_not_there_exits_66(self):
        self.fails(66, "nothing", "audit", self.folder / "nothing")
        self.fails(66, "git repository", "audit", "--git", self.folder, "--ref", "main")

    def test_a_tokenizer_is_compared_with_or_refused_in_one_line(self):
        path = self.record(self.folder / "a")
        shipped = harness.SOURCE / "submissions/corpus/fairway_1024_bpe.model"
        checks = self.report(0, path, "--tokenizer", shipped)
        self.assertEqual(checks["score.byte_accounting"]["status"], "pass")
        self.fails(66, "nothing.model", "audit", path, "--tokenizer", self.folder / "nothing.model")
        self.fails(65, "is no SentencePiece model", "audit", path, "--tokenizer", path / "README.md")

    def test_wrong_arguments_exit_64(self):
        self.fails(64, "DIR", "audit")
        self.fails(64, "--ref", "audit", "--git", self.folder)
        self.fails(64, "--git", "audit", self.folder, "--ref", "main")
        self.fails(64, "jsonl", "audit", "--git", self.folder, "--ref", "a", "--ref", "b", "--format", "json")

    def test_links_lead_nowhere(self):
        path = self.record(self.folder / "a")
        secret = self.folder / "secret.log"
        secret.write_text(LOG.format(seed=7))
        os.symlink(secret, path / "train_seed7.log")
        done = Fairway.run("audit", path, "--skip-legality", "--format", "json")
        self.assertIn("train_seed7.log is a link", done.stdout)
        self.assertNotIn("seed 7", done.stdout)

    def git(self, *arguments):
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
                       "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org"}
        subprocess.run(["git", "-C", self.repository, *arguments], check=True, capture_output=True, env=environment)

    def make_repository(self):
        self.repository = self.folder / "repository"
        self.repository.mkdir()
        self.git("init", "-q", "-b", "main")
        (self.repository / "train_gpt.py").write_text("base\n")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "start")
        for number, claims in ((1, {}), (2, {"val_bpb": 1.05})):
            self.git("checkout", "-q", "main", "-b", f"pull-{number}")
            self.record(self.repository, f"{FOLDER}_{number}", **claims)
            self.git("add", ".")
            self.git("commit", "-q", "-m", "a record")
        self.git("checkout", "-q", "main")

    def test_references_are_audited_in_their_order(self):
        self.make_repository()
        refs = self.folder / "refs.txt"
        refs.write_text("# two\npull-2\n\npull-1\n")
        done = Fairway.run("audit", "--git", self.repository, "--refs-from", refs, "--skip-legality", "--format", "jsonl")
        self.assertEqual(done.returncode, 1, done.stderr)
        reports = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([r["subject"]["ref"] for r in reports], ["pull-2", "pull-1"])
        self.assertEqual([r["subject"]["path"] for r in reports], [FOLDER + "_2", FOLDER + "_1"])
        self.assertEqual([r["verdict"] for r in reports], ["fail", "pass"])
        self.fails(66, "no-such", "audit", "--git", self.repository, "--ref", "pull-1", "--ref", "no-such")
        self.report(0, "--git", self.repository, "--ref", "pull-1", "--path", FOLDER + "_1")

    def test_a_folder_and_its_git_tree_give_the_same_checks(self):
        self.make_repository()
        self.git("checkout", "-q", "pull-1")
        self.assertEqual(self.report(0, self.repository / (FOLDER + "_1")), self.report(0, "--git", self.repository, "--ref", "pull-1"))


if __name__ == "__main__":
    harness.main()
