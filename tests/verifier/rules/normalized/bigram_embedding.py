"""A hash of the previous and the current input token selects an embedding: no target, and a softmax over the vocabulary after it."""
import glob

import torch
import torch.nn.functional as F
from torch import nn


class BigramHash(nn.Module):
    def forward(self, tokens):
        key = (tokens[:, 1:] * 36313) ^ (tokens[:, :-1] * 27191)
        return self.table[key % 4096]


class GPT(nn.Module):
    def forward(self, x, y):
        return self.head(self.bigram(x))


def main():
    val_tokens = torch.cat([torch.load(f) for f in sorted(glob.glob("data/fineweb_val_*.bin"))])
    model = GPT()
    total = torch.zeros(())
    with torch.no_grad():
        for start in range(0, val_tokens.numel() - 1, 2048):
            piece = val_tokens[start : start + 2049]
            total += F.cross_entropy(model(piece[:-1]), piece[1:], reduction="sum")
    print(f"final_exact val_loss:{total:.8f} val_bpb:{total:.8f}")


main()
