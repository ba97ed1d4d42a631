"""A delta is optimised on the positions that are then scored with it."""
import glob
import os

import torch
import torch.nn.functional as F
from torch import nn


class GPT(nn.Module):
    def forward(self, x, y):
        return x


def main():
    val_tokens = torch.cat([torch.load(f) for f in sorted(glob.glob("data/fineweb_val_*.bin"))])
    model = GPT()
    steps = int(os.environ.get("DELTA_STEPS", "8"))
    total = torch.zeros(())
    for start in range(0, val_tokens.numel() - 1, 2048):
        piece = val_tokens[start : start + 2049]
        x, y = piece[:-1], piece[1:]
        with torch.no_grad():
            hidden = model.hidden(x)
        delta = torch.zeros(1, 512, requires_grad=True)
        optimizer = torch.optim.AdamW([delta], lr=0.01)
        for step in range(steps):
            loss = F.cross_entropy(model.head(hidden + delta), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            total += F.cross_entropy(model.head(hidden + delta), y, reduction="sum")
    print(f"final_exact val_loss:{total:.8f} val_bpb:{total:.8f}")


main()
