import math


def eval_val(model, tokens, window):
    """Scores tokens in windows; nothing here is ever run by a test."""
    total, count = 0.0, 0
    for start in range(0, len(tokens) - 1, window):
        chunk = tokens[start:start + window + 1]
        losses = model.score(chunk)
        total += sum(losses)
        count += len(losses)
    return total / count, total / count / math.log(2.0)


def main():
    print("val_loss:{:.8f} val_bpb:{:.8f}".format(*eval_val(None, [], 1024)))


if __name__ == "__main__":
    main()
