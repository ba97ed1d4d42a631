"""measure_labels.py FAIRWAY REPOSITORY [--labels FILE] [--parity even|odd] [-v]

Audits every labelled pull request of the upstream repository and prints how the labelled class was judged: fail, review or pass on the
label's check id, whether evidence lies on the labelled lines, and every miss. For clean labels it prints what was said on any
legality check. Nothing is tuned here: this only measures.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[3]
LEGALITY = ("legality.score_first", "legality.single_pass", "legality.normalized", "legality.causal", "legality.slot",
            "legality.calibration", "data.split")


def labelled_lines(text):
    """Every range named in a label: "388-466 ttt_adapt: epoch loop 413" gives (388, 466) and (413, 413)."""
    ranges = []
    for first, last in re.findall(r"(?<![#\w.])(\d{2,5})(?:-(\d{2,5}))?", text or ""):
        ranges.append((int(first), int(last or first)))
    return ranges


def touches(check, ranges):
    """True if some evidence covers a labelled line or lies within five lines of it, being no more than 200 lines long."""
    for evidence in check.get("evidence", []):
        begin = evidence.get("line", 0)
        end = evidence.get("end_line") or begin
        if begin and end - begin <= 200 and any(begin <= last + 5 and end >= first - 5 for first, last in ranges):
            return True
    return False


def audit(fairway, repository, label):
    command = [fairway, "audit", "--git", repository, "--ref", label["head_sha"], "--path", str(pathlib.PurePosixPath(label["main_code_path"]).parent),
               "--format", "json"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if not run.stdout.strip():
        return None, run.stderr.strip()
    checks = collections.defaultdict(list)
    for check in json.loads(run.stdout)["checks"]:
        checks[check["id"]].append(check)
    return checks, ""


def worst(checks):
    for status in ("fail", "review", "pass"):
        for check in checks:
            if check["status"] == status:
                return check
    return {"status": "absent", "message": "", "evidence": []}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fairway")
    parser.add_argument("repository", nargs="?", default=os.environ.get("FAIRWAY_UPSTREAM_REPO", ""))
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--labels", default=SOURCE.parent / "shared/upstream/labels.jsonl")
    parser.add_argument("--parity", choices=("even", "odd"))
    parser.add_argument("-v", "--verbose", action="store_true")
    arguments = parser.parse_args()
    if not arguments.repository or not pathlib.Path(arguments.labels).exists():
        print("skipped: FAIRWAY_UPSTREAM_REPO names no repository, or the labels are not there")
        sys.exit(77)

    table = collections.defaultdict(collections.Counter)
    on_lines = collections.Counter()
    misses, alarms, present, totals = [], [], collections.Counter(), collections.Counter()
    for line in pathlib.Path(arguments.labels).read_text().splitlines():
        label = json.loads(line)
        if arguments.parity and label["pr"] % 2 != (arguments.parity == "odd"):
            continue
        checks, error = audit(arguments.fairway, arguments.repository, label)
        if checks is None:
            misses.append(f"#{label['pr']}: no report: {error}")
            continue
        flagged = {key: worst(checks[key]) for key in LEGALITY if worst(checks[key])["status"] in ("fail", "review")}
        if label["verdict"] == "clean":
            worst_status = "fail" if any(c["status"] == "fail" for c in flagged.values()) else "review" if flagged else "pass"
            table["clean"][worst_status] += 1
            for key, check in flagged.items():
                where = ", ".join(f"{e['file']}:{e['line']}" for e in check["evidence"][:4])
                alarms.append(f"#{label['pr']} {key} {check['status']}: {check['message']} [{where}]")
            continue
        if not label["check"].startswith("legality."):
            table[f"{label['check']} (not by these rules)"][worst([c for k in LEGALITY for c in checks[k]])["status"]] += 1
            continue
        check = worst(checks[label["check"]])
        state = {True: "", False: ", gone at head", None: ", head not checked"}[label.get("head_has_violation")]
        table[f"{label['check']} {label['class']}{state}"][check["status"]] += 1
        if label.get("head_has_violation"):
            totals[check["status"]] += 1
            if label["verdict"] == "violation":
                present[check["status"]] += 1
            if check["status"] in ("fail", "review"):
                on_lines[touches(check, labelled_lines(label.get("lines")))] += 1
                if not touches(check, labelled_lines(label.get("lines"))):
                    where = ", ".join(f"{e['file']}:{e['line']}-{e.get('end_line') or e['line']}" for e in check["evidence"][:6])
                    misses.append(f"#{label['pr']} {label['check']} evidence elsewhere: {where} (label: {label.get('lines')})")
            else:
                others = {k: c["status"] for k, c in flagged.items()}
                misses.append(f"#{label['pr']} {label['check']} {check['status']} (label: {label.get('lines')}) other: {others}")
        if arguments.verbose:
            print(f"#{label['pr']} {label['check']} {check['status']}: {check['message']}")

    width = max(len(key) for key in table)
    for key in sorted(table):
        print(f"{key:<{width}}  " + "  ".join(f"{status} {table[key][status]}" for status in ("fail", "review", "pass", "skip", "absent") if table[key][status]))
    found = totals["fail"] + totals["review"]
    print(f"violations whose head still has them: {found} of {sum(totals.values())} found, {totals['fail']} fail; "
          f"without the disputed ones, on which there is no ruling: {present['fail']} fail of {sum(present.values())}")
    print(f"evidence on the labelled lines: {on_lines[True]} of {found}")
    for title, lines in (("misses", misses), ("clean, but flagged", alarms)):
        print(f"{title}: {len(lines)}")
        for entry in lines:
            print("  " + entry)
    if arguments.check:
        clean = table["clean"]
        kept = clean["fail"] == 0 and clean["review"] * 20 <= sum(clean.values())
        kept &= found * 20 >= sum(totals.values()) * 19 and present["fail"] * 100 >= sum(present.values()) * 85
        kept &= on_lines[True] * 10 >= found * 9
        sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
