#!/usr/bin/env python3
"""The digest ladder a second time, in plain Python from kernels/NUMERICS.md: all rungs of functions, operations and exports but one.

    python3 second_ladder.py ci/digests.json

What each rung hashes stands in section 29; nothing here comes from the program that climbs the ladder. Rungs of models, export.calibration
among them, are left to second_systems_test.py, which compares whole runs. Exit status 0 if every digest is that of the table, else 1.
"""

import hashlib
import json
import math
import struct
import sys
from operator import mul

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


def normals(count=40000):
    """Of key 1337, tensor word 7, purpose 1."""
    values = []
    for block in range(count // 4):
        words = [s.to_uniform(r) for r in s.philox(block, 1337, 7, 1)]
        for u1, u2 in (words[:2], words[2:]):
            radius = s.sqrt32(fl32(-2.0 * s.log(u1)))
            sine, cosine = s.sin_cos(fl32(float.fromhex("0x1.921fb6p+2") * u2))
            values += [fl32(radius * cosine), fl32(radius * sine)]
    return values


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


# --- operations of the published systems ---

LENGTH, TOKENS, CHANNELS = 11, 22, 48
TINY, SMEAR = float.fromhex("0x1.197998p-40"), float.fromhex("0x1.1eb852p-4")


def times(a, x):
    return [fl32(p * q) for p, q in zip(a, x)]


def features():
    return matrix(TOKENS, CHANNELS, 20, 2.0), matrix(TOKENS, CHANNELS, 21, 0.1)


def leaky():
    x, dy = features()
    b = [[h if h > 0 else fl32(0.5 * h) for h in row] for row in x]
    r = Rung().rows([[fl32(v * v) for v in row] for row in b])
    for row, gradients in zip(x, dy):
        phi = [1.0 if h > 0 else 0.5 for h in row]
        r.floats([fl32(fl32(fl32(2.0 * fl32(f * h)) * f) * g) for h, f, g in zip(row, phi, gradients)])
    return r


def smear():
    x, dy = features()
    gate = uniform(CHANNELS, 22, 3.0)
    mix = [s.sigmoid(g) for g in gate]
    rest = [fl32(1.0 - v) for v in mix]
    first, last = (lambda t: t % LENGTH == 0), (lambda t: t % LENGTH == LENGTH - 1)
    zero = [0.0] * CHANNELS
    before = [zero if first(t) else x[t - 1] for t in range(TOKENS)]
    r, blended = Rung(), []
    for t in range(TOKENS):
        own = times(rest, x[t])
        blended.append(own if first(t) else s.add(own, times(mix, before[t])))
    r.rows(blended)
    for t in range(TOKENS):
        own = times(rest, dy[t])
        r.floats(own if last(t) else s.add(own, times(mix, dy[t + 1])))
    for t in range(TOKENS):
        r.floats([fl32(fl32(g * fl32(p - v)) * fl32(m * fl32(1.0 - m))) for g, p, v, m in zip(dy[t], before[t], x[t], mix)])
    g = [s.sigmoid(fl32(s.dot(gate[:12], row[:12]) - 2.0)) for row in x]
    factor = [fl32(SMEAR * v) for v in g]
    r.rows([x[t] if first(t) else [fl32(v + fl32(factor[t] * p)) for v, p in zip(x[t], before[t])] for t in range(TOKENS)])
    dz = [fl32((0.0 if first(t) else fl32(SMEAR * s.dot(dy[t], before[t]))) * fl32(g[t] * fl32(1.0 - g[t]))) for t in range(TOKENS)]
    r.floats(dz)
    for t in range(TOKENS):
        row = dy[t] if last(t) else [fl32(v + fl32(factor[t + 1] * n)) for v, n in zip(dy[t], dy[t + 1])]
        r.floats([fl32(row[c] + fl32(dz[t] * gate[c])) for c in range(12)] + row[12:])
    return r


def unit(x):
    """(x divided by its length, the divisor, whether that is the length)"""
    length = s.sqrt32(s.dot(x, x))
    m = length if length > TINY else TINY
    return [fl32(v / m) for v in x], m, length > TINY


def unit_backward(dy, y, m, is_length):
    c = s.dot(dy, y)
    return [fl32((fl32(g - fl32(c * v)) if is_length else g) / m) for g, v in zip(dy, y)]


def exclusive():
    heads, key_heads, dim = 6, 2, 8
    x, dy = features()
    r, along, outputs, d_out, d_values = Rung(), [], [], [], []
    for t, values in enumerate(matrix(TOKENS * key_heads, dim, 23, 1.5)[i:i + key_heads] for i in range(0, TOKENS * key_heads, key_heads)):
        for k, v in enumerate(values):
            e, m, is_length = unit(v)
            terms = []
            for h in range(k * heads // key_heads, (k + 1) * heads // key_heads):
                o, g = x[t][h * dim:(h + 1) * dim], dy[t][h * dim:(h + 1) * dim]
                c, b = s.dot(o, e), s.dot(g, e)
                along.append(c)
                outputs += [fl32(p - fl32(c * q)) for p, q in zip(o, e)]
                d_out += [fl32(p - fl32(b * q)) for p, q in zip(g, e)]
                terms.append([fl32(fl32(c * p) + fl32(b * q)) for p, q in zip(g, o)])
            exponent, q = s.quantise([v for row in terms for v in row], 24)
            de = [-s.grid(sum(q[d::dim]), exponent - 24) for d in range(dim)]
            d_values += unit_backward(de, e, m, is_length)
    return r.floats(outputs).floats(along).floats(d_out).floats(d_values)


def orthogonal():
    r, drawn = Rung(), normals(960)
    for rows, columns in ((40, 24), (24, 40)):
        r.rows(second_parameters.orthogonal_of([[drawn[i * columns + j] for j in range(columns)] for i in range(rows)]))
    return r


def divided(rows):
    """Each row over its length of 7.4 and a little more."""
    lengths = [fl32(fl32(math.sqrt(s.sum_of_squares([row]))) + float.fromhex("0x1.ad7f2ap-24")) for row in rows]
    return [[fl32(v / n) for v in row] for row, n in zip(rows, lengths)]


def solve(a, x):
    """The lower triangle of a."""
    if len(x) == 1:
        d = fl32(a[0][0] + float.fromhex("0x1.0c6f7ap-20"))
        return [[fl32(v / d) for v in x[0]]]
    h = 1
    while 2 * h < len(x):
        h *= 2
    head = solve([row[:h] for row in a[:h]], x[:h])
    away = s.product("s21", [row[:h] for row in a[h:]], s.columns(head))
    return head + solve([row[h:] for row in a[h:]], [[fl32(p - q) for p, q in zip(*rows)] for rows in zip(x[h:], away)])


def mud():
    r = Rung()
    for rows, columns in ((24, 40), (40, 24)):
        x = matrix(rows, columns, 15, 1e-3)
        x = s.columns(x) if rows > columns else x
        for _ in range(2):
            x = divided(x)
            x = divided(solve(s.product("s21", x, x), x))
        r.rows(s.columns(x) if rows > columns else x)
    return r


def unit_vectors():
    x, dy = matrix(19, 200, 24, 5.0), matrix(19, 200, 25, 0.1)
    done = [unit(row) for row in x]
    r = Rung().rows([y for y, _, _ in done]).floats([m for _, m, _ in done])
    r.rows([unit_backward(g, *d) for g, d in zip(dy, done)])
    return r.rows(s.columns([unit(column)[0] for column in s.columns(x)]))


class State:
    """A matrix whose entries are one group: sums of its products with vectors [27.16]."""

    def __init__(self, rows):
        self.rows, self.width = rows, len(rows[0])
        self.e, flat = s.quantise([v for row in rows for v in row], 24)
        self.q = second_export.cut((len(rows), self.width), flat)

    def by_columns(self, x):
        e, q = s.quantise(x, 24)
        return [s.grid(sum(map(mul, column, q)), self.e + e - 48) for column in zip(*self.q)]

    def by_rows(self, x):
        e, q = s.quantise(x, 24)
        return [s.grid(sum(map(mul, row, q)), self.e + e - 48) for row in self.q]

    def whole(self, other):
        return s.grid(sum(sum(map(mul, a, b)) for a, b in zip(self.q, other.q)), self.e + other.e - 48)


def delta_head(q, k, v, alpha, beta, d_out):
    """One sequence and head, forward and backward: per token o, dq, dk, dv, dalpha, dbeta."""
    state, kept, out = [[0.0] * len(v[0]) for _ in q[0]], [], []
    for t in range(len(q)):
        before = State(state)
        r0, w0, c = before.by_columns(k[t]), before.by_columns(q[t]), s.dot(k[t], q[t])
        m = [fl32(x - fl32(alpha[t] * r)) for x, r in zip(v[t], r0)]
        e = [fl32(beta[t] * x) for x in m]
        out.append([fl32(fl32(alpha[t] * w) + fl32(c * x)) for w, x in zip(w0, e)])
        kept.append((before, r0, w0, c, m, e))
        state = [[fl32(fl32(alpha[t] * x) + fl32(k[t][i] * y)) for x, y in zip(row, e)] for i, row in enumerate(state)]
    after = [[0.0] * len(v[0]) for _ in q[0]]
    gradients = []
    for t in reversed(range(len(q))):
        before, r0, w0, c, m, e = kept[t]
        D, a, y = State(after), alpha[t], d_out[t]
        de = [fl32(fl32(c * p) + r) for p, r in zip(y, D.by_columns(k[t]))]
        dv = [fl32(beta[t] * x) for x in de]
        dr = [-x for x in dv]
        dc = s.dot(y, e)
        dk = [fl32(fl32(p + fl32(a * r)) + fl32(dc * x)) for p, r, x in zip(D.by_rows(e), before.by_rows(dr), q[t])]
        dq = [fl32(fl32(a * p) + fl32(dc * x)) for p, x in zip(before.by_rows(y), k[t])]
        da = fl32(fl32(s.dot(dr, r0) + s.dot(y, w0)) + D.whole(before))
        gradients.append((dq, dk, dv, [da], [s.dot(de, m)]))
        after = [[fl32(a * fl32(fl32(x + fl32(k[t][i] * r)) + fl32(q[t][i] * p))) for x, r, p in zip(row, dr, y)] for i, row in enumerate(after)]
    return [(o, *g) for o, g in zip(out, reversed(gradients))]


def delta_rule():
    sequences, length, heads, key, value = 2, 70, 3, 8, 12
    rows = sequences * length * heads
    q, k, v, d_out = matrix(rows, key, 26), matrix(rows, key, 27, 0.4), matrix(rows, value, 28, 2.0), matrix(rows, value, 29, 0.1)
    alpha, beta = ([fl32(x + base) for x in uniform(rows, stream, scale)] for stream, scale, base in ((30, 0.1, 0.875), (31, 0.5, 0.5)))
    found = [None] * rows
    for first in (sequence * length * heads + h for sequence in range(sequences) for h in range(heads)):
        places = range(first, first + length * heads, heads)
        for i, row in zip(places, delta_head(*([x[i] for i in places] for x in (q, k, v, alpha, beta, d_out)))):
            found[i] = row
    r = Rung()
    for part in zip(*found):
        r.rows(part)
    # The short convolution: channels of a token are those of its heads one after the other.
    width = heads * key
    taps = matrix(4, width, 32, 0.5)
    x, dy = (second_export.cut((0, width), [v for row in rows for v in row]) for rows in (q, k))

    def at(rows, t, by):
        return rows[t + by] if (t + by) // length == t // length else [0.0] * width

    z = [chain(taps, [at(x, t, -3), at(x, t, -2), at(x, t, -1), x[t]]) for t in range(len(x))]
    swish = [[(v, s.sigmoid(v)) for v in row] for row in z]
    dz = [[fl32(g * fl32(m * fl32(1.0 + fl32(v * fl32(1.0 - m))))) for g, (v, m) in zip(*both)] for both in zip(dy, swish)]
    dx = [chain(taps[::-1], [dz[t], at(dz, t, 1), at(dz, t, 2), at(dz, t, 3)]) for t in range(len(x))]
    return r.rows([[fl32(v * m) for v, m in row] for row in swish]).rows(dz).rows(dx)


def chain(taps, rows):
    """((w x + w x) + w x) + w x, by channel."""
    total = times(taps[0], rows[0])
    for w, row in zip(taps[1:], rows[1:]):
        total = s.add(total, times(w, row))
    return total


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
    "random.normal": lambda: Rung().floats(normals()),
    "op.quantise": quantised,
    "op.matmul_p3": lambda: product("p3"),
    "op.matmul_p4": lambda: product("p4"),
    "op.matmul_b21": lambda: product("s21"),
    "op.rms_norm": rms_norm,
    "op.sum_of_squares": lambda: Rung().doubles([s.sum_of_squares([uniform(19 * 200, 3, 5.0), uniform(20000, 5, 1e-3)])]),
    "op.rope": rope,
    "op.cross_entropy": cross_entropy,
    "op.leaky_relu_squared": leaky,
    "op.smear": smear,
    "op.exclusive_attention": exclusive,
    "random.orthogonal": orthogonal,
    "op.mud": mud,
    "op.unit_vectors": unit_vectors,
    "op.delta_rule": delta_rule,
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
