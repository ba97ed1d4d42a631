"""The whole validation set is trained on, then scored."""
import glob
import os

import torch
import torch.nn.functional as F
from torch import nn


class Hyperparameters:
    val_files = os.path.join("data", "fineweb_val_*.bin")
    adapt = bool(int(os.environ.get("ADAPT", "1")))
    adapt_epochs = int(os.environ.get("ADAPT_EPOCHS", 3))


class GPT(nn.Module):
    def forward(self, x, y):
        return x


def load_validation_tokens(pattern):
    return torch.cat([torch.load(f) for f in sorted(glob.glob(pattern))])


def polish(args, model, tokens):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.001)
    for epoch in range(args.adapt_epochs):
        for start in range(0, tokens.numel() - 1, 2048):
            piece = tokens[start : start + 2049]
            loss = model(piece[:-1], piece[1:])
            loss.backward()
            optimizer.step()


def score(model, tokens):
    total = torch.zeros(())
    with torch.inference_mode():
        for start in range(0, tokens.numel() - 1, 2048):
            piece = tokens[start : start + 2049]
            total += F.cross_entropy(model(piece[:-1]), piece[1:], reduction="sum")
    return total / tokens.numel()


def main():
    args = Hyperparameters()
    stream = load_validation_tokens(args.val_files)
    model = GPT()
    if args.adapt:
        polish(args, model, stream)
    val_bpb = score(model, stream)
    print(f"final_exact val_loss:{val_bpb:.8f} val_bpb:{val_bpb:.8f}")


if __name__ == "__main__":
    main()
