#!/usr/bin/env python3
"""The published systems once more, in PyTorch and binary32: losses, gradients and ten training steps of small variants.

Written from the description of the architectures and optimizers alone, sharing no code with the engine. It makes the vectors that
systems_test.cc compares with:

    systems_reference.py [--system NAME]    writes vectors/<system>.safetensors for every system of systems.json, or those named
    systems_reference.py --check FILE       compares the nll that `fairway eval DIR --weights W --tokens T --nll-out N` wrote with the
      --weights W --tokens T --config C     model of fairway.toml C (full size; any safetensors under the upstream names)

A vector file holds `nll` (tokens), `losses` (mean nll of each step, before its update) and per parameter `grad.<name>`: the gradient of the
sum of the nll, as fp16 of gradient / `scale.<name>` to stay small. Weights and tokens come from formulas that both sides compute.

Needs torch, numpy and safetensors' format only (written and read here by hand).
"""
import argparse
import json
import math
import pathlib
import struct

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent
EPS = 2.0**-23


# --- weights and tokens both sides can compute ---------------------------------------------------------------------------------------


def fnv1a(text):
    h = 0x811C9DC5
    for byte in text.encode():
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return h


def noise(name, count):
    """Multiples of 2^-23 in [-1, 1): a hash of (name, index)."""
    h = (np.arange(count, dtype=np.uint64) * 0x9E3779B1 + fnv1a(name)) & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h = ((h ^ (h >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(16)
    return ((h >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)).astype(np.float32)


def weight(name, shape):
    """Base value and spread by role; spreads are powers of two, so nothing is rounded."""
    count = int(np.prod(shape)) if shape else 1
    if name.endswith(("attn_scale", "mlp_scale", "skip_weights")) or "ve_layer_scales" in name:
        base, spread = 1.0, 0.25
    elif name.endswith("q_gain"):
        base, spread = 1.5, 0.25
    elif name.endswith(("vr_lambda", "resid_mix", "bigram.scale", "bigram_hash.scale", "ve_shared.scale")):
        base, spread = 0.5, 0.25
    elif name.endswith((".table.weight", ".embed.weight", "conv1d.weight")):
        base, spread = 0.0, 1.0
    elif name == "tok_emb.weight":
        base, spread = 0.0, 0.5
    elif len(shape) < 2 or "gate" in name:
        base, spread = 0.0, 0.5
    else:
        base, spread = 0.0, 0.25
    values = np.float32(base) + np.float32(spread) * noise(name, count)
    return torch.from_numpy(values.reshape(shape).copy())


def batch_tokens(step, sequences, length, vocab):
    z = (np.arange(sequences, dtype=np.int64)[:, None] + step * sequences) * 7919
    t = np.arange(length + 1, dtype=np.int64)[None, :]
    tokens = torch.from_numpy((z + 31 * t + 5 * t * t) % vocab)
    return tokens[:, :-1], tokens[:, 1:]


# --- the model -----------------------------------------------------------------------------------------------------------------------


def mlp_name(m, k):
    return "mlp." if m.get("mlp_blocks", 1) == 1 else f"mlp.{k}."


def mlp_shapes(m, block):
    out, f = {}, m["mlp_hidden"] // m.get("mlp_blocks", 1)
    for k in range(m.get("mlp_blocks", 1)):
        name = block + mlp_name(m, k)
        if m.get("hypersphere"):
            out[name + "up_scale"] = (f,)
        out.update({name + "fc.weight": (f, m["width"]), name + "proj.weight": (m["width"], f)})
    return out


def delta_shapes(m, name):
    d, heads, key, value = m["width"], m["delta_heads"], m["delta_key_dim"], m["delta_value_dim"]
    out = {"A_log": (heads,), "dt_bias": (heads,), "o_norm.weight": (value,)}
    out.update({f"{x}_conv1d.weight": (4, heads * n) for x, n in (("q", key), ("k", key), ("v", value))})
    out.update({f"{x}_proj.weight": (n, d) for x, n in (("q", heads * key), ("k", heads * key), ("v", heads * value), ("a", heads),
                                                          ("b", heads), ("g", heads * value))})
    return {name + n: s for n, s in {**out, "o_proj.weight": (d, heads * value)}.items()}


def shapes(m):
    """Parameters by upstream name, in registration order."""
    d, heads, kv, layers = m["width"], m["heads"], m["width"] // m["heads"] * m["kv_heads"], m["layers"]
    loops = m.get("loops", 1)
    out = {}
    if m.get("unet_skips", True):
        encoder = layers * loops // 2
        out["skip_weights"] = (min(encoder, layers * loops - encoder), d)
    out["tok_emb.weight"] = (m["vocab_size"], d)
    hash_kind = m.get("bigram_hash", "xor_current") if m.get("bigram_buckets") else None
    bigram = {}
    if hash_kind:
        module = "bigram" if hash_kind == "xor_current" else "bigram_hash"
        if hash_kind.startswith("xor"):
            bigram[module + ".scale"] = ()
        table = "table" if hash_kind == "affine_92821" else "embed"
        bigram[f"{module}.{table}.weight"] = (m["bigram_buckets"], m.get("bigram_dim", 128))
        if m.get("bigram_dim", 128) != d:
            bigram[module + ".proj.weight"] = (d, m.get("bigram_dim", 128))
    smear = {
        "none": {},
        "keep": {"smeargate.gate": (d,)},
        "first_channels": {"smear_gate.gate.weight": (1, 12), "smear_gate.gate.bias": (1,)},
        "blend": {"smear_gate.gate" if hash_kind in ("affine_31", "xor_previous") else "smear.gate": (d,)},
    }[m.get("smear_gate", "none")]
    first, second = (smear, bigram) if hash_kind in ("affine_31", "xor_previous") else (bigram, smear)
    out.update(first)
    out.update(second)
    for i in range(layers):
        b = f"blocks.{i}."
        blocks = m.get("mlp_blocks", 1)
        out.update({b + "attn_scale": (d,), b + "mlp_scale": (d,) if blocks == 1 else (blocks, d)})
        if not m.get("hypersphere"):
            out[b + "resid_mix"] = (2, d)
        if i in m.get("delta_layers", []):
            out.update(delta_shapes(m, b + "attn."))
            out.update(mlp_shapes(m, b))
            continue
        out[b + "attn.q_gain"] = (heads,)
        if m.get("value_residual"):
            out[b + "attn.vr_lambda"] = (2,)
        if m.get("gated_attention"):
            out.update({b + "attn.attn_gate.weight": (heads, d), b + "attn.attn_gate.bias": (heads,)})
        out.update({b + "attn.c_q.weight": (d, d), b + "attn.c_k.weight": (kv, d), b + "attn.c_v.weight": (kv, d),
                    b + "attn.proj.weight": (d, d)})
        out.update(mlp_shapes(m, b))
    if rank := m.get("loop_lora_rank", 0):
        for p, i in ((p, i) for p in range(loops) for i in range(layers)):
            for what, width in (("q", d), ("k", kv), ("v", kv), ("proj", d)):
                out.update({f"lora_adapters.{p}.{i}.{what}_A": (d, rank), f"lora_adapters.{p}.{i}.{what}_B": (rank, width)})
    if m.get("ve_dim"):
        out["ve_shared.scale"] = ()
        out["ve_shared.embed.weight"] = (m["vocab_size"], m["ve_dim"])
        if m["ve_dim"] != kv:
            out["ve_shared.proj.weight"] = (kv, m["ve_dim"])
        for k in range(len(m["ve_layers"])):
            out[f"ve_layer_scales.{k}"] = (1,)
    if not m.get("tied_head", True):
        out["lm_head.weight"] = (m["vocab_size"], d)
    if m.get("hypersphere"):
        out["logit_scale"] = (m["vocab_size"],)
    for k in range(m.get("mtp_heads", 0)):
        out[f"mtp_heads.{k}.weight"] = (d if m.get("mtp_square") else m["vocab_size"], d)
    return out


def rms(x):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS)


def unit(x):
    return F.normalize(x, dim=-1, eps=1e-12)


def previous(x):
    return F.pad(x[:, :-1], (0, 0, 1, 0))


def bigram_ids(kind, ids, buckets):
    prev = F.pad(ids[:, :-1], (1, 0))
    if kind == "affine_92821":
        return (92821 * prev + ids) % buckets
    if kind == "affine_31":
        return (31 * prev + ids) % buckets
    if kind == "xor_previous":
        return torch.bitwise_xor(36313 * prev, 27191 * ids) % (buckets - 1)
    bucket = torch.bitwise_xor(36313 * ids, 27191 * prev) % (buckets - 1)
    bucket[:, 0] = buckets - 1
    return bucket


def trigram_ids(ids, buckets):
    prev, before = F.pad(ids[:, :-1], (1, 0)), F.pad(ids[:, :-2], (2, 0))
    bucket = torch.bitwise_xor(torch.bitwise_xor(36313 * ids, 27191 * prev), 51497 * before) % (buckets - 1)
    bucket[:, :2] = buckets - 1
    return bucket


def rotate(x, m, length):
    """x (B, heads, T, D)."""
    width = m.get("rope_dims", 0) or x.shape[-1]
    base, reference = m.get("rope_base", 10000.0), m.get("rope_ntk_length", 0)
    if reference and length > reference:
        base = base * (length / reference) ** (width / (width - 2))
    theta = (base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)).float()
    if m.get("rope_inv_freq_dtype", "f32") == "bf16" and not (reference and length > reference):
        theta = theta.bfloat16().float()
    angle = torch.arange(length, dtype=torch.float32)[:, None] * theta
    cos, sin = angle.double().cos().float(), angle.double().sin().float()
    a, b, rest = x[..., : width // 2], x[..., width // 2 : width], x[..., width:]
    return torch.cat([a * cos + b * sin, b * cos - a * sin, rest], -1)


class System:
    def __init__(self, model_config, parameters):
        self.m, self.p = model_config, parameters

    def embed(self, ids):
        m, p = self.m, self.p
        e = p["tok_emb.weight"][ids]
        if m.get("bigram_buckets"):
            kind = m.get("bigram_hash", "xor_current")
            module = "bigram" if kind == "xor_current" else "bigram_hash"
            table = p[f"{module}.{'table' if kind == 'affine_92821' else 'embed'}.weight"]
            h = table[bigram_ids(kind, ids, m["bigram_buckets"])]
            if m.get("trigram_hash"):
                h = h + table[trigram_ids(ids, m["bigram_buckets"])]
            if module + ".proj.weight" in p:
                h = h @ p[module + ".proj.weight"].T
            if module + ".scale" in p:
                h = h * p[module + ".scale"]
            e = e + h
        form = m.get("smear_gate", "none")
        if form == "keep":
            s = torch.sigmoid(p["smeargate.gate"])
            e = s * e + (1 - s) * previous(e)
        x = self.normalised(e)
        if form == "first_channels":
            gate = 0.07 * torch.sigmoid(x[..., :12] @ p["smear_gate.gate.weight"].T + p["smear_gate.gate.bias"])
            x = x + gate * previous(x)
        if form == "blend":
            s = torch.sigmoid(p["smear.gate"] if "smear.gate" in p else p["smear_gate.gate"])
            x = (1 - s) * x + s * previous(x)
        return unit(x) if m.get("hypersphere") else x

    def normalised(self, x):
        return unit(x) if self.m.get("hypersphere") else rms(x)

    def gated_delta(self, n, layer):
        m, p, b = self.m, self.p, f"blocks.{layer}.attn."
        batch, length, _ = n.shape
        heads, key, value = m["delta_heads"], m["delta_key_dim"], m["delta_value_dim"]

        def convolved(x):
            y = n @ p[b + x + "_proj.weight"].T
            w = p[b + x + "_conv1d.weight"]
            padded = F.pad(y, (0, 0, 3, 0))
            return F.silu(sum(w[i] * padded[:, i : i + length] for i in range(4)))

        q = unit(convolved("q").view(batch, length, heads, key)) / math.sqrt(key)
        k = unit(convolved("k").view(batch, length, heads, key))
        v = convolved("v").view(batch, length, heads, value)
        decay = torch.exp(-torch.exp(p[b + "A_log"]) * F.softplus(n @ p[b + "a_proj.weight"].T + p[b + "dt_bias"]))
        beta = torch.sigmoid(n @ p[b + "b_proj.weight"].T)
        state, out = torch.zeros(batch, heads, key, value), []
        for t in range(length):
            state = decay[:, t, :, None, None] * state
            miss = v[:, t] - torch.einsum("bhkv,bhk->bhv", state, k[:, t])
            state = state + torch.einsum("bhk,bhv->bhkv", k[:, t], beta[:, t, :, None] * miss)
            out.append(torch.einsum("bhkv,bhk->bhv", state, q[:, t]))
        o = rms(torch.stack(out, 1)) * p[b + "o_norm.weight"]
        gate = F.silu(n @ p[b + "g_proj.weight"].T).view(batch, length, heads, value)
        return (o * gate).reshape(batch, length, heads * value) @ p[b + "o_proj.weight"].T

    def of_pass(self, what, i, x):
        """What block run i adds to a projection of x."""
        a = self.p.get(f"lora_adapters.{i // self.m['layers']}.{i % self.m['layers']}.{what}_A")
        return 0 if a is None else (x @ a) @ self.p[f"lora_adapters.{i // self.m['layers']}.{i % self.m['layers']}.{what}_B"]

    def attention(self, n, i, ids, first_values):
        layer = i % self.m["layers"]
        m, p, b = self.m, self.p, f"blocks.{layer}.attn."
        if layer in m.get("delta_layers", []):
            return self.gated_delta(n, layer)
        batch, length, d = n.shape
        heads, kv_heads = m["heads"], m["kv_heads"]
        depth = d // heads
        q = (n @ p[b + "c_q.weight"].T + self.of_pass("q", i, n)).view(batch, length, heads, depth)
        k = (n @ p[b + "c_k.weight"].T + self.of_pass("k", i, n)).view(batch, length, kv_heads, depth)
        v = n @ p[b + "c_v.weight"].T + self.of_pass("v", i, n)
        if layer in m.get("ve_layers", []):
            shared = p["ve_shared.embed.weight"][ids]
            if "ve_shared.proj.weight" in p:
                shared = shared @ p["ve_shared.proj.weight"].T
            v = v + p[f"ve_layer_scales.{m['ve_layers'].index(layer)}"] * (p["ve_shared.scale"] * shared)
        if m.get("value_residual"):
            if layer == 0:
                first_values.append(v)
            else:
                lam = p[b + "vr_lambda"]
                v = lam[0] * first_values[0] + lam[1] * v
        v = v.view(batch, length, kv_heads, depth)
        q = rotate(rms(q).transpose(1, 2), m, length) * p[b + "q_gain"][:, None, None]
        k = rotate(rms(k).transpose(1, 2), m, length)
        share = heads // kv_heads
        k_all, v_all = k.repeat_interleave(share, 1), v.transpose(1, 2).repeat_interleave(share, 1)
        score = q @ k_all.transpose(-1, -2) / math.sqrt(depth)
        score = score.masked_fill(torch.ones(length, length, dtype=torch.bool).triu(1), -math.inf)
        o = torch.softmax(score, -1) @ v_all
        if layer >= m["layers"] - m.get("xsa_last_n", 0):
            unit = F.normalize(v_all, dim=-1, eps=1e-12)
            o = o - (o * unit).sum(-1, keepdim=True) * unit
        if m.get("gated_attention"):
            gate = torch.sigmoid(n @ p[b + "attn_gate.weight"].T + p[b + "attn_gate.bias"])
            o = o * gate.transpose(1, 2)[..., None]
        o = o.transpose(1, 2).reshape(batch, length, d)
        return o @ p[b + "proj.weight"].T + self.of_pass("proj", i, o)

    def block(self, x, x0, i, ids, first_values):
        """Block run i of all passes."""
        m, p, layer = self.m, self.p, i % self.m["layers"]
        b = f"blocks.{layer}."
        rates = p[b + "mlp_scale"].view(-1, m["width"])
        if m.get("hypersphere"):
            factor = 0.05 * math.sqrt(m["width"])

            def step(x, rate, a):
                return unit(x + (factor * rate).abs() * (unit(a) - x))

            y = step(x, p[b + "attn_scale"], self.attention(x, i, ids, first_values))
            for k in range(len(rates)):
                y = step(y, rates[k], self.mlp(y, b + mlp_name(m, k)))
            return y
        s = 1 / math.sqrt(layer + 1) if m.get("ln_scale") else 1.0
        mix = p[b + "resid_mix"]
        u = mix[0] * x + mix[1] * x0
        y = u + p[b + "attn_scale"] * self.attention(s * rms(u), i, ids, first_values)
        for k in range(len(rates)):
            y = y + rates[k] * self.mlp(s * rms(y), b + mlp_name(m, k))
        return y

    def mlp(self, n, name):
        m, p = self.m, self.p
        a = n @ p[name + "fc.weight"].T
        if m.get("hypersphere"):
            a = a * p[name + "up_scale"] * math.sqrt(m["width"])
        a = torch.where(a > 0, a, m.get("mlp_slope", 0.0) * a)
        return a.square() @ p[name + "proj.weight"].T

    def hidden(self, ids):
        m, p = self.m, self.p
        x = x0 = self.embed(ids)
        depth = m["layers"] * m.get("loops", 1)
        skips = m.get("unet_skips", True)
        encoder, kept, first_values = depth // 2 if skips else 0, [], []
        for i in range(depth):
            if i >= encoder and kept:
                x = x + p["skip_weights"][i - encoder] * kept.pop()
            x = self.block(x, x0, i, ids, first_values)
            if i < encoder:
                kept.append(x)
        return x if m.get("hypersphere") else rms(x)

    def nll_of(self, hidden, matrix, targets):
        cap = self.m.get("logit_softcap", 30.0)
        z = hidden @ matrix.T
        if self.m.get("hypersphere"):
            z = z * self.p["logit_scale"] * math.sqrt(self.m["width"])
        z = cap * torch.tanh(z / cap) if cap else z
        return F.cross_entropy(z.flatten(0, -2), targets.flatten(), reduction="none").view(targets.shape)

    def losses(self, ids, targets):
        """nll of every token, and what training adds per token of the batch."""
        h = self.hidden(ids)
        output = self.p.get("lm_head.weight", self.p["tok_emb.weight"])
        nll = self.nll_of(h, output, targets)
        extra = torch.zeros(())
        heads = self.m.get("mtp_heads", 0)
        for k in range(heads):
            ahead = k + 1
            if targets.shape[1] > ahead:
                own, seen = self.p[f"mtp_heads.{k}.weight"], h[:, :-ahead]
                if self.m.get("mtp_square"):
                    own, seen = output, seen @ own.T
                further = self.nll_of(seen, own, targets[:, ahead:])
                extra = extra + self.m["mtp_weight"] / heads * further.mean()
        return nll, extra


# --- the optimizers ------------------------------------------------------------------------------------------------------------------

CONTROL = ("attn_scale", "mlp_scale", "resid_mix", "q_gain", "skip_weights", "smear", "ve_layer_scales", "attn_gate", "vr_lambda",
           "conv1d", "a_proj", "b_proj")


def group_of(name, shape, o):
    if name == "tok_emb.weight" or name.endswith((".table.weight", ".embed.weight")):
        return "tok"
    if name == "lm_head.weight":
        return "head"
    if name.startswith("lora_adapters."):
        return "lora"
    if any(c in name for c in CONTROL) or len(shape) < 2:
        return "scalar"
    if name in ("bigram.proj.weight", "bigram_hash.proj.weight", "ve_shared.proj.weight"):
        return "muon" if o.get("projections", "muon") == "muon" else "scalar"
    return "muon"


def newton_schulz(g):
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def mud(g):
    q = g.T if g.shape[0] > g.shape[1] else g
    q = q / (q.norm(dim=1, keepdim=True) + 1e-7)
    lower = torch.tril(q @ q.T) + 1e-6 * torch.eye(q.shape[0])
    q = torch.linalg.solve_triangular(lower, q, upper=False)
    q = q / (q.norm(dim=1, keepdim=True) + 1e-7)
    return q.T if g.shape[0] > g.shape[1] else q


def bf16(x):
    return x.bfloat16().float()


class Optimizer:
    def __init__(self, o, parameters, on_sphere=False):
        self.o, self.p, self.state, self.on_sphere = o, parameters, {}, on_sphere
        self.whiten = mud if o.get("muon_whitening") == "mud" else newton_schulz

    def clip(self, gradients):
        limit = self.o.get("grad_clip_norm", 0.0)
        if limit > 0:
            total = math.sqrt(sum(float(g.double().pow(2).sum()) for g in gradients.values()))
            factor = min(1.0, limit / (total + 1e-6))
            return {n: g * factor for n, g in gradients.items()}
        return gradients

    def step(self, k, workers, untouched):
        """workers: one dict of mean gradients per worker; untouched: parameters without any, which Adam skips."""
        o, parallel = self.o, self.o.get("muon", "standard") == "parallel"
        groups = {n: group_of(n, tuple(p.shape), o) for n, p in self.p.items()}

        def mean(dicts):
            return {n: sum(d[n] for d in dicts) / len(dicts) for n in dicts[0]}

        if o.get("clip_scope", "global") == "worker":
            workers = [self.clip(g) for g in workers]
            if parallel:
                workers = [{n: bf16(g) if groups[n] == "muon" else g for n, g in w.items()} for w in workers]
            gradients = mean(workers)
        else:
            gradients = self.clip(mean(workers))
        phi = min(k / o["muon_momentum_warmup_steps"], 1)
        mu = (1 - phi) * o["muon_momentum_warmup_start"] + phi * o["muon_momentum"]
        for name, p in self.p.items():
            g, group = gradients[name], groups[name]
            if group == "muon":
                lr, wd = o["matrix_lr"], o.get("muon_wd", 0.0)
                m = self.state.setdefault(name, torch.zeros_like(p))
                shape = math.sqrt(max(1, p.shape[0] / p.shape[1]))
                if parallel:
                    g = bf16(g)
                    m.copy_(bf16(bf16(mu * m) + g))
                    u = bf16(self.whiten(bf16(g + mu * m)))
                    p.mul_(1 - lr * wd).add_(u, alpha=-lr * shape)
                    continue
                m.mul_(mu).add_(g)
                u = bf16(bf16(self.whiten(g + mu * m)) * shape)
                if o.get("muon_wd_order", "before") == "before":
                    p.mul_(1 - lr * wd).sub_(lr * u)
                else:
                    p.sub_(lr * u).mul_(1 - lr * wd)
                continue
            if name in untouched:
                continue
            lr = {"tok": o["tied_embed_lr"], "scalar": o["scalar_lr"], "head": o.get("head_lr", 0.008), "lora": o.get("lora_lr", 0.01)}[group]
            m, v = self.state.setdefault(name, (torch.zeros_like(p), torch.zeros_like(p)))
            if group not in ("head", "lora"):
                p.mul_(1 - lr * o.get("adam_wd", 0.0))
            m.mul_(0.9).add_(g, alpha=0.1)
            v.mul_(0.95).addcmul_(g, g, value=0.05)
            p.sub_(lr * (m / (1 - 0.9 ** (k + 1))) / ((v / (1 - 0.95 ** (k + 1))).sqrt() + 1e-8))
        for name, p in self.p.items() if self.on_sphere else ():
            if name.startswith("blocks.") and name.endswith("proj.weight"):
                p.copy_(F.normalize(p, dim=0, eps=1e-12))
            elif name in ("tok_emb.weight", "lm_head.weight") or name.endswith(("c_q.weight", "c_k.weight", "c_v.weight", "fc.weight")):
                p.copy_(unit(p))


# --- vectors -------------------------------------------------------------------------------------------------------------------------


def write_safetensors(path, tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, t in tensors.items():
        raw = t.contiguous().numpy().tobytes()
        header[name] = {"dtype": {torch.float32: "F32", torch.float16: "F16"}[t.dtype], "shape": list(t.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read_safetensors(path):
    raw = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + size])
    kinds = {"F32": (np.float32, torch.float32), "F16": (np.float16, torch.float16)}
    out = {}
    for name, t in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + o for o in t["data_offsets"])
        if t["dtype"] == "BF16":
            bits = np.frombuffer(raw[begin:end], np.uint16).astype(np.uint32) << 16
            out[name] = torch.from_numpy(bits.view(np.float32).reshape(t["shape"]).copy())
        else:
            out[name] = torch.from_numpy(np.frombuffer(raw[begin:end], kinds[t["dtype"]][0]).reshape(t["shape"]).copy()).float()
    return out


def vectors(name, definition, system):
    m = {**definition["shape"], **system["model"]}
    batch = definition["batch"]
    parameters = {n: weight(n, s) for n, s in shapes(m).items()}
    for p in parameters.values():
        p.requires_grad_(True)
    model, untouched = System(m, parameters), set()

    def gradients(ids, targets):
        nll, extra = model.losses(ids, targets)
        (nll.sum() + extra * nll.numel()).backward()
        found = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in parameters.items()}
        untouched.update(n for n, p in parameters.items() if p.grad is None)
        for p in parameters.values():
            p.grad = None
        return nll.detach(), found

    out = {}
    nll, found = gradients(*batch_tokens(0, batch["sequences"], batch["length"], m["vocab_size"]))
    out["nll"] = nll.flatten()
    for n, g in found.items():
        scale = float(g.abs().max()) or 1.0
        out["scale." + n] = torch.tensor([scale])
        out["grad." + n] = (g / scale).half()
    optimizer, losses = Optimizer(system["optimizer"], parameters, m.get("hypersphere", False)), []
    for step in range(batch["steps"]):
        ids, targets = batch_tokens(step, batch["sequences"], batch["length"], m["vocab_size"])
        workers, total = [], 0.0
        for part_ids, part_targets in zip(ids.chunk(batch["workers"]), targets.chunk(batch["workers"])):
            nll, found = gradients(part_ids, part_targets)
            workers.append({n: g / nll.numel() for n, g in found.items()})
            total += float(nll.double().sum())
        losses.append(total / ids.numel())
        with torch.no_grad():
            optimizer.step(step, workers, untouched)
    out["losses"] = torch.tensor(losses)
    write_safetensors(HERE / "vectors" / f"{name}.safetensors", out)
    print(f"{name}: {sum(p.numel() for p in parameters.values())} parameters, losses {losses[0]:.4f} ... {losses[-1]:.4f}")


def check(options):
    import tomllib

    with open(options.config, "rb") as f:
        config = tomllib.load(f)
    m, length = config["model"], config["train"]["seq_len"]
    raw = np.fromfile(options.tokens, np.uint16)
    tokens = torch.from_numpy((raw[512:] if raw[0] == 20240520 & 0xFFFF else raw).astype(np.int64))
    found = torch.from_numpy(np.fromfile(options.check, np.float32))
    rows = found.numel() // length
    ids, targets = tokens[: rows * length].view(rows, length), tokens[1 : rows * length + 1].view(rows, length)
    parameters = {n: t for n, t in read_safetensors(options.weights).items()}
    missing = set(shapes(m)) - set(parameters) - {n for n in shapes(m) if n.startswith("mtp_heads.")}
    assert not missing, f"missing: {missing}"
    with torch.no_grad():
        nll = torch.cat([System({**m, "mtp_heads": 0}, parameters).losses(i[None], t[None])[0] for i, t in zip(ids, targets)])
    d = (found[: nll.numel()].double() - nll.flatten().double())
    print(f"{nll.numel()} predictions: rms {d.pow(2).mean().sqrt():.3e}, largest {d.abs().max():.3e}, mean {d.mean():.3e} nats")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", action="append", help="only this one; may be repeated")
    parser.add_argument("--check")
    parser.add_argument("--weights")
    parser.add_argument("--tokens")
    parser.add_argument("--config")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    if options.check:
        check(options)
        return
    definition = json.loads((HERE / "systems.json").read_text())
    (HERE / "vectors").mkdir(exist_ok=True)
    for name in options.system or definition["systems"]:
        vectors(name, definition, definition["systems"][name])


if __name__ == "__main__":
    main()
