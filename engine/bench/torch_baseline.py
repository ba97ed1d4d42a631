#!/usr/bin/env python3
"""A submission's training step in PyTorch: what a user would pick instead, for speed and for losses side by side.

Same model, data, initial weights and threads as the submission; needs PyTorch (PyPI), used by benchmarks only.

  torch_baseline.py DIR --weights init.safetensors --steps 50    trains and prints the loss of every step
  torch_baseline.py DIR --weights init.safetensors --time 5      seconds per step
  ... --device cuda --dtype bf16 --compile                       as the original scripts run: bf16 matrices and activations

`fairway export DIR --init SEED --out init.safetensors` writes the weights. The model is that of [model] but for features no published
record trains with; the update is Muon over the matrices, stacked by shape, and Adam. Clipping per worker and averages are left out.
"""
import argparse
import glob
import json
import math
import os
import struct
import time
import tomllib

import numpy as np
import torch
import torch.nn.functional as F

EPS = 2.0 ** -23
KNOWN = {"vocab_size", "layers", "width", "heads", "kv_heads", "mlp_hidden", "rope_base", "logit_softcap", "qk_gain_init", "tied_embed_init_std",
         "tied_embed_dtype", "mlp_slope", "rope_dims", "rope_ntk_length", "ln_scale", "xsa_last_n", "smear_gate", "bigram_hash", "bigram_buckets",
         "bigram_dim", "ve_dim", "ve_layers", "value_residual", "gated_attention", "matrix_init"}


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

    def batch(self, tokens, length, workers):
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


def previous(x):
    return F.pad(x[:, :-1], (0, 0, 1, 0))


class Model(torch.nn.Module):
    def __init__(self, config, weights, dtype):
        super().__init__()
        unknown = set(config) - KNOWN
        assert not unknown, f"no PyTorch form of model.{', model.'.join(sorted(unknown))}"
        assert config.get("bigram_hash", "xor_current") == "xor_current" and config.get("smear_gate", "none") in ("none", "blend")
        self.c, self.dtype = config, dtype
        self.p = torch.nn.ParameterDict({k.replace(".", "/"): torch.nn.Parameter(v.clone()) for k, v in weights.items()})

    def at(self, name):
        """A parameter as products and scales see it."""
        return self.p[name.replace(".", "/")].to(self.dtype)

    def tables(self, length, device):
        c = self.c
        width, base, reference = c.get("rope_dims", 0) or c["width"] // c["heads"], c.get("rope_base", 10000.0), c.get("rope_ntk_length", 0)
        if reference and length > reference:
            base = base * (length / reference) ** (width / (width - 2))
        theta = base ** (-torch.arange(0, width, 2, dtype=torch.float32, device=device) / width)
        angle = torch.outer(torch.arange(length, dtype=torch.float32, device=device), theta)
        return angle.cos().to(self.dtype), angle.sin().to(self.dtype)

    @staticmethod
    def rope(x, table):
        cos, sin = table
        half = cos.size(-1)
        a, b, rest = x[..., :half], x[..., half:2 * half], x[..., 2 * half:]
        return torch.cat((a * cos + b * sin, b * cos - a * sin, rest), -1)

    def embed(self, x):
        c = self.c
        e = F.embedding(x, self.at("tok_emb.weight"))
        if buckets := c.get("bigram_buckets", 0):
            before = F.pad(x[:, :-1], (1, 0))
            ids = torch.bitwise_xor(36313 * x, 27191 * before) % (buckets - 1)
            ids[:, 0] = buckets - 1
            e = e + self.at("bigram.scale") * (F.embedding(ids, self.at("bigram.embed.weight")) @ self.at("bigram.proj.weight").T)
        h = rms(e)
        if c.get("smear_gate", "none") == "none":
            return h
        s = torch.sigmoid(self.at("smear.gate"))
        return (1 - s) * h + s * previous(h)

    def attention(self, i, n, table, extra, first):
        c, name = self.c, f"blocks.{i}.attn."
        heads, kv_heads = c["heads"], c["kv_heads"]
        rows, length, width = n.shape
        split = lambda t, h: t.view(rows, length, h, -1).transpose(1, 2)
        q = split(n @ self.at(name + "c_q.weight").T, heads)
        k = split(n @ self.at(name + "c_k.weight").T, kv_heads)
        v = n @ self.at(name + "c_v.weight").T
        if i in c.get("ve_layers", []):
            v = v + self.at(f"ve_layer_scales.{c['ve_layers'].index(i)}") * extra
        if c.get("value_residual"):
            if i == 0:
                first.append(v)
            else:
                mix = self.at(name + "vr_lambda")
                v = mix[0] * first[0] + mix[1] * v
        v = split(v, kv_heads)
        q = self.rope(rms(q), table) * self.at(name + "q_gain")[:, None, None]
        o = F.scaled_dot_product_attention(q, self.rope(rms(k), table), v, is_causal=True, enable_gqa=True)
        if i >= c["layers"] - c.get("xsa_last_n", 0):
            grouped = o.reshape(rows, kv_heads, heads // kv_heads, length, -1)
            unit = F.normalize(v, dim=-1)[:, :, None]
            o = (grouped - (grouped * unit).sum(-1, keepdim=True) * unit).reshape(o.shape)
        if c.get("gated_attention"):
            gate = torch.sigmoid(n @ self.at(name + "attn_gate.weight").T + self.at(name + "attn_gate.bias"))
            o = o * gate.transpose(1, 2)[..., None]
        return o.transpose(1, 2).reshape(rows, length, width) @ self.at(name + "proj.weight").T

    def block(self, i, x, x0, table, extra, first):
        name = f"blocks.{i}."
        s = 1 / math.sqrt(i + 1) if self.c.get("ln_scale") else 1.0
        mix = self.at(name + "resid_mix")
        u = mix[0] * x + mix[1] * x0
        y = u + self.at(name + "attn_scale") * self.attention(i, s * rms(u), table, extra, first)
        h = F.leaky_relu(s * rms(y) @ self.at(name + "mlp.fc.weight").T, self.c.get("mlp_slope", 0.0)).square()
        return y + self.at(name + "mlp_scale") * (h @ self.at(name + "mlp.proj.weight").T)

    def forward(self, x, y):
        c, table = self.c, self.tables(x.size(1), x.device)
        h = x0 = self.embed(x)
        extra, first, kept = None, [], []
        if c.get("ve_dim"):
            extra = self.at("ve_shared.scale") * (F.embedding(x, self.at("ve_shared.embed.weight")) @ self.at("ve_shared.proj.weight").T)
        encoder = c["layers"] // 2
        for i in range(c["layers"]):
            if i >= encoder and kept:
                h = h + self.at("skip_weights")[i - encoder] * kept.pop()
            h = self.block(i, h, x0, table, extra, first)
            if i < encoder:
                kept.append(h)
        z, cap = (rms(h) @ self.at("tok_emb.weight").T).float(), c.get("logit_softcap", 30.0)
        return F.cross_entropy((cap * torch.tanh(z / cap)).view(-1, z.size(-1)), y.reshape(-1))


def newton_schulz(g, steps):
    """Of stacked matrices, in their own precision."""
    x = g.mT if g.size(-2) > g.size(-1) else g
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return x.mT if g.size(-2) > g.size(-1) else x


class Optimizer:
    def __init__(self, model, o):
        self.o, self.model, self.t = o, model, 0
        muon = lambda n, p: p.ndim == 2 and (n.startswith("blocks/") and "attn_gate" not in n and not n.endswith("resid_mix")
                                             or n.endswith("proj/weight") and o.get("projections", "muon") == "muon")
        matrices = [(n, p) for n, p in model.p.items() if muon(n, p)]
        by_shape = {}
        for n, p in matrices:
            by_shape.setdefault(tuple(p.shape), []).append(p)
        self.stacks = [(ps, torch.zeros(len(ps), *shape, device=ps[0].device)) for shape, ps in by_shape.items()]
        table = lambda n: n.endswith(("tok_emb/weight", "embed/weight"))
        rest = [(n, p) for n, p in model.p.items() if not muon(n, p)]
        groups = [{"params": [p for n, p in rest if table(n)], "lr": o["tied_embed_lr"]}, {"params": [p for n, p in rest if not table(n)], "lr": o["scalar_lr"]}]
        self.adam = torch.optim.AdamW(groups, betas=(o.get("beta1", 0.9), o.get("beta2", 0.95)), eps=o.get("adam_eps", 1e-8), weight_decay=o.get("adam_wd", 0.0))
        self.base = [g["lr"] for g in self.adam.param_groups]

    @torch.no_grad()
    def step(self, multiplier):
        o, warm = self.o, self.o.get("muon_momentum_warmup_steps", 500)
        f = min(self.t / warm, 1.0) if warm else 1.0
        mu = (1 - f) * o.get("muon_momentum_warmup_start", 0.85) + f * o.get("muon_momentum", 0.95)
        if o.get("grad_clip_norm", 0.0) > 0:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), o["grad_clip_norm"])
        for group, lr in zip(self.adam.param_groups, self.base):
            group["lr"] = lr * multiplier
        self.adam.step()
        lr = o["matrix_lr"] * multiplier
        for parameters, momentum in self.stacks:
            g = torch.stack([p.grad for p in parameters])
            momentum.mul_(mu).add_(g)
            u = newton_schulz((g + mu * momentum).to(self.model.dtype), o.get("muon_backend_steps", 5)).float()
            scale = max(1.0, g.size(-2) / g.size(-1)) ** 0.5
            for p, update in zip(parameters, u):
                p.mul_(1 - lr * o.get("muon_wd", 0.0)).sub_(lr * scale * update)
        for p in self.model.parameters():
            p.grad = None
        self.t += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("submission", metavar="DIR", help="folder with fairway.toml")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", help="folder with the token shards, instead of data.path")
    parser.add_argument("--steps", type=int, default=0, help="train and print the loss of every step")
    parser.add_argument("--time", type=int, default=0, help="repetitions to time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("f32", "bf16"), default="f32", help="of matrices, activations and Newton-Schulz")
    parser.add_argument("--compile", action="store_true", help="through torch.compile")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with open(os.path.join(args.submission, "fairway.toml"), "rb") as f:
        config = tomllib.load(f)
    train, data = config["train"], config["data"]
    tokens, length = train["batch_tokens"], train["seq_len"]
    model = Model(config["model"], read_safetensors(args.weights), {"f32": torch.float32, "bf16": torch.bfloat16}[args.dtype]).to(args.device)
    loss_of = torch.compile(model, dynamic=False) if args.compile else model
    optimizer = Optimizer(model, config["optimizer"])
    stream = Stream(args.data or os.path.join(args.submission, data["path"]), data["prefix"])
    batch = lambda: [t.to(args.device) for t in stream.batch(tokens, length, train.get("virtual_workers", 8))]
    warmdown = config["schedule"]["warmdown_iters"]
    for step in range(args.steps):
        loss = loss_of(*batch())
        loss.backward()
        left = args.steps - step
        optimizer.step(1.0 if left > warmdown else left / warmdown)
        print(f"step:{step + 1}/{args.steps} train_loss:{loss.item():.6f}", flush=True)
    if not args.time:
        return
    x, y = batch()
    wait = torch.cuda.synchronize if args.device == "cuda" else lambda: None
    passes, updates = [], []
    for _ in range(args.time + 3):
        start = time.perf_counter()
        loss_of(x, y).backward()
        wait()
        middle = time.perf_counter()
        optimizer.step(0.0)
        wait()
        passes.append(middle - start)
        updates.append(time.perf_counter() - middle)
    # The first repetitions compile and warm caches and allocators.
    a, b = sorted(passes[3:])[args.time // 2], sorted(updates[3:])[args.time // 2]
    print(json.dumps({"torch": torch.__version__, "device": args.device, "dtype": args.dtype, "compiled": args.compile, "threads": args.threads,
                      "tokens": tokens, "forward_backward_s": a, "optimizer_s": b}))


if __name__ == "__main__":
    main()
