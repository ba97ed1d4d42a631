#!/usr/bin/env python3
"""Makes the small upstream artifacts of tests/golden/upstream with PyTorch: what torch.save really writes.

  python3 make_upstream_artifacts.py OUT     needs torch, numpy and zstandard from PyPI

A model of 2 layers, width 8, vocabulary 12, in every form the published scripts use:

  per_row_int8.zlib    the dict int8_clean_per_row_v1, fp16 scales, passthrough in binary16 and binary32, zlib-9
  per_row_int6.zst     the same with integers within 31, one scale per tensor for a vector, zstd-22
  by_category.xz       {"w", "m"}: int6, int8, passthrough and passthrough_ctrl, LZMA preset 6
  plain.pt             the state dict itself, uncompressed, with a tensor that is a transposed view and two that share storage
  banks.pt             the stacked matrices of the parallel-Muon scripts
  dtypes.pt            one tensor of each dtype
  OUT/expected.json    per file the tensors that must be restored: shape, and values as hexadecimal binary32 bits

The expected values are computed here by PyTorch, with the operations of the scripts: q.float() * scale.float(), .to(dtype).
"""
import io
import json
import lzma
import os
import sys
import zlib

import numpy as np
import torch
import zstandard

VOCAB, WIDTH, KV, HIDDEN, LAYERS, HEADS = 12, 8, 4, 12, 2, 2


def state_dict():
    g = torch.Generator().manual_seed(20260325)
    f32 = lambda *shape: torch.randn(*shape, generator=g)
    sd = {"skip_weights": f32(1, WIDTH), "tok_emb.weight": f32(VOCAB, WIDTH).to(torch.bfloat16)}
    for i in range(LAYERS):
        b = f"blocks.{i}."
        sd[b + "attn_scale"] = f32(WIDTH)
        sd[b + "mlp_scale"] = f32(WIDTH)
        sd[b + "resid_mix"] = f32(2, WIDTH)
        sd[b + "attn.q_gain"] = f32(HEADS)
        sd[b + "attn.c_q.weight"] = f32(WIDTH, WIDTH)
        sd[b + "attn.c_k.weight"] = f32(KV, WIDTH)
        sd[b + "attn.c_v.weight"] = f32(KV, WIDTH)
        sd[b + "attn.proj.weight"] = f32(WIDTH, WIDTH)
        sd[b + "mlp.fc.weight"] = f32(HIDDEN, WIDTH)
        sd[b + "mlp.proj.weight"] = f32(WIDTH, HIDDEN)
    return sd


def quantise(t, limit):
    t = t.float()
    scale = (t.abs().amax(dim=1) / limit).clamp_min(1.0 / limit)
    q = torch.clamp(torch.round(t / scale[:, None]), -limit, limit).to(torch.int8)
    return q, scale.to(torch.float16)


def is_matrix(name):
    return name.endswith(".weight")


def per_row(sd, limit, vector_scale):
    obj = {"__quant_format__": "int8_clean_per_row_v1", "quantized": {}, "scales": {}, "dtypes": {}, "passthrough": {},
           "qmeta": {}, "passthrough_orig_dtypes": {}}
    expected = {}
    for name, t in sd.items():
        dtype = str(t.dtype).removeprefix("torch.")
        if is_matrix(name):
            q, s = quantise(t, limit)
            obj["quantized"][name], obj["scales"][name], obj["dtypes"][name] = q, s, dtype
            obj["qmeta"][name] = {"scheme": "per_row", "axis": 0}
            expected[name] = (q.float() * s.float().view(q.shape[0], 1)).to(t.dtype)
        elif vector_scale and name == "skip_weights":
            s = torch.tensor(t.abs().max().item() / limit, dtype=torch.float32)
            q = torch.clamp(torch.round(t / s), -limit, limit).to(torch.int8)
            obj["quantized"][name], obj["scales"][name], obj["dtypes"][name] = q, s, dtype
            expected[name] = (q.float() * float(s.item())).to(t.dtype)
        elif "q_gain" in name:
            obj["passthrough"][name] = t.float()
            expected[name] = t.float()
        else:
            obj["passthrough"][name] = t.to(torch.float16)
            obj["passthrough_orig_dtypes"][name] = dtype
            expected[name] = t.to(torch.float16).to(t.dtype)
    return obj, expected


def by_category(sd):
    w, m, expected = {}, {}, {}
    for name, t in sd.items():
        if "q_gain" in name:
            w[name], m[name], expected[name] = t.float(), "passthrough_ctrl", t.float()
        elif not is_matrix(name):
            w[name], m[name], expected[name] = t.to(torch.float16), "passthrough", t.to(torch.float16)
        else:
            kind = "int8" if "tok_emb" in name else "int6"
            q, s = quantise(t, 127 if kind == "int8" else 31)
            w[name + ".q"], w[name + ".scale"], m[name] = q, s, {"type": kind}
            expected[name] = q.float() * s.float().view(q.shape[0], 1)
    return {"w": w, "m": m}, expected


def banks(sd):
    stack = lambda kinds: torch.stack([sd[f"blocks.{i}.{k}.weight"] for k in kinds for i in range(LAYERS)])
    out = {"skip_weights": sd["skip_weights"], "qo_bank": stack(["attn.c_q", "attn.proj"]),
           "kv_bank": stack(["attn.c_k", "attn.c_v"]), "mlp_up_bank": stack(["mlp.fc"]), "mlp_down_bank": stack(["mlp.proj"])}
    out.update({k: v for k, v in sd.items() if k not in out and not (k.startswith("blocks.") and is_matrix(k))})
    return out


def saved(obj):
    buffer = io.BytesIO()
    torch.save(obj, buffer)
    return buffer.getvalue()


def bits(t):
    return t.contiguous().float().numpy().astype("<f4").view("<u4").reshape(-1).tolist()


def main(out):
    os.makedirs(out, exist_ok=True)
    sd = state_dict()
    files = {}
    obj, expected8 = per_row(sd, 127, False)
    files["per_row_int8.zlib"] = (zlib.compress(saved(obj), 9), expected8)
    obj, expected6 = per_row(sd, 31, True)
    files["per_row_int6.zst"] = (zstandard.ZstdCompressor(level=22).compress(saved(obj)), expected6)
    obj, expected = by_category(sd)
    files["by_category.xz"] = (lzma.compress(saved(obj), preset=6), expected)
    plain = torch.nn.Module.state_dict(torch.nn.Module())  # an OrderedDict with its version table
    plain.update(sd)
    plain["blocks.0.attn.c_q.weight"] = sd["blocks.0.attn.c_q.weight"].t()
    plain["blocks.1.attn_scale"] = plain["blocks.0.attn_scale"]
    files["plain.pt"] = (saved(plain), dict(plain))
    files["banks.pt"] = (saved(banks(sd)), {k: v for k, v in sd.items()})
    dtypes = {str(d).removeprefix("torch."): torch.tensor([0, 1, 2], dtype=d)
              for d in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
                        torch.int8, torch.uint8, torch.bool)}
    files["dtypes.pt"] = (saved(dtypes), {})
    for name, (data, _) in files.items():
        with open(os.path.join(out, name), "wb") as f:
            f.write(data)
    with open(os.path.join(out, "expected.json"), "w") as f:
        json.dump({name: {k: {"shape": list(v.shape), "bits": bits(v)} for k, v in sorted(e.items())}
                   for name, (_, e) in files.items()}, f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
