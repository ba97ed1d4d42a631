#!/usr/bin/env python3
"""The model of an evaluation that learns: adapters, keys and values of earlier windows, gradients of chosen tensors.

For second_evaluations.py, and like it from sections 28.4 and 28.6 of kernels/NUMERICS.md. The model without them comes from
second_systems.py.
"""

import hashlib
import math
import struct

import second_implementation as s
from second_implementation import fl32
from second_systems import Model

ADAPTERS = 18     # the purpose of the random numbers


def u64(n):
    return struct.pack("<Q", n)


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def with_length(values):
    return u64(len(values)) + s.floats_to_bytes(values)


class Gradients(s.Accumulator):
    """Of the tensors `names` alone."""

    def __init__(self, tensors, names, tokens, chunks):
        super().__init__({n: tensors[n] for n in names}, tokens, chunks)

    def per_token(self, name, offset, values):
        if self.wants(name):
            super().per_token(name, offset, values)


class AdaptedModel(Model):
    """A model with adapters [28.4] and keys and values of earlier windows [28.6]."""

    def __init__(self, config, seed):
        super().__init__(config, seed)
        self.weights = list(self.shapes)
        self.adapters, self.first = {}, {}  # (pass, matrix): names of A and B; name: initial values
        self.fake = self.quant["qat"] != "none"
        self.shown = None                   # layer: (keys before rotation, values) that stand before the window
        self.own = {}

    # -------------------------------------------------------------------------------------- adapters

    def add_adapters(self, options):
        parts = ["attn.c_q", "attn.c_v"]
        if options["all_projections"]:
            parts = ["attn.c_q", "attn.c_k", "attn.c_v", "attn.proj", "mlp.fc", "mlp.proj"]
        head = "tok_emb.weight" if self.cfg["tied_head"] else "lm_head.weight"
        # (pass, matrix, name of the adapter); passes over the same layer have adapters of their own under the same names
        places = [(p, "blocks.%d.%s" % (p % self.layers, part)) for p in range(self.passes) for part in parts]
        places = [(p, name + ".weight", name) for p, name in places] + [(self.passes, head, "lm_head")]
        for p, matrix, name in places:
            out, width = self.shapes[matrix]
            pair = []
            for suffix, shape in ((".lora_a", (options["rank"], width)), (".lora_b", (out, options["rank"]))):
                key = "pass %d %s" % (p, name + suffix)
                self.shapes[key] = shape
                self.first[key] = self.adapter_start(name + suffix, shape, options["seed"])
                pair.append(key)
            self.adapters[p, matrix] = pair

    def adapter_start(self, name, shape, seed):
        n = math.prod(shape)
        if name.endswith("b"):
            return [0.0] * n
        bound, word = fl32(1.0 / s.sqrt32(float(shape[1]))), s.tensor_word(name)
        u = [s.to_uniform(s.philox(i // 4, seed, word, ADAPTERS)[i % 4]) for i in range(n)]
        return [fl32(fl32(fl32(2.0 * v) - 1.0) * bound) for v in u]

    def reset_adapters(self):
        self.tensors.update({n: list(v) for n, v in self.first.items()})

    def linear(self, x, names, kind="linear"):
        """The adapter of the head stands before its matrix on the tape, those of blocks after theirs."""
        if kind != "logits" or (self.pass_, names[0]) not in self.adapters:
            return super().linear(x, names, kind)
        a, b = self.adapters[self.pass_, names[0]]
        inner, = self.product(x, [a])
        outer, = self.product(inner, [b])
        return [self.plus(*self.product(x, names, kind), outer)]

    def added(self, x, y, name):
        y = super().added(x, y, name)
        if (self.pass_, name) not in self.adapters:
            return y
        a, b = self.adapters[self.pass_, name]
        inner, = self.product(x, [a])
        return self.plus(y, *self.product(inner, [b]))

    # -------------------------------------------------------------------------------------- keys and values of earlier windows

    def rope_angles(self, length, window):
        if self.shown is None:
            return super().rope_angles(length, window)
        self.all_angles = super().rope_angles(self.count_shown + length, window)
        return self.all_angles[self.count_shown:]

    def head_norm_rope(self, x, heads, gain=None):
        if self.shown is not None and gain is None:
            w = self.head_width
            self.window_keys = [[v for h in range(heads) for v in s.rms_norm(r[h * w:(h + 1) * w])[0]] for r in x.rows]
        return super().head_norm_rope(x, heads, gain)

    def attention(self, q, k, v):
        if self.shown is None:
            return super().attention(q, k, v)
        layer, n, w = self.pass_ % self.layers, self.count_shown, self.head_width
        self.own[layer] = (self.window_keys, v.rows)
        R = self.cfg["rope_dims"] or w
        keys, values = self.shown[layer] if n else ([], [])
        turned = []
        for i, row in enumerate(keys):
            heads = [row[h * w:(h + 1) * w] for h in range(self.kv_heads)]
            turned.append([a for part in heads for a in s.rope(part[:R], self.all_angles[i]) + part[R:]])
        queries = [[0.0] * self.d] * n + q.rows     # those of positions shown: their outputs are not used

        def split(rows, heads):
            return [[r[h * w:(h + 1) * w] for r in rows] for h in range(heads)]
        out, _ = s.attention_forward(self.kinds["attention"], split(queries, self.heads), split(turned + k.rows, self.kv_heads),
                                     split(values + v.rows, self.kv_heads))
        return self.op([[a for head in out for a in head[n + i]] for i in range(len(q.rows))], None)

    # -------------------------------------------------------------------------------------- digests [28.8]

    def weights_digest(self):
        return sha(*[n.encode() + with_length(self.tensors[n]) for n in self.weights])

    def weights_bytes(self):
        return b"".join(s.floats_to_bytes(self.tensors[n]) for n in self.weights)
