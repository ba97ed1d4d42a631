"""The readers on the 180 real folders of ../shared/upstream/real: every log gives the facts of real_folders.tsv.

The table was written by `real_folders_test.py --write`, which reads the logs with published_regexes.py and never with the audit. Where the two
readings disagreed, the log was looked at by hand; the rows named in BY_HAND say what it was.
"""

import csv
import json
import pathlib
import subprocess
import sys

import published_regexes

HERE = pathlib.Path(__file__).resolve().parent
REAL = HERE.parents[2].parent / "shared" / "upstream" / "real"
TABLE = HERE / "real_folders.tsv"
COLUMNS = ("seed", "world_size", "stop_ms", "total_bytes", "pairs", "last_pair_bpb")

# (folder, log): facts that the published regular expressions do not see, and why.
# "val_bpb:0.1156 exact:0.11559293": the audit takes the digits behind "exact:".
BY_HAND = {
    ("pr900", "train_seed1337.log"): {"last_pair_bpb": 0.11559293},
    ("pr900", "train_seed2024.log"): {"last_pair_bpb": 0.11559195},
    ("pr900", "train_seed2025.log"): {"last_pair_bpb": 0.11558566},
    ("pr948", "train_seed1337.log"): {"last_pair_bpb": 0.11555061},
    ("pr948", "train_seed2025.log"): {"last_pair_bpb": 0.11555875},
    ("pr948", "train_seed42.log"): {"last_pair_bpb": 0.11556435},
    ("pr968", "train_seed1337.log"): {"last_pair_bpb": 0.11555061},
    ("pr968", "train_seed2025.log"): {"last_pair_bpb": 0.11555875},
    ("pr968", "train_seed42.log"): {"last_pair_bpb": 0.11556435},
}


def write():
    with TABLE.open("w") as out:
        print("folder", "log", *COLUMNS, sep="\t", file=out)
        for folder in sorted(REAL.glob("pr*")):
            for log in sorted(f for f in folder.rglob("*") if f.suffix in (".log", ".txt", ".out")):
                facts = published_regexes.read(log.read_bytes())
                print(folder.name, log.relative_to(folder), *("" if facts[c] is None else facts[c] for c in COLUMNS), sep="\t", file=out)


def found(runs):
    """The same facts from the audit's runs of one file."""

    def first(key):
        return next((r[key] for r in runs if r[key] is not None), None)

    def last(key):
        return next((r[key] for r in reversed(runs) if r[key] is not None), None)

    return {"seed": first("seed"), "world_size": first("world_size"), "stop_ms": last("train_time_ms"), "total_bytes": last("total_bytes"),
            "pairs": sum(r["pairs"] for r in runs), "last_pair_bpb": last("last_pair_bpb")}


def main():
    if not REAL.is_dir():
        print(f"skipped: {REAL} is not here")
        return 77
    if sys.argv[1:] == ["--write"]:
        write()
        return 0
    folders = sorted(REAL.glob("pr*"))
    done = subprocess.run([sys.argv[1], *map(str, folders)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    runs = {}
    for line in done.stdout.splitlines():
        facts = json.loads(line)
        for log in facts["logs"]:
            runs[pathlib.Path(facts["folder"]).name, log] = [r for r in facts["runs"] if r["file"] == log]
    wrong = 0
    with TABLE.open() as table:
        rows = list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))
    for row in rows:
        key = (row["folder"], row["log"])
        got = found(runs.get(key, []))
        for column in COLUMNS:
            expected = BY_HAND.get(key, {}).get(column, row[column])
            if expected == "":
                continue  # the published expressions say nothing about it
            if got[column] is None or float(expected) != float(got[column]):
                wrong += 1
                print(f"{row['folder']}/{row['log']}: {column} expected {expected}, found {got[column]}")
    print(f"{len(rows)} logs, {wrong} facts wrong")
    return 1 if wrong or len(rows) < 300 else 0


if __name__ == "__main__":
    sys.exit(main())
