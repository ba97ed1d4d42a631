#!/usr/bin/env python3
"""The digest ladder a second time, in plain Python from kernels/NUMERICS.md: rungs of functions, rows, products and exports.

    python3 second_ladder.py ci/digests.json

What each rung hashes stands in section 29; nothing here comes from the program that climbs the ladder. Rungs of whole models are
left to second_systems_test.py, which compares whole runs. Exit status 0 if every digest is that of the table, else 1.
"""

import hashlib
import json
import struct
import sys

import second_export
import second_implementation as s
import second_parameters
from second_implementation import fl32

SEED = 20240520


class Rung:
    """A digest being taken; what was added is forgotten."""

    def __init__(self):
        self.sha = hashlib.sha256()

    def floats(self, values):
        self.sha.update(s.floats_to_bytes(values))
        return self

    def rows(self, rows):
        for row in rows:
            self.floats(row)
        return self

    def doubles(self, values):
        self.sha.update(struct.pack("<%dd" % len(values), *values))
        return self

    def raw(self, data):
        self.sha.update(data)
        return self

    def digest(self):
        return self.sha.hexdigest()


def uniform(count, stream, scale=1.0):
    values = []
    for block in range((count + 3) // 4):
        values += [fl32(fl32(2.0 * s.to_uniform(r) - 1.0) * fl32(scale)) for r in s.philox(block, SEED, stream, 0)]
    return values[:count]


def matrix(rows, columns, stream, scale=1.0):
    return second_export.cut((rows, columns), uniform(rows * columns, stream, scale))


def patterns(first, last, stride):
    return (s.from_bits32(u) for u in range(first, last, stride))


# --- functions ---


def both_signs(function, last, stride):
    return [y for x in patterns(0, last, stride) for y in (function(x), function(-x))]


def sin_cos():
    r, cosines = Rung(), []
    for x in patterns(0, 0x48000000, 30029):
        for v in (x, -x):
            sine, cosine = s.sin_cos(v)
            r.floats([sine])
            cosines.append(cosine)
    return r.floats(cosines)


def scalar64():
    r = Rung()
    for i in range(1, 4000):
        x = i * float.fromhex("0x1.3p-6")
        r.doubles([s.log2_64(x), s.exp2_64(x - 20.0), s.pow_int_64(0.95, i)])
    return r


def normals():
    values = []
    for block in range(10000):
        words = [s.to_uniform(r) for r in s.philox(block, 1337, 7, 1)]
        for u1, u2 in (words[:2], words[2:]):
            radius = s.sqrt32(fl32(-2.0 * s.log(u1)))
            sine, cosine = s.sin_cos(fl32(float.fromhex("0x1.921fb6p+2") * u2))
            values += [fl32(radius * cosine), fl32(radius * sine)]
    return Rung().floats(values)


# --- products, rows ---


def slices(q, bits):
    """Highest first."""
    if bits == 7:
        return [q]
    return slices(s.up(q), bits - 7) + [s.low(q)]


def add_quantised(r, rows, bits):
    done = [s.quantise(row, bits) for row in rows]
    for i in range(bits // 7):
        for _, q in done:
            r.raw(struct.pack("%db" % len(q), *(slices(v, bits)[i] for v in q)))
    r.raw(struct.pack("<%di" % len(done), *(e for e, _ in done)))


def quantised():
    a, b = matrix(37, 515, 1, 3.0), matrix(53, 515, 2, 0.02)
    r = Rung()
    for bits in (7, 14, 21):
        add_quantised(r, a, bits)
        add_quantised(r, s.columns(b), bits)
    return r


def product(kind):
    a, b = matrix(37, 515, 1, 3.0), matrix(53, 515, 2, 0.02)
    return Rung().rows(s.product(kind, a, b)).rows(s.product(kind, a, a))


def rms_norm():
    x, dy = matrix(19, 200, 3, 5.0), matrix(19, 200, 4, 0.1)
    done = [s.rms_norm(row) for row in x]
    r = Rung().rows([y for y, _ in done]).floats([f for _, f in done])
    r.rows([s.rms_norm_backward(g, y, f) for g, (y, f) in zip(dy, done)])
    return r.floats([s.dot(p, q) for p, q in zip(x, dy)])


def rope():
    r = Rung()
    for bf16 in (False, True):
        table = s.rope_table(33, 16, 10000.0, bf16)
        r.floats([v for row in table for pair in row for v in pair])
    heads = matrix(33 * 4, 16, 6)
    for backward in (False, True):
        heads = [s.rope(row, table[i // 4], backward) for i, row in enumerate(heads)]
        r.rows(heads)
    return r


def cross_entropy():
    r = Rung()
    for cap in (0.0, 30.0):
        done = [s.cross_entropy(row, cap, 15 * i) for i, row in enumerate(matrix(19, 300, 8, 12.0))]
        r.floats([nll for nll, _, _ in done]).rows([gradient for _, gradient, _ in done])
    return r


def attention():
    """Forward and backward of two sequences: (sequence, token, head, element)."""
    length, heads, key_heads, width = 150, 4, 2, 32
    inputs = [(heads, 10, 2.0), (key_heads, 11, 2.0), (key_heads, 12, 1.5), (heads, 13, 0.01)]
    streams = [matrix(2 * length * n, width, stream, scale) for n, stream, scale in inputs]
    found = {name: [] for name in ("out", "max", "units", "dq", "dk", "dv")}
    for sequence in range(2):
        q, k, v, d_out = ([[x[(sequence * length + t) * n + h] for t in range(length)] for h in range(n)] for x, (n, _, _) in zip(streams, inputs))
        out, context = s.attention_forward("p3", q, k, v)
        gradients = s.attention_backward("p3", d_out, context)
        for name, by_head in zip(("out", "dq", "dk", "dv"), (out, *gradients)):
            found[name] += [row for rows in zip(*by_head) for row in rows]
        for rows in zip(*context[3]):
            found["max"] += [m for _, m, _, _ in rows]
            found["units"] += [total for _, _, _, total in rows]
    forward = Rung().rows(found["out"])
    forward.raw(struct.pack("<%di" % len(found["max"]), *found["max"])).raw(struct.pack("<%dq" % len(found["units"]), *found["units"]))
    return forward, Rung().rows(found["dq"]).rows(found["dk"]).rows(found["dv"])


def newton_schulz():
    r = Rung()
    for rows, columns in ((24, 40), (40, 24)):
        r.rows(s.newton_schulz(matrix(rows, columns, 14, 1e-3), 5, "s21"))
    return r


def fake_quantise():
    r = Rung()
    for stream, scale in ((33, 3.0), (34, 0.1)):
        w = matrix(19, 200, stream, scale)
        r.rows([s.fake_quantise_row(row)[0] for row in w])
        r.rows(map(second_parameters.int6_row_max, w)).rows(map(second_parameters.int8_row, w))
    return r


# --- exports ---

VOCAB, WIDTH, HIDDEN = 96, 40, 56
PLAIN = dict(second_export.DEFAULTS, small_tensor_max_elements=100)


def peaked(count, stream, scale):
    return [fl32(fl32(u * abs(u)) * fl32(scale)) for u in uniform(count, stream)]


class StateDict:
    """As much of a model as an export asks for."""

    shapes = {"tok_emb.weight": (VOCAB, WIDTH), "blocks.0.attn.c_q.weight": (WIDTH, WIDTH), "blocks.0.mlp.fc.weight": (HIDDEN, WIDTH),
              "blocks.0.attn_scale": (WIDTH,)}
    values = {"tok_emb.weight": peaked(VOCAB * WIDTH, 40, 0.5), "blocks.0.attn.c_q.weight": peaked(WIDTH * WIDTH, 41, 3.0),
              "blocks.0.mlp.fc.weight": peaked(HIDDEN * WIDTH, 42, 0.25), "blocks.0.attn_scale": peaked(WIDTH, 43, 2.0)}

    @staticmethod
    def stored_bf16(name):
        return name == "tok_emb.weight"


def containers(*quantizations, moments=None):
    r = Rung()
    for q in quantizations:
        r.raw(second_export.container(StateDict, StateDict.values, dict(PLAIN, **q), moments or {})[0])
    return r


def second_moments(stream):
    h = [[0.0] * WIDTH for _ in range(WIDTH)]
    for x in matrix(70, WIDTH, stream):
        h = [[p + a * b for p, b in zip(row, x)] for row, a in zip(h, x)]
    for i in range(WIDTH):
        h[5][i] = h[i][5] = 0.0
    return h


def gptq():
    moments = {"blocks.0.attn.c_q.weight": second_moments(44), "blocks.0.mlp.fc.weight": second_moments(45)}
    category = dict(scheme="int6_by_category")
    return containers(category, dict(category, clip="search_matrix", clip_candidates=[0.99, 1.0]), moments=moments)


def searches():
    candidates = dict(clip_candidates=[0.9, 0.95, 0.99, 0.999, 1.0])
    found = [dict(candidates, scheme=scheme, clip=clip) for scheme in ("int6", "int6_by_category") for clip in ("search_rows", "search_matrix")]
    return found + [dict(scheme="int6_by_category", clip="deviation", clip_deviations=3.0, other_clip_deviations=5.0)]


RUNGS = {
    "function.exp2_unit": lambda: Rung().floats([s.exp2_unit(i * 2.0**-16) for i in range(2**16 + 1)]),
    "function.exp": lambda: Rung().floats(both_signs(s.exp, 0x43000000, 30011)),
    "function.log": lambda: Rung().floats([s.log(x) for x in patterns(1, 0x7F800000, 50021)]),
    "function.tanh": lambda: Rung().floats(both_signs(s.tanh, 0x41C00000, 30013)).floats(both_signs(s.sigmoid, 0x42C80000, 30013)),
    "function.sin_cos": sin_cos,
    "function.scalar64": scalar64,
    "random.normal": normals,
    "op.quantise": quantised,
    "op.matmul_p3": lambda: product("p3"),
    "op.matmul_p4": lambda: product("p4"),
    "op.matmul_b21": lambda: product("s21"),
    "op.rms_norm": rms_norm,
    "op.sum_of_squares": lambda: Rung().doubles([s.sum_of_squares([uniform(19 * 200, 3, 5.0), uniform(20000, 5, 1e-3)])]),
    "op.rope": rope,
    "op.cross_entropy": cross_entropy,
    "op.attention_forward op.attention_backward": attention,
    "op.newton_schulz": newton_schulz,
    "op.fake_quantise": fake_quantise,
    "export.int6_rows": lambda: containers(*(dict(scheme=scheme, scale_floor=floor) for scheme in ("mixed_int6", "int6", "int6_by_category")
                                             for floor in (True, False))),
    "export.clip_search": lambda: containers(*searches()),
    "export.codebook": lambda: containers(dict(scheme="int6", codebook_entries=16)),
    "export.factors": lambda: containers(dict(scheme="int6", embed_svd_rank=7)),
    "export.pruned": lambda: containers(dict(scheme="int6", prune_percent=3.0)),
    "export.gptq": gptq,
}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        table = json.load(file)["ladder"]
    count = differing = 0
    for names, make in RUNGS.items():
        rungs = make()
        for name, rung in zip(names.split(), rungs if isinstance(rungs, tuple) else (rungs,)):
            same = rung.digest() == table[name]
            count, differing = count + 1, differing + (not same)
            print(f"{name}: {'the same' if same else 'another digest'}", flush=True)
    print(f"{count - differing} of {count} rungs as in {sys.argv[1]}")
    sys.exit(differing > 0)


if __name__ == "__main__":
    main()
