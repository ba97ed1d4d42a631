"""What the end-to-end tests share: running the built binary on a tiny submission in a temporary folder.

Every test file is run as `python3 x_test.py BINARY`; names of test methods are claims. A test that cannot run here is
skipped and prints why; a file whose tests were all skipped exits with 77, which ctest reports as skipped.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
CORPUS = SOURCE / "submissions" / "corpus"
SHARED = SOURCE.parent / "shared"
SEED = 7
TIMEOUT_S = 300

TINY = {
    "": {"edition": 1, "name": '"tiny"'},
    "model": {"vocab_size": 1024, "layers": 2, "width": 64, "heads": 4, "kv_heads": 2, "mlp_hidden": 128},
    "data": {"path": f'"{CORPUS}/shards"', "prefix": '"fairway"', "tokenizer": f'"{CORPUS}/fairway_1024_bpe.model"'},
    "train": {"seq_len": 64, "batch_tokens": 512, "grad_chunk_tokens": 128, "virtual_workers": 4, "log_every": 5, "seeds": f"[{SEED}]"},
    "optimizer": {"matrix_lr": 0.04, "scalar_lr": 0.04, "tied_embed_lr": 0.05},
    "schedule": {"kind": '"steps"', "iterations": 20, "warmdown_iters": 10},
    "quantization": {"scheme": '"int8"', "codec": '"zlib-9"'},
    "eval": {"method": '"standard"'},
    "replay": {"commit_every": 5, "checkpoint_every": 5, "keep_states": "true"},
}


class Fairway:
    """The binary under test."""

    path = None

    @classmethod
    def run(cls, *arguments, env=None, before=(), timeout=TIMEOUT_S, cwd=None):
        """The finished process; output as text in .stdout and .stderr."""
        return subprocess.run([*before, cls.path, *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
                              env={**os.environ, **(env or {})}, cwd=cwd)

    @classmethod
    def start(cls, *arguments, env=None):
        return subprocess.Popen([cls.path, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                env={**os.environ, **(env or {})})


def toml(changes=None):
    """TINY with changes such as {"train.seq_len": 32, "train.extra": 1}; None removes a key."""
    tables = {name: dict(keys) for name, keys in TINY.items()}
    for dotted, value in (changes or {}).items():
        table, _, key = dotted.rpartition(".")
        if value is None:
            tables[table].pop(key)
        else:
            tables.setdefault(table, {})[key] = value
    return "\n".join((f"[{name}]\n" if name else "") + "".join(f"{k} = {v}\n" for k, v in keys.items()) for name, keys in tables.items())


class Case(unittest.TestCase):
    """A test with a temporary folder, a tiny submission in it and the assertions of a command line."""

    longMessage = True
    maxDiff = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fairway-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.submission = self.submission_with()

    def submission_with(self, changes=None, name="tiny"):
        directory = self.folder / name
        directory.mkdir(exist_ok=True)
        (directory / "fairway.toml").write_text(toml(changes))
        return directory

    def small_disk(self, size):
        """A file system of its own, `size` large; the test is skipped where none can be mounted."""
        disk = self.folder / "disk"
        disk.mkdir()
        if shutil.which("mount") is None:
            self.skipTest("no mount command here")
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], capture_output=True, text=True)
        if mounted.returncode != 0:
            self.skipTest(f"cannot mount a small tmpfs here: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", str(disk)], check=False)
        return disk

    def ok(self, *arguments, **options):
        done = Fairway.run(*arguments, **options)
        self.assertEqual(done.returncode, 0, f"{arguments}\n{done.stdout}\n{done.stderr}")
        return done

    def train(self, submission=None, out="out", *arguments, **options):
        """Trains and returns the folder of the run."""
        directory = self.folder / out
        self.ok("train", submission or self.submission, "--out", directory, "--quiet", *arguments, **options)
        return directory / f"seed_{SEED}"

    def fails(self, code, names, *arguments, **options):
        """The command ends with `code` and one line on stderr that contains every string of `names`."""
        done = Fairway.run(*arguments, **options)
        said = f"{arguments}\n{done.stdout}\n{done.stderr}"
        self.assertEqual(done.returncode, code, said)
        lines = [line for line in done.stderr.splitlines() if line.startswith("fairway")]
        self.assertEqual(len(lines), 1, said)
        for name in [names] if isinstance(names, (str, pathlib.Path)) else names:
            self.assertIn(str(name), lines[0])
        return done

    def verify(self, record, *arguments, level="eval", code=0, **options):
        """Runs verify against a record folder and returns the report as an object, after checking the exit code."""
        done = Fairway.run("verify", self.submission, "--record", record, "--out", self.folder / "verify", "--level", level, "--quiet",
                           "--format", "json", *arguments, **options)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def identity(self, run):
        return json.loads((pathlib.Path(run) / "replay.json").read_text())["identity_sha256"]


def statuses(report, check):
    return [c["status"] for c in report["checks"] if c["id"] == check]


def flip(path, offset):
    """Flips one bit of one byte; a negative offset counts from the end."""
    data = bytearray(pathlib.Path(path).read_bytes())
    data[offset] ^= 0x10
    pathlib.Path(path).write_bytes(bytes(data))


def cpu_sets():
    """Instruction sets as (name, reason for skipping or None), by asking the binary."""
    for name in ("portable", "avx2", "avx512"):
        done = Fairway.run("data", "--help", env={"FAIRWAY_ISA": name})
        yield name, None if done.returncode == 0 else f"this CPU lacks {name}: {done.stderr.strip()}"


def main():
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} BINARY [unittest arguments]")
    Fairway.path = str(pathlib.Path(sys.argv.pop(1)).resolve())
    result = unittest.main(module="__main__", verbosity=2, exit=False).result
    if result.testsRun and len(result.skipped) == result.testsRun:
        sys.exit(77)
    sys.exit(not result.wasSuccessful())
