"""ci/check-branch on a scratch repository: clean, broken and malicious branches, and the ledger on the default branch only."""

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree

import harness
from harness import SEED, SOURCE, Case, Fairway

EXAMPLE = SOURCE / "tests" / "verifier" / "audit" / "example"
IDENTITY = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com",
            "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


class CheckBranch(Case):
    def setUp(self):
        super().setUp()
        self.repo = self.folder / "repo"
        self.repo.mkdir()
        self.git("init", "-q", "-b", "main")
        self.write("README.md", "a challenge\n")
        self.commit("start")

    def git(self, *arguments):
        return subprocess.run(["git", "-C", self.repo, *map(str, arguments)], env={**os.environ, **IDENTITY}, check=True, capture_output=True,
                              text=True).stdout.strip()

    def write(self, name, text):
        path = self.repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def commit(self, message):
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def branch(self, name):
        self.git("checkout", "-q", "-b", name, "main")

    def add_record(self, name):
        shutil.copytree(EXAMPLE, self.repo / "records" / "track_10min_16mb" / name)
        return self.repo / "records" / "track_10min_16mb" / name

    def check(self, code, *arguments, head="HEAD"):
        out = self.folder / "report"
        done = subprocess.run([sys.executable, SOURCE / "ci" / "check-branch", "--repo", self.repo, "--head", head, "--out", out, "--fairway", Fairway.path,
                               *map(str, arguments)], capture_output=True, text=True, timeout=harness.TIMEOUT_S, cwd=self.folder)
        said = [p.read_text() for p in sorted(out.glob("reports/*.json"))]
        self.assertEqual(done.returncode, code, "\n".join([done.stdout, done.stderr, *said]))
        lines = (out / "reports.jsonl").read_text().splitlines() if (out / "reports.jsonl").exists() else []
        return done, [json.loads(line) for line in lines], out

    def expected(self, report):
        return {"pass": 0, "fail": 1, "review": 2}[report["verdict"]]

    def audit_of(self, folder):
        return json.loads(Fairway.run("audit", folder, "--format", "json").stdout)

    def test_a_branch_without_record_folders_passes_and_says_so(self):
        self.branch("docs")
        self.write("README.md", "changed\n")
        self.commit("docs")
        _, reports, out = self.check(0)
        self.assertEqual(reports, [])
        self.assertIn("No record folder", (out / "summary.md").read_text())

    def test_a_clean_record_gets_the_verdict_of_its_audit_in_every_format(self):
        self.branch("clean")
        folder = self.add_record("clean")
        self.commit("clean")
        audit = self.audit_of(folder)
        done, reports, out = self.check(self.expected(audit))
        self.assertEqual(len(reports), 1)
        self.assertEqual(reports[0]["verdict"], audit["verdict"])
        self.assertEqual(reports[0]["subject"]["path"], "records/track_10min_16mb/clean")
        self.assertEqual([c["status"] for c in reports[0]["checks"]], [c["status"] for c in audit["checks"]])
        self.assertEqual(json.loads((out / "fairway.sarif").read_text())["version"], "2.1.0")
        self.assertEqual(xml.etree.ElementTree.parse(out / "junit.xml").getroot().tag, "testsuites")
        self.assertIn("clean", (out / "summary.md").read_text())

    def test_a_broken_record_fails_and_only_the_changed_one_is_judged(self):
        self.add_record("old")
        self.commit("merged before")
        self.branch("broken")
        folder = self.add_record("broken")
        about = json.loads((folder / "submission.json").read_text())
        about["val_bpb"] = 1.0
        (folder / "submission.json").write_text(json.dumps(about))
        self.commit("broken")
        self.assertEqual(self.audit_of(folder)["verdict"], "fail")
        _, reports, _ = self.check(1)
        self.assertEqual([r["subject"]["path"] for r in reports], ["records/track_10min_16mb/broken"])

    def test_a_malicious_branch_runs_nothing_and_its_links_are_not_followed(self):
        self.branch("malicious")
        pwned = self.folder / "pwned"
        names = ["$(touch pwned)", "`touch pwned`", "-rf", "--upload-pack=touch pwned", "a\nb", "; touch pwned", "\u202e evil", ":(glob)**"]
        for name in names:
            folder = self.add_record(name)
            (folder / "train_gpt.py").write_text(f"open({str(pwned)!r}, 'w')\n")
            (folder / "sitecustomize.py").write_text(f"open({str(pwned)!r}, 'w')\n")
        self.write(".gitattributes", "* filter=evil diff=evil\n")
        self.git("config", "filter.evil.smudge", f"touch {pwned}")
        self.git("config", "diff.evil.textconv", f"touch {pwned}")
        self.git("config", "diff.external", f"touch {pwned}")
        linked = self.submission_with(name="tiny")
        shutil.copytree(linked, self.repo / "submissions" / "linked")
        os.symlink("/etc/passwd", self.repo / "submissions" / "linked" / "secrets")
        self.commit("malicious")
        _, reports, out = self.check(2)
        self.assertEqual([r["subject"]["path"] for r in reports], sorted(f"records/track_10min_16mb/{n}" for n in names) + ["submissions/linked"])
        self.assertIn("is a link or a submodule", reports[-1]["checks"][0]["message"])
        self.assertFalse(pwned.exists())
        self.assertFalse(any(p.name == "pwned" for p in self.folder.rglob("*")))
        for text in [p.read_text() for p in out.rglob("*") if p.is_file()]:
            self.assertNotIn("root:", text)

    def test_a_submission_is_replayed_and_recorded_on_the_default_branch_only(self):
        record = self.train()
        self.branch("engine")
        target = self.repo / "submissions" / "tiny"
        shutil.copytree(self.submission, target)
        shutil.copytree(record, target / "record" / f"seed_{SEED}")
        before = self.git("rev-parse", "main")
        self.commit("engine")
        log = self.folder / "log"
        vkey = self.ok("ledger", "init", log, "--origin", "example.com/ci").stdout.strip()
        done, reports, _ = self.check(0, "--ledger", log)
        self.assertEqual(harness.statuses(reports[0], "replay.scores"), ["pass"])
        self.assertIn("not on the default branch", done.stdout)
        self.assertIn("0 entries", self.ok("ledger", "fsck", log, "--vkey", vkey).stdout)
        self.git("checkout", "-q", "main")
        self.git("merge", "-q", "--ff-only", "engine")
        done, _, _ = self.check(0, "--ledger", log, "--base", before)
        self.assertIn("1 entries", done.stdout)
        entry = json.loads(self.ok("ledger", "export", log, "--entries").stdout)["statement"]["predicate"]
        self.assertEqual((entry["level"], entry["verdict"]), ("eval", "pass"))
        self.assertEqual(entry["runs"][0]["identity_sha256"], self.identity(record))
        # Another configuration under the same record: the replay says so, and no proposal reaches the log.
        self.branch("forged")
        toml = target / "fairway.toml"
        toml.write_text(toml.read_text().replace("matrix_lr = 0.04", "matrix_lr = 0.05"))
        self.commit("forged")
        _, reports, _ = self.check(1, "--ledger", log)
        self.assertEqual(harness.statuses(reports[0], "replay.inputs"), ["fail"])
        self.assertIn("1 entries", self.ok("ledger", "fsck", log, "--vkey", vkey).stdout)

    def test_what_is_asked_wrongly_is_an_error_in_one_line(self):
        for code, words, arguments in ((66, "rev-parse", ["--base", "absent"]), (66, "rev-parse", ["--base=--output=x"]), (64, "", ["--level", "all"]),
                                       (66, "is not there", ["--fairway", self.folder / "absent"])):
            done, _, _ = self.check(code, *arguments)
            self.assertIn(words, done.stderr)


if __name__ == "__main__":
    harness.main()
