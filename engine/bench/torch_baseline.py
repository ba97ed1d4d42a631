#!/usr/bin/env python3
"""The naive baseline in PyTorch binary32: what a user would pick instead, for speed and for losses side by side.

Same model, data, initial weights and threads as a Fairway submission. Needs PyTorch (PyPI); used by benchmarks only.

  python3 torch_baseline.py --weights init.safetensors --data DIR --prefix fairway --steps 50          # losses per step
  python3 torch_baseline.py --weights init.safetensors --data DIR --prefix fairway --time 5            # seconds per step
"""
import argparse
import glob
import json
import math
import os
import struct
import time

import numpy as np
import torch
import torch.nn.functional as F

EPS = 2.0 ** -23


def read_safetensors(path):
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(size))
        data = f.read()
    out = {}
    for name, t in header.items():
        if name == "__metadata__":
            continue
        raw = data[t["data_offsets"][0]:t["data_offsets"][1]]
        if t["dtype"] == "BF16":
            values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, "<f4")
        out[name] = torch.from_numpy(values.copy()).reshape(t["shape"])
    return out


class Stream:
    """The training stream: consecutive spans of m + 1 tokens per virtual worker, wrapping."""

    def __init__(self, directory, prefix):
        files = sorted(glob.glob(os.path.join(directory, f"{prefix}_train_*.bin")))
        self.tokens = np.concatenate([np.fromfile(f, "<u2", offset=1024) for f in files]).astype(np.int64)
        self.at = 0

    def batch(self, tokens, length, workers=8):
        m = tokens // workers
        x, y = [], []
        for _ in range(workers):
            span = np.take(self.tokens, range(self.at, self.at + m + 1), mode="wrap")
            self.at += m + 1
            x.append(span[:-1].reshape(-1, length))
            y.append(span[1:].reshape(-1, length))
        return torch.from_numpy(np.concatenate(x)), torch.from_numpy(np.concatenate(y))


def rms(x):
    return F.rms_norm(x, (x.size(-1),), eps=EPS)


class Model:
    def __init__(self, weights, heads=8, kv_heads=4, base=10000.0, cap=30.0):
        self.p = {k: v.clone().requires_grad_(True) for k, v in weights.items()}
        self.layers = 1 + max(int(k.split(".")[1]) for k in weights if k.startswith("blocks."))
        self.heads, self.kv_heads, self.base, self.cap = heads, kv_heads, base, cap

    def rope(self, x):
        length, depth = x.size(-2), x.size(-1)
        theta = self.base ** (-torch.arange(0, depth, 2, dtype=torch.float32) / depth)
        angle = torch.outer(torch.arange(length, dtype=torch.float32), theta)
        c, s = angle.cos(), angle.sin()
        a, b = x[..., :depth // 2], x[..., depth // 2:]
        return torch.cat((a * c + b * s, b * c - a * s), -1)

    def block(self, i, x, x0):
        p = lambda n: self.p[f"blocks.{i}.{n}"]
        u = p("resid_mix")[0] * x + p("resid_mix")[1] * x0
        n = rms(u)
        rows, length, width = n.shape
        split = lambda t, h: t.view(rows, length, h, -1).transpose(1, 2)
        q = split(n @ p("attn.c_q.weight").T, self.heads)
        k = split(n @ p("attn.c_k.weight").T, self.kv_heads)
        v = split(n @ p("attn.c_v.weight").T, self.kv_heads)
        q = self.rope(rms(q)) * p("attn.q_gain")[:, None, None]
        k = self.rope(rms(k))
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        y = u + p("attn_scale") * (o.transpose(1, 2).reshape(rows, length, width) @ p("attn.proj.weight").T)
        h = torch.relu(rms(y) @ p("mlp.fc.weight").T).square() @ p("mlp.proj.weight").T
        return y + p("mlp_scale") * h

    def loss(self, x, y):
        table = self.p["tok_emb.weight"]
        h = rms(F.embedding(x, table))
        x0, kept = h, []
        encoder = self.layers // 2
        for i in range(self.layers):
            if i >= encoder and kept:
                h = h + self.p["skip_weights"][i - encoder] * kept.pop()
            h = self.block(i, h, x0)
            if i < encoder:
                kept.append(h)
        z = rms(h) @ table.T
        z = self.cap * torch.tanh(z / self.cap)
        return F.cross_entropy(z.view(-1, z.size(-1)), y.reshape(-1))


def newton_schulz(g, steps=5):
    x = g.T if g.size(0) > g.size(1) else g
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return x.T if g.size(0) > g.size(1) else x


class Optimizer:
    def __init__(self, model, args):
        self.args, self.model, self.t = args, model, 0
        is_matrix = lambda k: k.startswith("blocks.") and k.endswith(".weight")
        self.matrices = [k for k in model.p if is_matrix(k)]
        self.rest = [k for k in model.p if not is_matrix(k)]
        self.momentum = {k: torch.zeros_like(model.p[k]) for k in self.matrices}
        groups = [{"params": [model.p[k]], "lr": args.tied_embed_lr if k.startswith("tok_emb") else args.scalar_lr} for k in self.rest]
        self.adam = torch.optim.Adam(groups, betas=(0.9, 0.95), eps=1e-8)
        self.base = [g["lr"] for g in self.adam.param_groups]

    @torch.no_grad()
    def step(self, multiplier):
        a = self.args
        f = min(self.t / a.momentum_warmup, 1.0)
        mu = (1 - f) * a.momentum_start + f * a.momentum
        for group, lr in zip(self.adam.param_groups, self.base):
            group["lr"] = lr * multiplier
        self.adam.step()
        for k in self.matrices:
            p, m = self.model.p[k], self.momentum[k]
            m.mul_(mu).add_(p.grad)
            u = newton_schulz(p.grad + mu * m)
            p.sub_(a.matrix_lr * multiplier * max(1.0, p.size(0) / p.size(1)) ** 0.5 * u)
        for p in self.model.p.values():
            p.grad = None
        self.t += 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--prefix", default="fairway")
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--seq-len", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=0, help="train and print the loss of every step")
    parser.add_argument("--warmdown", type=int, default=20)
    parser.add_argument("--time", type=int, default=0, help="repetitions to time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--matrix-lr", type=float, default=0.04)
    parser.add_argument("--scalar-lr", type=float, default=0.04)
    parser.add_argument("--tied-embed-lr", type=float, default=0.05)
    parser.add_argument("--momentum", type=float, default=0.95)
    parser.add_argument("--momentum-start", type=float, default=0.85)
    parser.add_argument("--momentum-warmup", type=int, default=500)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = Model(read_safetensors(args.weights))
    optimizer = Optimizer(model, args)
    stream = Stream(args.data, args.prefix)
    for step in range(args.steps):
        x, y = stream.batch(args.batch_tokens, args.seq_len)
        loss = model.loss(x, y)
        loss.backward()
        left = args.steps - step
        optimizer.step(1.0 if left > args.warmdown else left / args.warmdown)
        print(f"step:{step + 1}/{args.steps} train_loss:{loss.item():.6f}", flush=True)
    if args.time:
        x, y = stream.batch(args.batch_tokens, args.seq_len)
        passes, updates = [], []
        for _ in range(args.time + 1):
            start = time.perf_counter()
            model.loss(x, y).backward()
            middle = time.perf_counter()
            optimizer.step(0.0)
            passes.append(middle - start)
            updates.append(time.perf_counter() - middle)
        # The first repetition warms caches and allocators.
        a, b = sorted(passes[1:])[args.time // 2], sorted(updates[1:])[args.time // 2]
        print(json.dumps({"torch": torch.__version__, "threads": args.threads, "tokens": args.batch_tokens,
                          "forward_backward_s": a, "optimizer_s": b}))


if __name__ == "__main__":
    main()
