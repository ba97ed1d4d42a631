#!/usr/bin/env python3
"""Names, shapes, order and initial values of the parameters of sections 11, 14 and 27 of kernels/NUMERICS.md a second time.

Written from the document, without the engine, but for what the document left open then: the names and shapes of 27.9 and which
projections affine_92821 starts at 0 (27.8) come from what the program wrote, the rows of int6_row_max (27.12) from trying
both readings. second_systems_test.py compares it with the program. The configuration is the dictionary of a fairway.toml.
"""

import math

import second_implementation as s
from second_implementation import bf16, fl32

MODEL = dict(rope_base=10000.0, rope_inv_freq_dtype="f32", logit_softcap=30.0, qk_gain_init=1.5, tied_embed_init_std=0.005,
             tied_embed_dtype="bf16", tied_head=True, matrix_init="uniform", unet_skips=True, loops=1, rope_dims=0,
             rope_ntk_length=0, ln_scale=False, xsa_last_n=0, mlp_slope=0.0, smear_gate="none", bigram_buckets=0,
             bigram_dim=128, bigram_hash="xor_current", trigram_hash=False, ve_dim=0, ve_layers=[], value_residual=False,
             gated_attention=False, mtp_heads=0, mtp_weight=0.2, loop_lora_rank=0, mtp_square=False)
NUMERICS = dict(linear="p3", input_gradients="p3", weight_gradients="p3", logits="p3", attention="p3", newton_schulz="b21")
SMEAR_CHANNELS = 12
LOOP_LORA = {"attn.c_q.weight": "q", "attn.c_k.weight": "k", "attn.c_v.weight": "v", "attn.proj.weight": "proj"}


def orthogonal(seed, name, m, n):
    return orthogonal_of([[s.normal(r * n + c, seed, name) for c in range(n)] for r in range(m)])


def orthogonal_of(z):
    """Rows of fl32 values from the normals z [27.8]."""
    m, n = len(z), len(z[0])
    columns = z if m < n else s.columns(z)     # one list per column of A
    for j, a in enumerate(columns):
        total = 0.0
        for x in a:
            total += x * x
        r = math.sqrt(total)
        a = columns[j] = [x / r for x in a]
        for c in range(j + 1, len(columns)):
            d = 0.0
            for x, y in zip(a, columns[c]):
                d += x * y
            columns[c] = [y - x * d for x, y in zip(a, columns[c])]
    return [[fl32(x) for x in row] for row in (columns if m < n else s.columns(columns))]


class Parameters:
    def __init__(self, config, seed):
        self.cfg = dict(MODEL, **config["model"])
        self.kinds = {k: "s21" if v == "b21" else v for k, v in dict(NUMERICS, **config.get("numerics", {})).items()}
        self.quant = dict(dict(qat="none", qat_scope="all_matrices"), **config["quantization"])
        self.seed, self.fake = seed, False
        self.capture = None     # of a forward pass: name of a matrix: the rows it multiplied, one list per use
        c = self.cfg
        self.d, self.heads, self.kv_heads, self.layers = c["width"], c["heads"], c["kv_heads"], c["layers"]
        self.head_width = self.d // self.heads
        self.passes = self.layers * c["loops"]
        self.encoders = self.passes // 2 if c["unet_skips"] else 0
        self.skips = min(self.encoders, self.passes - self.encoders)
        self.bigram_scale = c["bigram_buckets"] and not c["bigram_hash"].startswith("affine")
        self.bigram_name = "bigram" if c["bigram_hash"] == "xor_current" else "bigram_hash"
        self.table = self.bigram_name + (".table.weight" if c["bigram_hash"] == "affine_92821" else ".embed.weight")
        self.smear_name = {"keep": "smeargate.gate", "first_channels": "smear_gate.gate"}.get(
            c["smear_gate"], "smear_gate.gate" if c["bigram_hash"] in ("affine_31", "xor_previous") else "smear.gate")
        self.projections = (self.bigram_name + ".proj.weight", "ve_shared.proj.weight")
        self.tables = ("tok_emb.weight", self.table, "ve_shared.embed.weight")
        self.shapes = self.parameters()
        self.tensors = {n: self.initial(n, shape) for n, shape in self.shapes.items()}

    def parameters(self):
        c, d = self.cfg, self.d
        kv = self.kv_heads * self.head_width
        shapes = {"skip_weights": (self.skips, d)} if c["unet_skips"] else {}
        shapes["tok_emb.weight"] = (c["vocab_size"], d)
        smear = {"none": {}, "keep": {self.smear_name: (d,)}, "blend": {self.smear_name: (d,)},
                 "first_channels": {self.smear_name + ".weight": (1, SMEAR_CHANNELS), self.smear_name + ".bias": (1,)}}[
                     c["smear_gate"]]
        bigram = {}
        if c["bigram_buckets"]:
            if self.bigram_scale:
                bigram[self.bigram_name + ".scale"] = ()
            bigram[self.table] = (c["bigram_buckets"], c["bigram_dim"])
            if c["bigram_dim"] != d:
                bigram[self.bigram_name + ".proj.weight"] = (d, c["bigram_dim"])
        first = c["bigram_hash"] in ("affine_31", "xor_previous") or c["smear_gate"] == "first_channels"
        for part in (smear, bigram) if first else (bigram, smear):
            shapes.update(part)
        block = {"attn_scale": (d,), "mlp_scale": (d,), "resid_mix": (2, d), "attn.q_gain": (self.heads,)}
        if c["value_residual"]:
            block["attn.vr_lambda"] = (2,)
        if c["gated_attention"]:
            block.update({"attn.attn_gate.weight": (self.heads, d), "attn.attn_gate.bias": (self.heads,)})
        block.update({"attn.c_q.weight": (d, d), "attn.c_k.weight": (kv, d), "attn.c_v.weight": (kv, d),
                      "attn.proj.weight": (d, d), "mlp.fc.weight": (c["mlp_hidden"], d),
                      "mlp.proj.weight": (d, c["mlp_hidden"])})
        for l in range(self.layers):
            shapes.update({"blocks.%d.%s" % (l, n): shape for n, shape in block.items()})
        rank = c["loop_lora_rank"]
        for p in range(self.passes if rank else 0):
            for what, out in (("q", d), ("k", kv), ("v", kv), ("proj", d)):
                name = "lora_adapters.%d.%d.%s" % (p // self.layers, p % self.layers, what)
                shapes.update({name + "_A": (d, rank), name + "_B": (rank, out)})
        if c["ve_dim"]:
            shapes.update({"ve_shared.scale": (), "ve_shared.embed.weight": (c["vocab_size"], c["ve_dim"])})
            if c["ve_dim"] != kv:
                shapes["ve_shared.proj.weight"] = (kv, c["ve_dim"])
            shapes.update({"ve_layer_scales.%d" % k: (1,) for k in range(len(c["ve_layers"]))})
        if not c["tied_head"]:
            shapes["lm_head.weight"] = (c["vocab_size"], d)
        shapes.update({"mtp_heads.%d.weight" % k: (d if c["mtp_square"] else c["vocab_size"], d) for k in range(c["mtp_heads"])})
        return shapes

    def initial(self, name, shape):
        c, n, rule = self.cfg, math.prod(shape), self.cfg["matrix_init"]
        large = len(shape) == 2 and min(shape) >= 64

        def normals(std):
            return [bf16(fl32(s.normal(i, self.seed, name) * fl32(std))) for i in range(n)]

        def uniforms():
            bound = fl32(1.0 / s.sqrt32(float(shape[1])))
            return [bf16(fl32(fl32(fl32(2.0 * s.uniform(i, self.seed, name)) - 1.0) * bound)) for i in range(n)]

        def orthogonals(factor=1.0):
            return [bf16(fl32(x * factor)) for row in orthogonal(self.seed, name, *shape) for x in row]

        if name == "tok_emb.weight":
            return normals(c["tied_embed_init_std"])
        if name in self.projections:
            if name == self.projections[0] and c["bigram_hash"] == "affine_92821":
                return [0.0] * n
            if rule == "orthogonal" or rule == "orthogonal_banks" and large:
                return orthogonals()
            if rule == "orthogonal_scaled" and large:
                return orthogonals(fl32(1.0 / math.sqrt(2.0 * self.layers)))
            return [0.0] * n
        if name.startswith("blocks.") and name.endswith(s.MATRICES):
            if name.endswith("proj.weight"):
                return [0.0] * n
            if rule in ("orthogonal", "orthogonal_banks") or rule == "orthogonal_scaled" and large:
                return orthogonals()
            return uniforms()
        if name.startswith("lora_adapters."):
            return uniforms() if name.endswith("_A") else [0.0] * n
        if name == self.table:
            return [0.0] * n if c["bigram_hash"] == "xor_current" else normals(0.01)
        if name == "ve_shared.embed.weight":
            return normals(0.01)
        if name == "smear_gate.gate.weight" and rule == "orthogonal":
            return orthogonals()
        if name.endswith("resid_mix"):
            return [1.0] * (n // 2) + [0.0] * (n // 2)
        if name.endswith("q_gain"):
            return [bf16(fl32(c["qk_gain_init"]))] * n
        value = {self.bigram_name + ".scale": 0.05, "ve_shared.scale": 0.1, "lm_head.weight": 0.0, self.smear_name + ".weight": 0.0,
                 self.smear_name + ".bias": -2.0, self.smear_name: 3.0 if c["smear_gate"] == "keep" else 0.0}.get(name)
        if value is None:
            value = (0.5 if "vr_lambda" in name else 0.0 if "attn_gate.weight" in name else 4.0 if "attn_gate.bias" in name
                     else 0.0 if name.startswith("mtp_heads") else 1.0)
        return [bf16(fl32(value))] * n

    def stored_bf16(self, name):
        projection = name == self.projections[0] and self.cfg["bigram_hash"] in ("affine_31", "xor_previous")
        return self.cfg["tied_embed_dtype"] == "bf16" and (projection or name == "smear_gate.gate.weight" or name in self.tables)

    def rows(self, name):
        t, width = self.tensors[name], self.shapes[name][1]
        return [t[i:i + width] for i in range(0, len(t), width)]

    def matrix(self, name):
        """A matrix as a training pass sees it [17.1, 27.12]."""
        rows = self.rows(name)
        if name.startswith("lora_adapters."):
            return s.columns(rows)
        projection = name in self.projections
        block = name.startswith("blocks.") and name.endswith(s.MATRICES)
        if not self.fake or not (projection or block and self.quant["qat_scope"] == "all_matrices"):
            return rows
        if self.quant["qat"] == "int6_row":
            return [s.fake_quantise_row(r)[0] for r in rows]
        if self.quant["qat"] == "int8_row":
            return [int8_row(w) for w in rows]
        return [int6_row_max(w) for w in rows]


def int6_row_max(w):
    q = max(fl32(max(map(abs, w)) / 31.0), fl32(1.0 / 31.0))
    return [bf16(fl32(s.rint(fl32(v / q)) * q)) for v in w]


def int8_row(w):
    c = s.quantile([abs(v) for v in w])
    step = max(fl32(c / 127.0), fl32(1.0 / 127.0))
    return [bf16(fl32(max(-127.0, min(127.0, s.rint(fl32(s.clamp(v, c) / step)))) * step)) for v in w]
