"""A run that is killed at any instant and started again ends in the bits of a run that was not."""

import os
import random
import signal
import time

import harness
from harness import SEED, Case, Fairway

ATTEMPTS = int(os.environ.get("FAIRWAY_CRASH_ATTEMPTS", "6"))


class Crash(Case):
    def arguments(self, out):
        return ("train", self.submission, "--out", self.folder / out, "--quiet", "--threads", 1)

    def setUp(self):
        super().setUp()
        # Checkpoints at every step, so that many kills fall into a write.
        self.submission = self.submission_with({"replay.checkpoint_every": 1, "schedule.iterations": 40}, "crashing")
        start = time.monotonic()
        self.expected = self.identity(self.train(self.submission, "whole", "--threads", 1))
        self.duration = time.monotonic() - start

    def test_kill_minus_nine_at_any_instant_changes_no_bit(self):
        draw = random.Random(2026)
        kills = 0
        for attempt in range(ATTEMPTS):
            with Fairway.start(*self.arguments("killed")) as process:
                time.sleep(draw.uniform(0.05, 0.9) * self.duration)
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                    kills += 1
                process.communicate()
            if process.returncode == 0:
                break
            self.assertEqual(process.returncode, -signal.SIGKILL)
        self.assertGreater(kills, 0, "the run was never caught alive")
        self.ok(*self.arguments("killed"))
        self.assertEqual(self.identity(self.folder / "killed" / f"seed_{SEED}"), self.expected)

    def test_kill_minus_nine_inside_a_checkpoint_write_changes_no_bit(self):
        state = self.folder / "torn" / f"seed_{SEED}" / "state"
        caught = 0
        for attempt in range(ATTEMPTS):
            with Fairway.start(*self.arguments("torn")) as process:
                # Wait until a temporary of the checkpoint exists that was not there before, then kill at once.
                known = set(state.glob("*.tmp-*"))
                while process.poll() is None and not set(state.glob("checkpoint.state.tmp-*")) - known:
                    pass
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                process.communicate()
            caught += len(list(state.glob("checkpoint.state.tmp-*"))) > len(known)
            if process.returncode == 0:
                break
        print(f"{caught} kills left a half-written checkpoint behind")
        self.ok(*self.arguments("torn"))
        self.assertEqual(self.identity(self.folder / "torn" / f"seed_{SEED}"), self.expected)

    def test_leftover_temporaries_are_harmless(self):
        state = self.folder / "left" / f"seed_{SEED}" / "state"
        state.mkdir(parents=True)
        (state / "checkpoint.state.tmp-1-0").write_bytes(b"half a state")
        (state.parent / "replay.json.tmp-1-0").write_bytes(b"{")
        self.ok(*self.arguments("left"))
        self.assertEqual(self.identity(state.parent), self.expected)

    def test_an_interrupt_saves_the_state_and_exits_75(self):
        checkpoint = self.folder / "stopped" / f"seed_{SEED}" / "state" / "checkpoint.state"
        with Fairway.start(*self.arguments("stopped")) as process:
            while process.poll() is None and not checkpoint.exists():
                time.sleep(0.005)
            process.send_signal(signal.SIGINT)
            message = process.communicate()[1]
        self.assertEqual(process.returncode, 75, message)
        self.assertIn("run the same command to go on", message)
        self.ok(*self.arguments("stopped"))
        self.assertIn("resuming from step:", (checkpoint.parents[1] / "train.log").read_text())
        self.assertEqual(self.identity(checkpoint.parents[1]), self.expected)


if __name__ == "__main__":
    harness.main()
