"""ci/check-branch on a scratch repository: clean, broken and malicious branches, and the ledger on the default branch only."""

import json
import os
import re
import shutil
import subprocess
import sys
import unittest
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
        names = ["$(touch pwned)", "`touch pwned`", "-rf", "--upload-pack=touch pwned", "a\nb", "; touch pwned", "\u202e evil", ":(glob)**",
                 "\x1b[31mred\x1b]0;title\x07", "a'b\"c", "tab\there", "<img src=x>@everyone"]
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
        done, reports, out = self.check(2)
        self.assertEqual([r["subject"]["path"] for r in reports], sorted(f"records/track_10min_16mb/{n}" for n in names) + ["submissions/linked"])
        self.assertIn("is a link or a submodule", reports[-1]["checks"][0]["message"])
        self.assertFalse(pwned.exists())
        self.assertFalse(any(p.name == "pwned" for p in self.folder.rglob("*")))
        texts = {p.name: p.read_text() for p in out.rglob("*") if p.is_file()}
        for text in [*texts.values(), done.stdout, done.stderr]:
            self.assertNotIn("root:", text)
            self.assertNotIn("\x1b", text)
        self.assertNotIn("\u202e", texts["summary.md"])
        if shutil.which("cmark-gfm"):
            page = subprocess.run(["cmark-gfm", "--unsafe", "-e", "table"], input=texts["summary.md"], check=True, capture_output=True, text=True).stdout
            self.assertIn("everyone", page)
            self.assertNotIn("<img", page)
            self.assertNotIn("@everyone", re.sub("<code>.*?</code>", "", page, flags=re.DOTALL))

    def raw_tree(self, *entries):
        """A tree object with any names, which git itself would not make."""
        body = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(oid) for mode, name, oid in entries)
        return subprocess.run(["git", "-C", self.repo, "hash-object", "-t", "tree", "-w", "--literally", "--stdin"], input=body, check=True,
                              capture_output=True).stdout.decode().strip()

    def test_names_that_lead_out_of_a_folder_write_nothing_there(self):
        evil = self.folder / "evil"
        (self.folder / "blob").write_text("x")
        blob = self.git("hash-object", "-w", self.folder / "blob")
        (self.folder / "toml").write_text((self.submission / "fairway.toml").read_text())
        toml = self.git("hash-object", "-w", self.folder / "toml")
        up = self.raw_tree((b"100644", b"evil", blob))
        for _ in range(12):  # the copy is made somewhere below the root: as many steps up as it can take
            up = self.raw_tree((b"40000", b"..", up))
        for name, hidden in ((b"..", up), (b".git", self.raw_tree((b"100644", b"config", blob))), (str(evil).encode(), blob)):
            mode = b"100644" if hidden == blob else b"40000"
            submission = self.raw_tree(*sorted([(mode, name, hidden), (b"100644", b"fairway.toml", toml)], key=lambda e: e[1]))
            top = self.raw_tree((b"40000", b"submissions", self.raw_tree((b"40000", b"tiny", submission))))
            head = self.git("commit-tree", top, "-p", "main", "-m", "traversal")
            _, reports, _ = self.check(2, head=head)
            self.assertEqual(len(reports), 1)
            self.assertFalse(evil.exists())
            self.assertFalse(any(path.name == "evil" for path in self.folder.rglob("*")))

    def test_markers_and_folders_that_are_links_are_not_followed(self):
        self.branch("links")
        outside = self.folder / "outside"
        shutil.copytree(EXAMPLE, outside)
        self.write("records/a/README.md", "a record\n")
        os.symlink(outside / "submission.json", self.repo / "records" / "a" / "submission.json")
        self.write("submissions/b/README.md", "a submission\n")
        os.symlink(self.submission / "fairway.toml", self.repo / "submissions" / "b" / "fairway.toml")
        os.symlink(outside, self.repo / "records" / "c")
        self.commit("links")
        _, reports, out = self.check(2)
        self.assertEqual([(r["subject"]["path"], r["verdict"]) for r in reports], [("records/a", "review"), ("submissions/b", "review")])
        self.assertIn("&quot;records/c&quot;", (out / "summary.md").read_text())

    def test_a_folder_that_is_too_large_is_undecided_and_not_copied(self):
        self.branch("large")
        shutil.copytree(self.submission, self.repo / "submissions" / "tiny")
        self.commit("large")
        code = ("import importlib.machinery, importlib.util, sys; path, limit = sys.argv[1:3]; del sys.argv[1:3]\n"
                "loader = importlib.machinery.SourceFileLoader('check_branch', path)\n"
                "module = importlib.util.module_from_spec(importlib.util.spec_from_loader('check_branch', loader)); loader.exec_module(module)\n"
                "setattr(module, limit, 0); sys.exit(module.main())")
        for limit in ("MAX_COPY_BYTES", "MAX_COPY_FILES"):
            out = self.folder / limit
            done = subprocess.run([sys.executable, "-B", "-c", code, SOURCE / "ci" / "check-branch", limit, "--repo", self.repo, "--out", out, "--fairway", Fairway.path],
                                  capture_output=True, text=True, timeout=harness.TIMEOUT_S)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("holds more than", (out / "reports.jsonl").read_text())

    def test_a_branch_that_edits_ci_or_an_older_record_runs_nothing_and_is_told_of(self):
        self.add_record("old")
        self.commit("merged before")
        self.branch("meddling")
        pwned = self.folder / "pwned"
        for name in ("ci/check-branch", "ci/setup", ".github/workflows/check.yml", "sitecustomize.py"):
            self.write(name, f"open({str(pwned)!r}, 'w')\n")
        self.write("records/track_10min_16mb/old/README.md", "rewritten\n")
        self.commit("meddling")
        _, reports, out = self.check(self.expected(self.audit_of(self.repo / "records" / "track_10min_16mb" / "old")))
        self.assertEqual([r["subject"]["path"] for r in reports], ["records/track_10min_16mb/old"])
        summary = (out / "summary.md").read_text()
        before, outside = summary.split("Files changed outside of record folders:")
        self.assertIn("Record folders that were there before and are changed:\n\n- <code>&quot;records/track_10min_16mb/old&quot;</code>", before)
        for name in ("ci/check-branch", "ci/setup", ".github/workflows/check.yml", "sitecustomize.py"):
            self.assertIn(f"<code>&quot;{name}&quot;</code>", outside)
        self.assertFalse(pwned.exists())

    def step(self):
        """The script of the action's last step, as it stands."""
        steps = re.findall(r"\n      run: \|\n((?:        .*\n|\n)+)", (SOURCE / "ci" / "action.yml").read_text())
        self.assertEqual(len(steps), 2)
        return ["\n".join(line[8:] for line in text.splitlines()) + "\n" for text in steps]

    @unittest.skipUnless(shutil.which("shellcheck"), "no shellcheck here")
    def test_the_actions_scripts_pass_shellcheck(self):
        for script in self.step():
            done = subprocess.run(["shellcheck", "-s", "bash", "-"], input=script, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_the_actions_step_does_what_it_says(self):
        """Run as the runner would run it: on a proposal nothing is recorded, after a push to the default branch it is, and the key is gone."""
        log = self.folder / "log"
        self.ok("ledger", "init", log, "--origin", "example.com/ci")
        secret = (self.folder / "log.key.pem").read_text()
        (self.folder / "log.key.pem.last").unlink()
        base = self.git("rev-parse", "main")
        self.branch("clean")
        folder = self.add_record("clean")
        head = self.commit("clean")
        code = self.expected(self.audit_of(folder))
        self.git("branch", "-f", "merged", head)
        for default, entries in (("main", 0), ("merged", 1)):
            temp = self.folder / f"runner-{default}"
            temp.mkdir()
            env = {**os.environ, "GITHUB_ACTION_PATH": str(SOURCE / "ci"), "GITHUB_WORKSPACE": str(self.repo), "GITHUB_OUTPUT": str(temp / "output"),
                   "GITHUB_STEP_SUMMARY": str(temp / "summary"), "RUNNER_TEMP": str(temp), "BASE": base, "HEAD_SHA": head, "LEVEL": "eval", "DATA": "",
                   "TOKENIZER": "", "BASELINE_LOG": "", "DEFAULT_BRANCH": default, "ON_DEFAULT": "true", "LEDGER": str(log), "LEDGER_KEY": secret,
                   "OUT": str(temp / "report"), "FAIRWAY": Fairway.path}
            done = subprocess.run(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", self.step()[1]], env=env, capture_output=True, text=True,
                                  timeout=harness.TIMEOUT_S, cwd=self.repo)
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
            said = dict(line.split("=", 1) for line in (temp / "output").read_text().splitlines())
            self.assertEqual(said, {"code": str(code), "sarif": f"{temp}/report/fairway.sarif", "junit": f"{temp}/report/junit.xml",
                                    "summary": f"{temp}/report/summary.md"})
            self.assertEqual((temp / "summary").read_text(), (temp / "report" / "summary.md").read_text())
            self.assertIn(f"{entries} entries", self.ok("ledger", "fsck", log).stdout)
            self.assertEqual(sorted(p.name for p in temp.iterdir()), ["output", "report", "summary"])
            for text in [done.stdout, done.stderr, *(p.read_text() for p in temp.rglob("*") if p.is_file())]:
                self.assertNotIn(secret.splitlines()[1], text)

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
