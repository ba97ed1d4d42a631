"""README.md does not drift: every command of a block marked ```sh run does what it says."""

import json
import os
import re
import shutil
import subprocess

import harness
from harness import SOURCE, Case, Fairway


def blocks(mark):
    return re.findall(rf"^```{mark}\n(.*?)^```", (SOURCE / "README.md").read_text(), re.MULTILINE | re.DOTALL)


class Readme(Case):
    def test_every_marked_command_runs(self):
        # A copy of what the commands use, so that nothing is written into the source tree.
        tree = self.folder / "tree"
        for part in ("submissions", "ledger", "tests/verifier/audit/example"):
            shutil.copytree(SOURCE / part, tree / part)
        (tree / "build" / "release" / "bin").mkdir(parents=True)
        os.symlink(Fairway.path, tree / "build" / "release" / "bin" / "fairway")
        commands = blocks("sh run")
        self.assertTrue(commands, "README.md has no block marked `sh run`")
        for block in commands:
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=tree, capture_output=True, text=True,
                                  timeout=harness.TIMEOUT_S)
            self.assertEqual(done.returncode, 0, f"{block}\n{done.stdout}\n{done.stderr}")

    def test_every_command_shown_exists(self):
        shown = set(re.findall(r"\bfairway ((?:data|ledger) [a-z-]+|[a-z]+) ", "".join(blocks(r"sh[^\n]*"))))
        self.assertTrue(shown)
        for command in sorted(shown):
            with self.subTest(command):
                self.ok(*command.split(), "--help")

    def test_every_file_named_exists(self):
        for target in re.findall(r"\]\(([^)#]+)\)", (SOURCE / "README.md").read_text()):
            if "://" not in target:
                self.assertTrue((SOURCE / target).exists(), target)
        for script in ("ci/demo", "ci/test"):
            self.assertTrue(os.access(SOURCE / script, os.X_OK), script)

    def test_the_digests_shown_are_those_expected(self):
        ladder = json.loads((SOURCE / "ci" / "digests.json").read_text())["ladder"]
        text = (SOURCE / "README.md").read_text()
        for name in ("container", "scores", "identity"):
            self.assertRegex(text, rf"(?m)^  {name} +{ladder['demo.' + name]}$")


if __name__ == "__main__":
    harness.main()
