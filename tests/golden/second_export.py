#!/usr/bin/env python3
"""The export of section 17 of kernels/NUMERICS.md and engine/quant/FORMAT.md a second time, in plain Python.

Written from the two documents, without the engine; second_systems_test.py compares it with the program.
"""

import math
import struct

import second_implementation as s
from second_implementation import bf16, fl32, fp16, fp16_bits, quantile

CONTROL = ("attn_scale", "mlp_scale", "resid_mix", "q_gain", "skip_weight")
BY_CATEGORY = ("smear", "dtg_gate", "ve_layer_scales", "ve_shared.scale", "attn_gate", "vr_lambda")
DEFAULTS = dict(small_tensor_max_elements=65536, limit=0, clip="scheme", clip_candidates=[], scale_floor=True, rounded_scale=None,
                fp16=[], control=[], prune_percent=0.0, codebook_entries=0, embed_svd_rank=0, calibration="none",
                calibration_sequences=64, calibration_tokens=0, calibration_seed=42, gptq_damping=0.01)


def cut(rows_of, values):
    width = rows_of[1]
    return [values[i:i + width] for i in range(0, len(values), width)]


# ---------------------------------------------------------------------------------------------- rows [17.3, 17.4]

class Rule:
    """Limit and method of one matrix."""

    def __init__(self, quant, name):
        scheme = quant["scheme"]
        if scheme == "int6_by_category":
            self.block = "tok_emb" not in name and "lm_head" not in name and any(p in name for p in (".mlp.", ".attn.", ".proj."))
        else:
            self.block = scheme != "mixed_int6" or "tok_emb" not in name
        self.limit = 127 if scheme == "int8" or not self.block else 31
        self.clip, self.rounded = "quantile", False
        if scheme == "int6_by_category" and self.block:
            self.clip, self.rounded = "row_max", True
        self.candidates, self.floor = [], quant["scale_floor"]
        if self.block:
            self.limit = quant["limit"] or self.limit
            if quant["clip"] != "scheme":
                self.clip = quant["clip"]
            if quant["rounded_scale"] is not None:
                self.rounded = quant["rounded_scale"]
            self.candidates = [fl32(p) for p in quant["clip_candidates"]]
        if quant["clip"] == "deviation":
            self.clip, self.rounded = "deviation", True
            self.deviations = fl32(quant["clip_deviations" if self.block else "other_clip_deviations"])

    def clips(self, row):
        """The candidates' clips of a row; one without a search."""
        magnitudes = [abs(v) for v in row]
        if self.clip == "deviation":
            n = len(row)
            e, q = s.quantise(row, 24)
            s1, s2 = float(sum(q)), float(sum(v * v for v in q))
            v = max((s2 - s1 * s1 / n) / (n - 1), 0.0)
            return [fl32(self.deviations * fl32(math.ldexp(math.sqrt(v), e - 24)))]
        if self.clip.startswith("search"):
            return [quantile(magnitudes, p) for p in self.candidates]
        return [quantile(magnitudes, 1.0 if self.clip == "row_max" else s.Q_QUANTILE)]

    def scale(self, c, rounded):
        value = max(fl32(c / float(self.limit)), fl32(1.0 / self.limit) if self.floor else 2.0 ** -24)
        return fp16(value) if rounded else value

    def quantise(self, row, c):
        """(integers, the scale that divided)."""
        q = self.scale(c, self.rounded)
        result = [round(fl32((v if self.rounded else s.clamp(v, c)) / q)) for v in row]
        return [max(-self.limit, min(self.limit, v)) for v in result], q

    def rows(self, rows):
        """Integers and dividing scales of a matrix."""
        candidates = [[self.quantise(row, c) for c in self.clips(row)] for row in rows]
        if self.clip == "search_rows":
            return [options[best([errors(row, *o) for o in options])] for row, options in zip(rows, candidates)]
        if self.clip == "search_matrix":
            whole = [[d for row, options in zip(rows, candidates) for d in errors(row, *options[i])]
                     for i in range(len(self.candidates))]
            i = best(whole)
            return [options[i] for options in candidates]
        return [options[0] for options in candidates]


def errors(row, q, scale):
    return [fl32(v - fl32(float(i) * scale)) for v, i in zip(row, q)]


def best(candidates):
    totals = [s.sum_of_squares([c]) for c in candidates]
    return totals.index(min(totals))


# ---------------------------------------------------------------------------------------------- codebook, factors [17.5, 17.6]

def codebook(values, entries):
    """(stored values, index per element)"""
    e, q = s.quantise(values, 24)
    n, a = len(q), sorted(q)
    c = [a[(2 * j + 1) * n // (2 * entries)] for j in range(entries)]

    def member(v):
        for j in range(entries - 1):
            if 2 * v <= c[j] + c[j + 1]:
                return j
        return entries - 1

    for _ in range(100):
        sums, counts = [0] * entries, [0] * entries
        for v in q:
            j = member(v)
            sums[j] += v
            counts[j] += 1
        new = [round(float(t) / float(k)) if k else old for t, k, old in zip(sums, counts, c)]
        if new == c:
            break
        c = new
    return [fp16(s.scale(fl32(float(v)), e - 24)) for v in c], [member(v) for v in q]


def eigenvectors(g):
    """Rows by descending eigenvalue; cyclic Jacobi [17.6]."""
    d = len(g)
    a = [list(r) for r in g]
    w = [[1.0 if i == j else 0.0 for j in range(d)] for i in range(d)]

    def turn(x, y, c, t):
        return [c * p - t * q for p, q in zip(x, y)], [t * p + c * q for p, q in zip(x, y)]

    for _ in range(60):
        m = max(abs(a[i][i]) for i in range(d))
        rotated = False
        for p in range(d - 1):
            for q in range(p + 1, d):
                if abs(a[p][q]) <= 2.0 ** -56 * m:
                    continue
                rotated = True
                theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q])
                rho = math.sqrt(theta * theta + 1.0)
                t = 1.0 / (theta + rho) if theta >= 0 else -1.0 / (rho - theta)
                c = 1.0 / math.sqrt(t * t + 1.0)
                sine = t * c
                a[p], a[q] = turn(a[p], a[q], c, sine)
                for row in a:
                    x, y = row[p], row[q]
                    row[p], row[q] = c * x - sine * y, sine * x + c * y
                a[p][q] = a[q][p] = 0.0
                w[p], w[q] = turn(w[p], w[q], c, sine)
        if not rotated:
            break
    return [w[k] for k in sorted(range(d), key=lambda k: -a[k][k])]


def two_factors(rows, rank):
    """(left, right) as binary16 values."""
    d = len(rows[0])
    g = [[0.0] * d for _ in range(d)]
    for row in rows:
        for i in range(d):
            g[i] = [x + row[i] * y for x, y in zip(g[i], row)]
    w = eigenvectors(g)[:rank]

    def dot(a, b):
        total = 0.0
        for x, y in zip(a, b):
            total += x * y
        return total
    return [[fp16(fl32(dot(row, v))) for v in w] for row in rows], [[fp16(fl32(x)) for x in v] for v in w]


# ---------------------------------------------------------------------------------------------- full GPTQ [17.7]

def calibration_sequences(model, quant, tokens, default_tokens):
    T = quant["calibration_tokens"] or default_tokens
    for i in range(quant["calibration_sequences"]):
        if quant["calibration"] == "train":
            yield [tokens[(i * T + j) % len(tokens)] for j in range(T)]
            continue
        ids, V = [], model.cfg["vocab_size"]
        for j in range(T):
            words = s.philox(i * T + j, quant["calibration_seed"], s.tensor_word("calibration"), 3)
            u = words[0] + (words[1] << 32)
            if j == 0:
                ids.append(u * V >> 64)
                continue
            model.forward([(ids, [0] * len(ids))], False, T)
            z = model.capped[-1]
            top = max(z)
            weights = [round(math.ldexp(s.exp(fl32(fl32(v - top) * 1.25)), 30)) for v in z]
            threshold, y, total = u * sum(weights) >> 64, 0, weights[0]
            while not total > threshold:
                y += 1
                total += weights[y]
            ids.append(y)
        yield ids


def second_moments(model, quant, tokens, default_tokens):
    """name: H"""
    moments, count = {}, 0
    for ids in calibration_sequences(model, quant, tokens, default_tokens):
        model.capture = {}
        model.forward([(ids, [0] * len(ids))], False)
        for name, uses in model.capture.items():
            for rows in uses:
                x = s.columns(rows)
                c = s.product("p4", x, x)
                h = moments.get(name)
                moments[name] = [[p + q for p, q in zip(a, b)] for a, b in zip(h, c)] if h else c
        model.capture = None
        count += 1
    return {n: [[v / count for v in row] for row in h] for n, h in moments.items()}


def gptq(rows, h, rule, damping):
    n = len(rows[0])
    h = [list(r) for r in h]
    w = [list(r) for r in rows]
    for j in range(n):
        if h[j][j] == 0.0:
            h[j][j] = 1.0
            for row in w:
                row[j] = 0.0
    total = 0.0
    for j in range(n):
        total += h[j][j]
    for j in range(n):
        h[j][j] += damping * (total / n)
    order = sorted(range(n), key=lambda j: -h[j][j])
    h = [[h[i][j] for j in order] for i in order]
    r = [[0.0] * n for _ in range(n)]
    for j in reversed(range(n)):
        r[j][j] = math.sqrt(h[j][j])
        for i in range(j):
            r[i][j] = h[i][j] / r[j][j]
        for i in range(j):
            for k in range(i, j):
                h[i][k] -= r[i][j] * r[k][j]
    u = [[1.0 if i == j else 0.0 for j in range(n)] for i in range(n)]
    for i in reversed(range(n)):
        for k in range(i + 1, n):
            for j in range(k, n):
                u[i][j] -= r[i][k] * u[k][j]
        u[i] = [v / r[i][i] for v in u[i]]
    options = []
    for candidate in range(len(rule.clips(rows[0]))):
        result = []
        for row, original in zip(w, rows):
            scale = rule.scale(rule.clips(original)[candidate], True)
            v, q = [row[j] for j in order], [0] * n
            for j in range(n):
                q[order[j]] = i = round(max(-float(rule.limit), min(float(rule.limit), v[j] / scale)))
                g = (v[j] - i * scale) / u[j][j]
                for k in range(j + 1, n):
                    v[k] -= g * u[j][k]
            result.append((q, scale))
        options.append(result)
    return options[best([[d for row, o in zip(w, option) for d in errors(row, *o)] for option in options])]


# ---------------------------------------------------------------------------------------------- container [17.2, FORMAT.md]

def export(model, tensors, quantization, tokens, default_tokens):
    """(container, restored tensors) of the weights `tensors`, which are put into the model."""
    quant = dict(DEFAULTS, **quantization)
    model.tensors = dict(tensors)
    moments = second_moments(model, quant, tokens, default_tokens) if quant["calibration"] != "none" else {}
    return container(model, tensors, quant, moments)


def container(model, tensors, quant, moments):
    """The same with every key of `quant` given; a matrix whose name is in `moments` is compensated. Of the model: shapes, stored_bf16."""
    restored, entries = {}, []
    category = quant["scheme"] == "int6_by_category"
    control = CONTROL + (BY_CATEGORY if category else ()) + tuple(quant["control"])
    for name in sorted(model.shapes, key=str.encode):
        if name.startswith("mtp_heads."):
            continue
        shape, x = model.shapes[name], tensors[name]
        small = len(x) <= quant["small_tensor_max_elements"]
        bf = model.stored_bf16(name)
        form = bf16 if bf else lambda v: v
        if quant["prune_percent"] > 0 and len(shape) >= 2 and len(x) >= quant["small_tensor_max_elements"]:
            t = quantile([abs(v) for v in x], fl32(quant["prune_percent"] / 100.0))
            x = [0.0 if abs(v) <= t else v for v in x]
        entry = dict(limit=0, extra=b"", integers=b"", scales=b"", values=b"")
        if any(p in name for p in control) and small != category:
            entry.update(storage=2, values=struct.pack("<%df" % len(x), *x))
            out = x
        elif name == "tok_emb.weight" and quant["embed_svd_rank"]:
            left, right = two_factors(cut(shape, x), quant["embed_svd_rank"])
            entry.update(storage=5, extra=struct.pack("<I", quant["embed_svd_rank"]), values=halves(sum(left + right, [])))
            turned, out = s.columns(right), []
            for row in left:
                for column in turned:
                    total = 0.0
                    for a, b in zip(row, column):
                        total += a * b
                    out.append(form(fl32(total)))
        elif small or any(p in name for p in quant["fp16"]):
            entry.update(storage=3, values=halves(x))
            out = [form(fp16(v)) for v in x]
        else:
            rule = Rule(quant, name)
            if quant["codebook_entries"] and rule.block:
                values, index = codebook(x, quant["codebook_entries"])
                entry.update(storage=4, extra=struct.pack("<I", quant["codebook_entries"]), integers=bytes(index),
                             scales=halves(values))
                out = [form(values[i]) for i in index]
            else:
                rows = cut(shape, x)
                done = gptq(rows, moments[name], rule, quant["gptq_damping"]) if rule.rounded and name in moments else rule.rows(rows)
                q = [v for row, _ in done for v in row]
                entry.update(storage=1, limit=rule.limit, integers=struct.pack("%db" % len(q), *q),
                             scales=halves([scale for _, scale in done]))
                out = [form(v * fp16(scale)) for row, scale in done for v in row]
        encoded = name.encode()
        entry["head"] = struct.pack("<H", len(encoded)) + encoded + bytes(
            [entry["storage"], entry["limit"], 2 if bf else 1, len(shape)]) + struct.pack("<%dI" % len(shape), *shape) + entry["extra"]
        entries.append(entry)
        restored[name] = out
    head = b"FAIRWAYQ" + struct.pack("<II", 1, len(entries))
    return head + b"".join(e[part] for part in ("head", "integers", "scales", "values") for e in entries), restored


def halves(values):
    return struct.pack("<%dH" % len(values), *map(fp16_bits, values))
