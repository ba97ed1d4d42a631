"""measure_readers.py PRINT_FACTS REPOSITORY: how much of the pull requests' logs and claims the audit's readers see. Reads only.

The reference is published_regexes.py over the same folders: a pull request has a scored log if these find a score in one of its logs, and is
comparable if it also claims one. Prints every folder where they find a score and the audit does not with -v.
"""

import collections
import json
import subprocess
import sys

import published_regexes


def git(repository, *arguments):
    return subprocess.run(["git", "-C", repository, *arguments], capture_output=True, check=True).stdout


class Blobs:
    """git cat-file --batch"""

    def __init__(self, repository):
        self.process = subprocess.Popen(["git", "-C", repository, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def read(self, name):
        self.process.stdin.write(name.encode() + b"\n")
        self.process.stdin.flush()
        header = self.process.stdout.readline().split()
        if len(header) != 3:
            return None
        data = self.process.stdout.read(int(header[2]))
        self.process.stdout.read(1)
        return data


def main():
    print_facts, repository = sys.argv[1:3]
    refs = git(repository, "for-each-ref", "--format=%(refname)", "refs/pull/*/head")
    facts = subprocess.run([print_facts, "--git", repository], input=refs, capture_output=True, check=True).stdout.decode().splitlines()
    blobs, count = Blobs(repository), collections.Counter()
    for line in facts:
        f = json.loads(line)
        expected = {"pairs": 0, "final_scores": 0, "any_bpb": 0}
        for log in f["logs"]:
            if data := blobs.read(f"{f['ref']}:{f['folder']}/{log}"):
                read = published_regexes.read(data)
                for key in expected:
                    expected[key] += read[key]
        found = sum(r["scores"] for r in f["runs"])
        count["folders"] += 1
        for key in expected:
            if expected[key]:
                count[f"{key}: expected"] += 1
                count[f"{key}: found"] += found > 0
        if expected["any_bpb"] and not found and "-v" in sys.argv:
            print("not found:", f["ref"], f["folder"])
        if f["val_bpb"] is not None and expected["any_bpb"]:
            count["comparable"] += 1
            count["match " + f["match"]] += 1
    for key, n in sorted(count.items()):
        print(f"{key:24} {n}")
    print(f"log scores found: {count['any_bpb: found'] / count['any_bpb: expected']:.1%} of {count['any_bpb: expected']} with any bpb, "
          f"{count['pairs: found'] / count['pairs: expected']:.1%} of {count['pairs: expected']} with a loss and a bpb")
    matched = count["match mean"] + count["match seeds_mean"]
    print(f"claims matched to the mean of a tag: {matched / count['comparable']:.1%}, or to a best seed: "
          f"{(matched + count['match best']) / count['comparable']:.1%}, of {count['comparable']} comparable")


if __name__ == "__main__":
    main()
