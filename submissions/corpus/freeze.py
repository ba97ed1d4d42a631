#!/usr/bin/env python3
"""Made corpus.txt, once: the project's own documents and sources at that time, one document each.

The corpus is frozen: later changes of the sources do not change it, because every submission that trains on it names it by
hash. The order is that of the SHA-256 of the paths, so that validation (the first documents) is a mixture.

Run from the root of the repository: python3 submissions/corpus/freeze.py > submissions/corpus/corpus.txt
"""
import hashlib
import subprocess
import sys

SEPARATOR = "<|document|>"
SUFFIXES = (".md", ".h", ".cc", ".py", ".txt", ".toml")


def main():
    listed = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True).stdout.split("\n")
    paths = [p for p in listed if p.endswith(SUFFIXES) and not p.startswith("submissions/")]
    paths.sort(key=lambda p: hashlib.sha256(p.encode()).hexdigest())
    for path in paths:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if SEPARATOR in text.split("\n"):
            sys.exit(f"{path} holds the separator line")
        print(f"{path}\n\n{text.rstrip()}\n{SEPARATOR}")


if __name__ == "__main__":
    main()
