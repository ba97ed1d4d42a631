"""One model is trained on the validation tokens and thrown away; another, made afresh, is scored."""
import copy
import glob
import os

import torch
import torch.nn.functional as F
from torch import nn


class GPT(nn.Module):
    def forward(self, x, y):
        return x


def load_validation_tokens():
    return torch.cat([torch.load(f) for f in sorted(glob.glob("data/fineweb_val_*.bin"))])


def train_on(model, tokens):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    for start in range(0, tokens.numel() - 1, 2048):
        piece = tokens[start : start + 2049]
        model(piece[:-1], piece[1:]).backward()
        optimizer.step()


def score(model, tokens):
    total = torch.zeros(())
    with torch.inference_mode():
        for start in range(0, tokens.numel() - 1, 2048):
            piece = tokens[start : start + 2049]
            total += F.cross_entropy(model(piece[:-1]), piece[1:], reduction="sum")
    return total / tokens.numel()


def main():
    tokens = load_validation_tokens()
    trial = GPT()
    if int(os.environ.get("TRY", "1")):
        train_on(trial, tokens)
    model = GPT()
    val_bpb = score(model, tokens)
    print(f"final_exact val_loss:{val_bpb:.8f} val_bpb:{val_bpb:.8f}")


main()
