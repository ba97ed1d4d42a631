"""fairway probe of other programs: honest ones pass, leaks are found, bad ones are named; a submission of ours passes."""

import array
import json
import struct
import subprocess
import sys
import textwrap

import harness
from harness import CORPUS, SOURCE, Case, Fairway

VOCAB, TOKENS = 17, 400

# A score-first program without any package: adaptive counts of the previous token's followers, add one half.
PRELUDE = """
import array, math, os, random, struct, sys
def tokens():
    data = open(os.environ["FAIRWAY_TOKENS"], "rb").read()
    return array.array("H", data[1024:]).tolist()
def nll(v, noise=0.0, vocab=17):
    counts, out = {}, []
    rng = random.SystemRandom()
    for a, b in zip(v, v[1:]):
        row = counts.setdefault(a, [0.5] * vocab)
        out.append(-math.log(row[b] / sum(row)) + (rng.gauss(0, noise) if noise else 0.0))
        row[b] += 1
    return out
"""
HONEST = "for x in nll(tokens()): print(x)"


class Probe(Case):
    def setUp(self):
        super().setUp()
        self.sandbox = [] if self.bwrap_works() else ["--no-sandbox"]
        state, values = 12345, []
        for _ in range(TOKENS):
            state = (1103515245 * state + 12345) % 2**31
            values.append(state // 65536 % VOCAB)
        self.tokens = self.folder / "val.bin"
        self.tokens.write_bytes(struct.pack("<256i", 20240520, 1, TOKENS, *[0] * 253) + array.array("H", values).tobytes())

    @staticmethod
    def bwrap_works():
        try:
            return subprocess.run(["bwrap", "--ro-bind", "/", "/", "--unshare-net", "--unshare-pid", "true"], capture_output=True).returncode == 0
        except FileNotFoundError:
            return False

    def probe(self, program, code, *options):
        path = self.folder / "program.py"
        path.write_text(PRELUDE + textwrap.dedent(program))
        # The program must be visible inside: the sandbox has an empty /tmp, so its text goes along as an argument.
        done = Fairway.run("probe", "--tokens", self.tokens, "--vocab-size", VOCAB, "--out", self.folder / "out", "--format", "json", *self.sandbox, *options, "--",
                           sys.executable, "-c", path.read_text())
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return {c["id"]: c for c in json.loads(done.stdout)["checks"]}

    def test_an_honest_program_passes(self):
        checks = self.probe(HONEST, 0, "--cuts", 2)
        self.assertIn("agree bit for bit", checks["probe.noise"]["message"])

    def test_a_noisy_honest_program_passes_and_a_leak_beneath_the_eye_is_found(self):
        self.probe("for x in nll(tokens(), 1e-4): print(x)", 0, "--cuts", 1)
        leak = """
        v = tokens(); out = nll(v, 1e-4)
        for p in range(3, len(out) - 1, 4): out[p] = max(out[p] - (0.01 if v[p + 2] % 2 else 0.0), 0.0)
        for x in out: print(x)
        """
        checks = self.probe(leak, 1, "--cuts", 12)
        self.assertEqual(checks["probe.suffix"]["status"], "fail")
        self.assertRegex(checks["probe.suffix"]["message"], r"cut at token \d+.*prediction \d+")

    def test_probabilities_that_do_not_sum_to_one_are_found(self):
        checks = self.probe("for x in nll(tokens()): print(x / 2)", 1, "--cuts", 1, "--swap-vocabulary")
        self.assertEqual(checks["probe.target_swap"]["status"], "fail")
        self.assertEqual(self.probe(HONEST, 0, "--cuts", 1, "--swap-vocabulary")["probe.target_swap"]["status"], "pass")

    def test_bad_programs_are_named_and_what_they_wrote_is_kept(self):
        bad = {"too few": ("for x in nll(tokens())[:-1]: print(x)", "too few"), "too many": ("for x in nll(tokens()) + [1.0]: print(x)", "too many"),
               "NaN": ("out = nll(tokens()); out[5] = float('nan')\nfor x in out: print(x)", "score 5 is"),
               "-inf": ("out = nll(tokens()); out[5] = -math.inf\nfor x in out: print(x)", "score 5 is"), "text": ("print('hello')", "line 1 .*not a number"),
               "nothing": ("pass", "no score"), "dies": ("print(1.0); sys.stdout.flush(); os.kill(os.getpid(), 9)", "signal 9|exit code 137"),
               "fails": ("print(1.0); sys.exit(3)", "exit code 3"),
               "forever": ("print(1.0); sys.stdout.flush()\nwhile True: pass", "still running")}
        for what, (program, said) in bad.items():
            with self.subTest(what):
                checks = self.probe(program, 2, "--timeout", 2 if what == "forever" else 60)
                self.assertEqual(checks["probe.program"]["status"], "review")
                self.assertRegex(checks["probe.program"]["message"], said)
                self.assertTrue((self.folder / "out" / "run_0" / "stdout.txt").exists())
        self.assertEqual((self.folder / "out" / "run_0" / "stdout.txt").read_text(), "1.0\n", "the partial output of the last one")

    def test_a_flood_of_output_is_stopped(self):
        checks = self.probe("while True: print('1.0' * 1000)", 2, "--max-output", 100000)
        self.assertRegex(checks["probe.program"]["message"], "more than 100000 bytes|signal|exit code")

    def test_the_sandbox_has_no_network_and_a_read_only_root(self):
        if self.sandbox:
            self.skipTest("bubblewrap does not work here")
        program = """
        import socket
        try: socket.create_connection(("127.0.0.1", 9), 1)
        except OSError as e: network = e.errno
        try: open("/etc/fairway-was-here", "w"); print("written")
        except OSError: pass
        assert len([n for _, n in socket.if_nameindex()]) <= 1
        for x in nll(tokens()): print(x)
        """
        self.probe(program, 0, "--cuts", 1)

    def test_streaming_enforces_the_order(self):
        stream = """
        vocab, predictions = map(int, os.environ["FAIRWAY_STREAM"].split()[1:])
        counts = {}; last = None
        for p in range(predictions):
            token = struct.unpack("<H", sys.stdin.buffer.read(2))[0]
            if last is not None: counts[last][token] += 1
            row = counts.setdefault(token, [0.5] * vocab); last = token
            sys.stdout.buffer.write(struct.pack(f"<{vocab}f", *[math.log(c / sum(row) * SCALE) for c in row])); sys.stdout.buffer.flush()
        """
        message = self.probe("SCALE = 1.0\n" + textwrap.dedent(stream), 0, "--streaming")["probe.program"]["message"]
        self.assertIn(f"{TOKENS - 1} distributions", message)
        message = self.probe("SCALE = 0.9\n" + textwrap.dedent(stream), 2, "--streaming")["probe.program"]["message"]
        self.assertRegex(message, r"prediction 0 sums to 0\.\d+")

    def test_the_python_module_speaks_the_protocol(self):
        # Without numpy here, the text at least must be Python and name what the protocol names.
        text = (SOURCE / "python" / "fairway_probe" / "__init__.py").read_text()
        compile(text, "fairway_probe", "exec")
        try:
            import numpy  # noqa: F401
        except ImportError:
            self.skipTest("this Python has no numpy")
        program = f"""
        sys.path.insert(0, {str(SOURCE / "python")!r})
        import fairway_probe
        fairway_probe.scores(lambda v: nll(v.tolist()))
        """
        self.probe(program, 0, "--binary", "--cuts", 1)

    def test_a_submission_of_ours_passes(self):
        done = self.ok("probe", self.submission, "--init", 7, "--cuts", 2, "--format", "json")
        self.assertEqual(json.loads(done.stdout)["verdict"], "pass")


if __name__ == "__main__":
    harness.main()
