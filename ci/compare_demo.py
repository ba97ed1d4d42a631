"""compare_demo.py RUN: compares the record of a demo run with ci/digests.json. Exit code 1 if a digest moved."""

import json
import pathlib
import sys

TABLE = pathlib.Path(__file__).with_name("digests.json")


def digests(run):
    """What the table keeps of a run; the identity covers the other two and everything else."""
    record = json.loads((pathlib.Path(run) / "replay.json").read_text())
    return {
        "demo.container": record["identity"]["container_sha256"],
        "demo.scores": record["identity"]["scores_sha256"],
        "demo.identity": record["identity_sha256"],
    }


def main():
    expected = json.loads(TABLE.read_text())["ladder"]
    moved = 0
    for name, digest in digests(sys.argv[1]).items():
        same = expected.get(name) == digest
        moved += not same
        print(f"  {name:<15} {digest[:16]} {'as in ci/digests.json' if same else 'NOT as in ci/digests.json'}")
    sys.exit(moved > 0)


if __name__ == "__main__":
    main()
