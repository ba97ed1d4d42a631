"""The digest ladder agrees with ci/digests.json on every instruction set of this machine and any number of threads.

The arguments are the command that climbs it: a binary, or an emulator and a binary.
"""

import json
import os
import subprocess
import sys

import harness


def ladder(command, isa, threads):
    """The rungs in order, or the reason why this machine cannot climb."""
    done = subprocess.run([*command, str(threads)], capture_output=True, text=True, env={**os.environ, "FAIRWAY_ISA": isa, "OMP_WAIT_POLICY": "passive"})
    if done.returncode == 69:
        return None, done.stderr.strip()
    if done.returncode != 0:
        sys.exit(f"{isa}: {done.stderr}")
    return dict(line.split() for line in done.stdout.splitlines()), None


def main():
    expected = json.loads((harness.SOURCE / "ci" / "digests.json").read_text())["ladder"]
    moved = False
    for isa, threads in (("portable", 1), ("avx2", 1), ("avx512", 1), ("portable", 3)):
        rungs, reason = ladder(sys.argv[1:], isa, threads)
        if rungs is None:
            print(f"skipped {isa}: {reason}")
            continue
        names = [n for n in expected if not n.startswith("demo.")]
        differing = [n for n in names if rungs.get(n) != expected[n]] + sorted(set(rungs) - set(names))
        print(f"{isa}, {threads} threads: {len(names) - len(differing)} of {len(names)} rungs as in ci/digests.json")
        if differing:
            moved = True
            print(f"  the lowest rung that moved: {differing[0]}; also {', '.join(differing[1:]) or 'no other'}")
    if moved:
        print("If the change is meant, see ci/update-digests.")
    sys.exit(moved)


if __name__ == "__main__":
    main()
