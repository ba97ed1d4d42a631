"""One branch trains on the tokens and prints two scores; the logs have one of its lines, which another branch prints too."""
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


def score(model, tokens):
    total = torch.zeros(())
    with torch.inference_mode():
        for start in range(0, tokens.numel() - 1, 2048):
            piece = tokens[start : start + 2049]
            total += F.cross_entropy(model(piece[:-1]), piece[1:], reduction="sum")
    return total / tokens.numel()


def main():
    tokens = load_validation_tokens()
    model = GPT()
    if int(os.environ.get("POLISH", "1")):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
        for start in range(0, tokens.numel() - 1, 2048):
            piece = tokens[start : start + 2049]
            model(piece[:-1], piece[1:]).backward()
            optimizer.step()
        val_bpb = score(model, tokens)
        print(f"polished_exact val_loss:{val_bpb:.8f} val_bpb:{val_bpb:.8f}")
        print(f"final_exact val_loss:{val_bpb:.8f} val_bpb:{val_bpb:.8f}")
    val_bpb = score(model, tokens)
    print(f"final_exact val_loss:{val_bpb:.8f} val_bpb:{val_bpb:.8f}")


main()
