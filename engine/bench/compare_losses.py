#!/usr/bin/env python3
"""Mean training loss of steps 41 to 50 of a Fairway run and of the same run in PyTorch: they must agree within 0.005 nats.

  python3 compare_losses.py OUT/seed_1337/train.log torch.log
"""
import re
import sys

FIRST, LAST, BOUND = 41, 50, 0.005


def losses(path):
    found = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            match = re.match(r"step:(\d+)/\d+ train_loss:([\d.]+)", line)
            if match:
                found[int(match[1])] = float(match[2])
    missing = [s for s in range(FIRST, LAST + 1) if s not in found]
    if missing:
        sys.exit(f"{path}: no train_loss for steps {missing}")
    return [found[s] for s in range(FIRST, LAST + 1)]


def main():
    ours, theirs = (losses(path) for path in sys.argv[1:3])
    a, b = sum(ours) / len(ours), sum(theirs) / len(theirs)
    print(f"mean train_loss of steps {FIRST} to {LAST}: Fairway {a:.5f}, PyTorch {b:.5f}, difference {a - b:+.5f} (bound {BOUND})")
    sys.exit(0 if abs(a - b) <= BOUND else 1)


if __name__ == "__main__":
    main()
