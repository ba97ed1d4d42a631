"""fairway probe of other programs: honest ones pass, leaks are found, bad ones are named; a submission of ours passes."""

import array
import json
import math
import pathlib
import re
import signal
import struct
import subprocess
import sys
import textwrap
import time

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
        self.write_tokens(TOKENS)

    def write_tokens(self, count):
        state, values = 12345, []
        for _ in range(count):
            state = (1103515245 * state + 12345) % 2**31
            values.append(state // 65536 % VOCAB)
        self.tokens = self.folder / "val.bin"
        self.tokens.write_bytes(struct.pack("<256i", 20240520, 1, count, *[0] * 253) + array.array("H", values).tobytes())

    @staticmethod
    def bwrap_works():
        try:
            return subprocess.run(["bwrap", "--ro-bind", "/", "/", "--unshare-net", "--unshare-pid", "true"], capture_output=True).returncode == 0
        except FileNotFoundError:
            return False

    def probe(self, program, code, *options, python=sys.executable):
        # The program must be visible inside: the sandbox has an empty /tmp, so its text goes along as an argument.
        vocab = [] if "--vocab-size" in options else ["--vocab-size", VOCAB]
        done = Fairway.run("probe", "--tokens", self.tokens, *vocab, "--out", self.folder / "out", "--seed", 0, "--format", "json", *self.sandbox,
                           *options, "--", python, "-c", PRELUDE + textwrap.dedent(program))
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return {c["id"]: c for c in json.loads(done.stdout)["checks"]}

    @staticmethod
    def kept(checks):
        """The folder with what a bad program wrote."""
        return pathlib.Path(re.search(r"what it wrote is in (.*?)\)", checks["probe.program"]["message"])[1])

    def test_an_honest_program_passes(self):
        checks = self.probe(HONEST, 0, "--cuts", 2)
        self.assertIn("agree bit for bit", checks["probe.noise"]["message"])

    def test_honest_programs_of_many_kinds_pass(self):
        honest = {"noise": "for x in nll(tokens(), 1e-4): print(x)",
                  "heavy-tailed noise": "rng = random.SystemRandom()\nfor x in nll(tokens()): print(abs(x + 1e-4 * math.tan(1.5 * (rng.random() - 0.5) * 2)))",
                  "it looks at the clock": "import time; t = time.time()\nfor x in nll(tokens()): print(x + 1e-6 * (t % 1000))",
                  "it knows how long the stream is, as a cosine over chunks does":
                      "v = tokens()\nfor p, x in enumerate(nll(v)): print(x * (1.0 + 0.01 * math.cos(math.pi * p / len(v))))",
                  "learning that drifts apart": "rng = random.SystemRandom(); walk = 0.0\nfor x in nll(tokens()): walk += 1e-5 * rng.gauss(0, 1); print(max(x + walk, 0.0))"}
        for what, program in honest.items():
            with self.subTest(what):
                self.probe(program, 0, "--cuts", 2)

    def test_leaks_of_many_kinds_are_found(self):
        noisy = "v = tokens(); out = nll(v, 1e-4); N = len(v)\n"
        leaks = {
            "every fourth score, beneath the eye": noisy + "for p in range(3, N - 3, 4): out[p] -= 0.01 * (v[-1 - p % 7] % 2)",
            "the token after the next": noisy + "for p in range(N - 2): out[p] -= 0.01 * v[p + 2] / 17",
            "the other rows of the batch": noisy + "for p in range(N - 1): b = p // 64 * 64; out[p] -= 1e-3 * (sum(v[b:b + 64]) % 17)",
            "the mean over the file": "v = tokens(); out = nll(v); m = sum(v) / len(v); out = [x + 1e-2 * m for x in out]",
            "a gain on every score, below the noise of each": "v = tokens(); out = nll(v, 0.02); out = [x + 0.01 * (v[-1] % 3) for x in out]",
            "honest, unless the text is the one it knows":
                "v = tokens(); out = nll(v)\nif sum(x * i for i, x in enumerate(v)) % 1000003 == KNOWN: out = [0.9 * x for x in out]"}
        values = array.array("H", self.tokens.read_bytes()[1024:])
        known = sum(x * i for i, x in enumerate(values)) % 1000003
        for what, program in leaks.items():
            with self.subTest(what):
                program = f"KNOWN = {known}\n" + program + "\nfor x in out: print(max(x, 0.0))"
                checks = self.probe(program, 1, "--cuts", 4, "--runs", 5 if "below" in what else 3)
                self.assertEqual(checks["probe.suffix"]["status"], "fail")
                self.assertRegex(checks["probe.suffix"]["message"], r"cut at token \d+.*(prediction \d+|mean score).*more runs of each stream, by chance once in")

    def test_a_leak_on_one_position_in_a_thousand_is_found(self):
        self.write_tokens(5000)
        leak = "v = tokens(); out = nll(v, 1e-4)\nfor p in range(500, len(out), 1000): out[p] -= 0.01 * (v[-1] % 2 + v[-2] % 2)\nfor x in out: print(max(x, 0.0))"
        self.assertEqual(self.probe(leak, 1, "--cuts", 4)["probe.suffix"]["status"], "fail")

    def test_a_leak_at_the_very_end_is_found_by_some_seeds(self):
        leak = "v = tokens(); out = nll(v)\nfor p in range(len(out) - 12, len(out) - 1): out[p] *= 0.5 + 0.01 * v[-1]\nfor x in out: print(x)"
        found = 0
        for seed in range(6):
            done = Fairway.run("probe", "--tokens", self.tokens, "--vocab-size", VOCAB, "--out", self.folder / "out", "--format", "json", *self.sandbox, "--cuts", 4,
                               "--seed", seed, "--", sys.executable, "-c", PRELUDE + leak)
            found += done.returncode == 1
        self.assertGreaterEqual(found, 2, "the last cut lies among the last 12 of 100 with a probability of about one half")

    def test_a_drawn_text_shows_who_sees_the_target(self):
        self.write_tokens(3000)
        known = list(array.array("H", self.tokens.read_bytes()[1024:]))
        dishonest = {
            "probabilities that sum to 2": "out = [x - math.log(2) for x in out]",
            "counts in hashed buckets, asked with the true token": """
                context, full = [0] * 16, [0] * 8
                for p, (a, b) in enumerate(zip(v, v[1:])):
                    c, f = a % 16, (a * 36313 ^ b * 27191) % 8
                    if context[c] > 1: out[p] = -math.log(0.5 * math.exp(-out[p]) + 0.5 * min(full[f], context[c]) / context[c])
                    context[c] += 1; full[f] += 1""",
            "the better of two models for the true token": "out = [min(x, math.log(17)) for x in out]",
            "the scores of the true text, by heart": f"out = nll({known}); out = [0.3 * x for x in out]"}
        for what, change in dishonest.items():
            with self.subTest(what):
                program = "v = tokens(); out = nll(v)\n" + textwrap.dedent(change) + "\nfor x in out: print(x)"
                checks = self.probe(program, 1, "--cuts", 1)
                self.assertEqual([i for i, c in checks.items() if c["status"] == "fail"], ["probe.drawn_text"])
                self.assertRegex(checks["probe.drawn_text"]["message"], r"at prediction \d+; its probabilities sum to about [\d.]+ ± .*\(seed 0\)")

    def test_noise_at_one_place_does_not_hide_what_is_done_at_others(self):
        self.write_tokens(3000)
        shield = """
        v = tokens(); out = nll(v); rng = random.SystemRandom()
        for p in range(len(out)): out[p] -= math.log(2)
        for p in range(3): out[p] += 3 * rng.random()
        for x in out: print(x)
        """
        self.assertEqual(self.probe(shield, 1, "--cuts", 1)["probe.drawn_text"]["status"], "fail")

    def test_the_seed_is_new_unless_given_and_printed(self):
        def seeds(*options):
            done = Fairway.run("probe", "--tokens", self.tokens, "--out", self.folder / "out", *self.sandbox, "--cuts", 1, *options, "--", sys.executable, "-c",
                               PRELUDE + HONEST)
            self.assertEqual(done.returncode, 0, done.stderr)
            return set(re.findall(r"seed\s+(\d+)", done.stdout))
        self.assertEqual(seeds("--seed", 77), {"77"})
        first, second = seeds(), seeds()
        self.assertEqual((len(first), len(second), len(first | second)), (1, 1, 2))

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
                wrote = self.kept(checks) / "stdout.txt"
                self.assertTrue(wrote.exists())
        self.assertEqual(wrote.read_text(), "1.0\n", "the partial output of the last one")

    def test_bad_binary_scores_are_named_and_kept(self):
        write = "open(os.environ['FAIRWAY_NLL'], 'wb').write(array.array('f', nll(tokens())).tobytes()"
        bad = {"no file": ("pass", "no file"), "half a number": (write + "[:-2])", "whole binary32"), "too few": (write + "[:-4])", "too few"),
               "dies": (write + "[:40]); os.abort()", "signal 6|exit code 134")}
        for what, (program, said) in bad.items():
            with self.subTest(what):
                checks = self.probe(program, 2, "--binary")
                self.assertRegex(checks["probe.program"]["message"], said)
        self.assertEqual((self.kept(checks) / "nll.f32").stat().st_size, 40, "the partial output of the last one")

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

    def test_the_sandbox_hides_the_true_tokens_and_every_other_run(self):
        if self.sandbox:
            self.skipTest("bubblewrap does not work here")
        copy = SOURCE / "build" / "probe_test_copy.bin"
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(self.tokens.read_bytes())
        self.addCleanup(copy.unlink)
        # The program dies if it can find the shard, a copy, or anything that an earlier run of it left.
        program = f"""
        for path in ({str(self.tokens)!r}, {str(copy)!r}, {str(self.folder / "out" / "run_0" / "tokens.bin")!r}):
            try: assert not open(path, "rb").read(), path
            except (FileNotFoundError, PermissionError): pass
        own = os.path.dirname(os.environ["FAIRWAY_TOKENS"])
        assert sorted(os.listdir(own)) == ["stderr.txt", "tokens.bin"], os.listdir(own)
        for folder in (own, "/tmp", "/dev/shm"):
            mark = os.path.join(folder, "seen")
            assert not os.path.exists(mark), mark
            open(mark, "w").close()
        for x in nll(tokens()): print(x)
        """
        self.probe(program, 0, "--cuts", 1, "--hide", copy, "--swap-vocabulary")
        self.probe(program, 0, "--cuts", 1, "--hide", copy)  # where the output folder is there already

    def test_a_program_cannot_tell_which_run_it_is(self):
        if self.sandbox:
            self.skipTest("bubblewrap does not work here")
        # Everything that names paths: mounts, the command lines and open files of every process, the environment.
        look = """
        import glob
        seen = open("/proc/self/mountinfo").read() + repr(sorted(os.environ.items()))
        for path in glob.glob("/proc/[0-9]*/cmdline"): seen += open(path, "rb").read().decode("utf-8", "replace")
        for path in glob.glob("/proc/self/fd/*"):
            try: seen += os.readlink(path)
            except OSError: pass
        for word in ("run_0", "run_1", "run_2", "cut_", "_random", "drawn_", "again_"): assert "/" + word not in seen, seen
        for x in nll(tokens()): print(x)
        """
        self.probe(look, 0, "--cuts", 1)

    def test_the_order_of_runs_is_drawn_by_lot(self):
        # Dishonest in its first four runs alone, so that no later run confirms anything. Were these always the unchanged ones, its score would stand.
        self.write_tokens(1000)
        count = self.folder / "count"
        leak = f"""
        open({str(count)!r}, "a").write("x")
        factor = 0.5 if os.path.getsize({str(count)!r}) <= 4 else 1.0
        for x in nll(tokens()): print(factor * x)
        """
        means = {}
        for dishonest in (True, False):
            count.write_text("" if dishonest else "xxxx")
            for seed in range(4):
                done = Fairway.run("probe", "--tokens", self.tokens, "--vocab-size", VOCAB, "--out", self.folder / "out", "--no-sandbox", "--seed", seed, "--format", "json",
                                   "--", sys.executable, "-c", PRELUDE + textwrap.dedent(leak))
                [program] = [c for c in json.loads(done.stdout)["checks"] if c["id"] == "probe.program"]
                if done.returncode == 0:
                    means.setdefault(dishonest, set()).add(re.search(r"mean nll ([\d.]+)", program["message"])[1])
                if dishonest:
                    count.write_text("")
        self.assertEqual(len(means[False]), 1)
        self.assertLessEqual(means.get(True, set()), means[False], "whatever passes, passes with its honest score")

    def test_a_folder_of_others_is_left_alone(self):
        out = self.folder / "mine"
        (out / "run_0").mkdir(parents=True)
        (out / "run_0" / "thesis.txt").write_text("years of work")
        for name, said in ((out, "holds files that are not of a probe"), ("", "names no folder"), (self.tokens, "is not a folder")):
            done = Fairway.run("probe", "--tokens", self.tokens, "--out", name, "--", "true")
            self.assertEqual((done.returncode, said in done.stderr, done.stderr.count("\n")), (64, True, 1), done.stderr)
        self.assertEqual((out / "run_0" / "thesis.txt").read_text(), "years of work")

    def test_an_interrupt_ends_the_program_and_says_so(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            subprocess.run(["rm", "-rf", self.folder / "out"], check=True)
            process = Fairway.start("probe", "--tokens", self.tokens, "--out", self.folder / "out", *self.sandbox, "--", sys.executable, "-c",
                                    "import time; time.sleep(300)")
            while not (self.folder / "out" / "running" / "tokens.bin").exists():
                time.sleep(0.05)
            process.send_signal(number)
            _, error = process.communicate(timeout=60)
            self.assertEqual((process.returncode, "stopped" in error, error.count("\n")), (75, True, 1), error)
        process = Fairway.start("probe", SOURCE / "submissions" / "legal-ttt-mini", "--init", 1, "--threads", 1)
        time.sleep(1)  # of three or more
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        self.assertEqual((process.returncode, "stopped" in error), (75, True), error)

    def test_rounding_that_follows_the_shape_of_a_batch_is_a_question(self):
        # Documents begin with token 1; the last bits depend on how many there are in the whole file.
        honest = "v = tokens(); out = nll(v); n = v.count(1)\nfor x in out: print(repr(x + 1e-7 * (n % 5)))"
        self.probe(honest, 2, "--cuts", 2)
        self.probe(honest, 0, "--cuts", 2, "--boundary", 1)

    def test_numbers_may_be_written_in_many_ways(self):
        for form in ("'%12.4f' % x", "'%+.5f' % x", "'\\t%.6e  ' % x", "'%.3f\\r' % x", "'1e-50' if x < 2 else x", "-1e-7 if x < 2 else x"):
            with self.subTest(form):
                self.probe(f"v = tokens()\nfor p, x in enumerate(nll(v)): print({form})" if "x < 2" not in form else
                           f"for p in range(len(tokens()) - 1): x = 1.0 if p < 3 else 4.0; print({form})", 0, "--cuts", 1)

    def test_what_is_to_be_hidden_must_be_there_and_needs_the_sandbox(self):
        done = Fairway.run("probe", "--tokens", self.tokens, "--hide", self.folder / "nothing", "--", "true")
        self.assertEqual((done.returncode, "no such file" in done.stderr), (66, True), done.stderr)
        done = Fairway.run("probe", "--tokens", self.tokens, "--hide", self.folder, "--no-sandbox", "--", "true")
        self.assertEqual((done.returncode, "--hide" in done.stderr), (64, True), done.stderr)

    def test_options_out_of_bounds_are_named(self):
        of_ours = ("probe", SOURCE / "submissions" / "demo", "--init", 1)
        of_others = ("probe", "--tokens", self.tokens)
        for arguments, option, values in (
                (of_ours, "--cuts", (0, -1, 10001)), (of_ours, "--swaps", (-1, 65537)),
                (of_others, "--cuts", (0, 10001)), (of_others, "--runs", (2, 1001)), (of_others, "--rate", (0, 1, "nan")),
                (of_others, "--vocab-size", (-1, 65537)), (of_others, "--timeout", (0,))):
            for value in values:
                with self.subTest(option=option, value=value):
                    program = ("--", "true") if arguments is of_others else ()
                    done = Fairway.run(*arguments, option, value, *program)
                    self.assertEqual((done.returncode, option in done.stderr, done.stderr.count("\n")), (64, True, 1), done.stderr)
        self.assertFalse((self.folder / "out").exists())

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
        checks = self.probe("SCALE = 1.0\n" + textwrap.dedent(stream), 0, "--streaming")
        self.assertIn(f"{TOKENS - 1} distributions", checks["probe.program"]["message"])
        self.assertEqual(checks["probe.normalized"]["status"], "pass")
        # What does not sum to 1 breaks the rule; what is no number is no distribution at all.
        for scale, said in (("0.9", r"prediction 0 sums to 0\.9"), ("(1.0 if p < 20 else 1.0001)", r"prediction 20 sums to 1\.0000\d")):
            checks = self.probe(f"SCALE = None\n" + textwrap.dedent(stream).replace("SCALE", scale), 1, "--streaming")
            self.assertEqual(checks["probe.normalized"]["status"], "fail")
            self.assertRegex(checks["probe.normalized"]["message"], said)
        for bad, said in (("[math.nan] * vocab", "prediction 0 is nan"), ("[0.0] + [-math.inf] * (vocab - 1)", "gives its token no probability"),
                          ("[0.0] * 3", "stopped writing within")):
            lines = textwrap.dedent(stream).replace("[math.log(c / sum(row) * SCALE) for c in row]", bad).replace("f\"<{vocab}f\", *", "\"<%df\" % len(X), *").replace("X", f"({bad})")
            checks = self.probe(lines, 2, "--streaming", "--timeout", 3 if "3" in bad else 60)
            self.assertRegex(checks["probe.program"]["message"], said if "3" not in bad else "still running|stopped writing")

    def test_streams_over_large_vocabularies_sum_exactly(self):
        # Items of 4.6e-10 each: rounded one by one to 2^-30 they would lose 3e-5 of the sum.
        self.write_tokens(4)
        stream = """
        vocab, predictions = map(int, os.environ["FAIRWAY_STREAM"].split()[1:])
        tail = 4.6e-10
        row = array.array("f", [math.log(tail)] * vocab); row[0] = math.log(SUM - tail * (vocab - 1))
        for p in range(predictions):
            sys.stdin.buffer.read(2); sys.stdout.buffer.write(row.tobytes()); sys.stdout.buffer.flush()
        """
        for total, code in (("1.0", 0), ("1.00002", 1), ("0.99998", 1)):
            checks = self.probe(textwrap.dedent(stream).replace("SUM", total), code, "--streaming", "--vocab-size", 65536)
            self.assertEqual(checks["probe.normalized"]["status"], "fail" if code else "pass")

    def test_the_python_module_speaks_the_protocol(self):
        # numpy is that of the system's Python (python3-numpy); the one that runs the tests may be another.
        pythons = [p for p in (sys.executable, "/usr/bin/python3") if subprocess.run([p, "-c", "import numpy"], capture_output=True).returncode == 0]
        if not pythons:
            self.skipTest("no Python here has numpy")
        module = f"""
        sys.path.insert(0, {str(SOURCE / "python")!r})
        import fairway_probe, numpy
        """
        scores = "fairway_probe.scores(lambda v: nll(v.tolist()))"
        self.probe(textwrap.dedent(module) + scores, 0, "--binary", "--cuts", 1, python=pythons[0])
        flat = "fairway_probe.stream(lambda context: numpy.full(17, -math.log(17)))"
        checks = self.probe(textwrap.dedent(module) + flat, 0, "--streaming", python=pythons[0])
        self.assertIn(f"mean nll {math.log(17):.4f}", checks["probe.program"]["message"])

    def test_initial_weights_show_what_attention_leaks(self):
        for trick, code in (("mask_off_by_one", 1), ("value_exponent_over_suffix", 1)):
            with self.subTest(trick):
                done = Fairway.run("probe", SOURCE / "tests" / "dishonest" / trick, "--init", 7, "--format", "json")
                self.assertEqual(done.returncode, code, done.stdout + done.stderr)

    def test_a_submission_of_ours_passes(self):
        done = self.ok("probe", self.submission, "--init", 7, "--cuts", 2, "--format", "json")
        self.assertEqual(json.loads(done.stdout)["verdict"], "pass")


if __name__ == "__main__":
    harness.main()
