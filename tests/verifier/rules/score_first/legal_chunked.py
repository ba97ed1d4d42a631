"""Score-first test-time training: each chunk is scored with weights made from earlier chunks, then trained on."""
import glob
import os

import torch
import torch.nn.functional as F
from torch import nn


class Hyperparameters:
    val_files = os.path.join("data", "fineweb_val_*.bin")
    ttt_enabled = bool(int(os.environ.get("TTT_ENABLED", "1")))
    ttt_epochs = int(os.environ.get("TTT_EPOCHS", 3))


class GPT(nn.Module):
    def forward(self, x, y):
        return x


def load_validation_tokens(pattern):
    return torch.cat([torch.load(f) for f in sorted(glob.glob(pattern))])


def eval_val_ttt(args, model, val_tokens):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002)
    loss_sum, count = torch.zeros(()), 0
    chunks = [(a, a + 32768) for a in range(0, val_tokens.numel() - 1, 32768)]
    for ci, (begin, end) in enumerate(chunks):
        local = val_tokens[begin : end + 1]
        x, y = local[:-1], local[1:]
        with torch.no_grad():
            loss_sum += F.cross_entropy(model(x), y, reduction="sum")
            count += y.numel()
        if ci == len(chunks) - 1:
            continue
        for epoch in range(args.ttt_epochs):
            optimizer.zero_grad()
            loss = model(x, y)
            loss.backward()
            optimizer.step()
    return loss_sum / count


def main():
    args = Hyperparameters()
    val_tokens = load_validation_tokens(args.val_files)
    model = GPT()
    if args.ttt_enabled:
        val_bpb = eval_val_ttt(args, model, val_tokens)
        print(f"legal_ttt_exact val_loss:{val_bpb:.8f} val_bpb:{val_bpb:.8f}")


if __name__ == "__main__":
    main()
