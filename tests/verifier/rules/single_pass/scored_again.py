"""A legal score-first pass, then a second evaluation with the weights it left; the second is reported."""
import glob

import torch
import torch.nn.functional as F
from torch import nn


class GPT(nn.Module):
    def forward(self, x, y):
        return x


def score(model, tokens):
    total = torch.zeros(())
    with torch.no_grad():
        for start in range(0, tokens.numel() - 1, 2048):
            piece = tokens[start : start + 2049]
            total += F.cross_entropy(model(piece[:-1]), piece[1:], reduction="sum")
    return total


def score_and_train(model, tokens):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002)
    total = torch.zeros(())
    for start in range(0, tokens.numel() - 1, 2048):
        piece = tokens[start : start + 2049]
        with torch.no_grad():
            total += F.cross_entropy(model(piece[:-1]), piece[1:], reduction="sum")
        model(piece[:-1], piece[1:]).backward()
        optimizer.step()
    return total


def main():
    val_tokens = torch.cat([torch.load(f) for f in sorted(glob.glob("data/fineweb_val_*.bin"))])
    model = GPT()
    first = score_and_train(model, val_tokens)
    print(f"first_pass val_loss:{first:.8f} val_bpb:{first:.8f}")
    again = score(model, val_tokens)
    print(f"second_pass val_loss:{again:.8f} val_bpb:{again:.8f}")


main()
