"""Hessians are collected on training tokens after the training loop has used the whole time."""
import glob
import os
import time

import torch
import torch.nn.functional as F
from torch import nn


class GPT(nn.Module):
    def forward(self, x, y):
        return x


def collect_hessians(model, batches):
    return [model(b) for b in batches]


def main():
    train = torch.cat([torch.load(f) for f in sorted(glob.glob("data/fineweb_train_*.bin"))])
    tokens = torch.cat([torch.load(f) for f in sorted(glob.glob("data/fineweb_val_*.bin"))])
    model = GPT()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.001)
    begin = time.perf_counter()
    step = 0
    while time.perf_counter() - begin < 600:
        piece = train[step * 2048 : step * 2048 + 2049]
        model(piece[:-1], piece[1:]).backward()
        optimizer.step()
        step += 1
    if int(os.environ.get("CALIBRATE", "1")):
        print("gptq:calibrating")
        collect_hessians(model, [train[i : i + 2048] for i in range(0, 65536, 2048)])
    total = torch.zeros(())
    with torch.no_grad():
        for start in range(0, tokens.numel() - 1, 2048):
            piece = tokens[start : start + 2049]
            total += F.cross_entropy(model(piece[:-1]), piece[1:], reduction="sum")
    print(f"final_exact val_loss:{total:.8f} val_bpb:{total:.8f}")


main()
