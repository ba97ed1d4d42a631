"""Documents are packed and attention stays inside them, but each position takes in the one before it without asking."""
import glob
import os

import torch
import torch.nn.functional as F
from torch import nn


class GPT(nn.Module):
    def __init__(self, smear_enabled):
        super().__init__()
        self.smear_enabled = smear_enabled
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, input_ids, y, cu_seqlens=None):
        x = self.tok_emb(input_ids)
        if self.smear_enabled:
            g = torch.sigmoid(self.gate)
            x = torch.cat([x[:, :1], x[:, 1:] + g * x[:, :-1]], dim=1)
        return self.blocks(x, cu_seqlens)


def main():
    tokens = torch.cat([torch.load(f) for f in sorted(glob.glob("data/fineweb_val_*.bin"))])
    model = GPT(bool(int(os.environ.get("SMEAR_ENABLED", "0"))))
    total = torch.zeros(())
    with torch.inference_mode():
        for start in range(0, tokens.numel() - 1, 2048):
            piece = tokens[start : start + 2049]
            total += F.cross_entropy(model(piece[:-1], None), piece[1:], reduction="sum")
    val_bpb = total / tokens.numel()
    print(f"final_exact val_loss:{val_bpb:.8f} val_bpb:{val_bpb:.8f}")


main()
