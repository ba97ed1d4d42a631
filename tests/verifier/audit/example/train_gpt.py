import os

import torch
import torch.nn.functional as F


class Hyperparameters:
    seed = int(os.environ.get("SEED", 42))
    iterations = int(os.environ.get("ITERATIONS", 20000))


def eval_val(model, val_tokens, seq_len=1024):
    loss_sum, count = 0.0, 0
    model.eval()
    with torch.no_grad():
        for start in range(0, val_tokens.numel() - 1, seq_len):
            x = val_tokens[start:start + seq_len]
            y = val_tokens[start + 1:start + seq_len + 1]
            logits = model(x[None])
            loss_sum += F.cross_entropy(logits[0], y, reduction="sum").item()
            count += y.numel()
    return loss_sum / count


def main():
    args = Hyperparameters()
    torch.manual_seed(args.seed)
    model = torch.nn.Sequential(torch.nn.Embedding(1024, 64), torch.nn.Linear(64, 1024))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    train_tokens = torch.load("fineweb_train.pt")
    val_tokens = torch.load("fineweb_val.pt")
    for step in range(args.iterations):
        x, y = train_tokens[step, :-1], train_tokens[step, 1:]
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    print(f"final_exact val_loss:{eval_val(model, val_tokens):.8f}")


if __name__ == "__main__":
    main()
