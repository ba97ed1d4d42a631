"""A device climbs the rungs of whole models to the digests of ci/digests.json. Arguments: device_ladder and its mode."""

import json
import subprocess
import sys

import harness

FIRST = ["model.initial_weights", "model.layer_forward", "model.layer_gradients", "train.one_step"]
WHOLE = FIRST + ["train.five_steps", "export.container", "eval.scores", "model.every_feature", "train.parallel_muon",
                 "train.gated_delta", "train.passes", "train.hypersphere"]


def main():
    binary, mode = sys.argv[1:]
    expected = json.loads((harness.SOURCE / "ci" / "digests.json").read_text())["ladder"]
    done = subprocess.run([binary, mode], capture_output=True, text=True)
    if done.returncode == 69:
        print(f"skipped: {done.stderr.strip()}")
        sys.exit(77)
    if done.returncode != 0:
        sys.exit(f"{mode}: {done.stderr}")
    rungs = dict(line.split() for line in done.stdout.splitlines())
    wanted = FIRST if mode == "simulated-first" else WHOLE
    differing = [n for n in wanted if rungs.get(n) != expected[n]] + sorted(set(rungs) - set(wanted))
    print(f"{mode}: {len(wanted) - len(differing)} of {len(wanted)} rungs as in ci/digests.json {' '.join(differing)}")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
