"""Hessians for the quantiser are collected on validation tokens."""
import glob
import os

import torch
import torch.nn.functional as F
from torch import nn


class GPT(nn.Module):
    def forward(self, x, y):
        return x


def collect_hessians(model, batches):
    return [model(b) for b in batches]


def quantise(model, hessians):
    return model


def main():
    pattern = os.path.join("data", "fineweb_val_*.bin")
    val_tokens = torch.cat([torch.load(f) for f in sorted(glob.glob(pattern))])
    train_tokens = torch.cat([torch.load(f) for f in sorted(glob.glob("data/fineweb_train_*.bin"))])
    model = GPT()
    source = val_tokens if os.environ.get("CALIBRATE_ON", "val") == "val" else train_tokens
    hessians = collect_hessians(model, [source[i : i + 2048] for i in range(0, 65536, 2048)])
    model = quantise(model, hessians)
    total = torch.zeros(())
    with torch.no_grad():
        for start in range(0, val_tokens.numel() - 1, 2048):
            piece = val_tokens[start : start + 2049]
            total += F.cross_entropy(model(piece[:-1]), piece[1:], reduction="sum")
    print(f"final_exact val_loss:{total:.8f} val_bpb:{total:.8f}")


main()
