#!/usr/bin/env python3
"""The operations and the model of section 27 of kernels/NUMERICS.md a second time, in plain Python.

Written from the document, without the engine; second_systems_test.py compares it with the program. The operations of the older
sections come from second_implementation.py. The backward pass is a tape: every operation appends its backward step, and the
steps run last first, which is what section 12 says about contributions.
"""

import math

import second_implementation as s
from second_implementation import add, dot, fl32, scaled_add, sigmoid, times
from second_parameters import LOOP_LORA, SMEAR_CHANNELS, Parameters

SMEAR_SCALE = float.fromhex("0x1.1eb852p-4")


class Value:
    """Rows of a tape and their gradient. The new contribution stands on the right."""

    def __init__(self, rows):
        self.rows, self.grad = rows, None

    def give(self, rows):
        self.grad = rows if self.grad is None else [add(a, b) for a, b in zip(self.grad, rows)]


def buckets(ids, kind, count):
    """Bucket of every token of one sequence [27.1]."""
    result = []
    for t, c in enumerate(ids):
        q, r = ids[t - 1] if t else 0, ids[t - 2] if t > 1 else 0
        if kind == "affine_92821":
            b = (92821 * q + c) % count
        elif kind == "affine_31":
            b = (31 * q + c) % count
        elif kind == "xor_previous":
            b = (36313 * q ^ 27191 * c) % (count - 1)
        elif kind == "xor_current":
            b = (36313 * c ^ 27191 * q) % (count - 1) if t else count - 1
        else:
            b = (36313 * c ^ 27191 * q ^ 51497 * r) % (count - 1) if t > 1 else count - 1
        result.append(b)
    return result


class Model(Parameters):
    counted_from = 0

    def op(self, rows, backward):
        y = Value(rows)
        self.tape.append(lambda: backward(y.grad))
        return y

    def look_up(self, name, index):
        width = self.shapes[name][1]
        table = self.rows(name)

        def backward(dy):
            for i, row in zip(index, dy):
                self.acc.per_token(name, i * width, row)
        return self.op([table[i] for i in index], backward)

    def plus(self, x, y):
        """x + y; y is contributed to first."""
        def backward(g):
            y.give(g)
            x.give(g)
        return self.op([add(a, b) for a, b in zip(x.rows, y.rows)], backward)

    def scalar_times(self, name, x):
        factor = self.tensors[name][0]

        def backward(g):
            for a, b in zip(g, x.rows):
                self.acc.per_token(name, 0, [dot(a, b)])
            x.give([[fl32(factor * v) for v in row] for row in g])
        return self.op([[fl32(factor * v) for v in row] for row in x.rows], backward)

    def linear(self, x, names, kind="linear"):
        return [self.added(x, y, name) for y, name in zip(self.product(x, names, kind), names)]

    def added(self, x, y, name):
        """What a pass adds to its q, k, v and out [27.3]."""
        part = LOOP_LORA.get(name.split(".", 2)[-1])
        if not self.cfg["loop_lora_rank"] or part is None:
            return y
        lora = "lora_adapters.%d.%d.%s_" % (*divmod(self.pass_, self.layers), part)
        inner, = self.product(x, [lora + "A"])
        return self.plus(y, *self.product(inner, [lora + "B"]))

    def product(self, x, names, kind="linear"):
        """y = W x for several matrices; the last one contributes first."""
        matrices = [self.matrix(n) for n in names]
        self.seen(names, x.rows)
        outs = [Value(s.product(self.kinds[kind], x.rows, w)) for w in matrices]

        def backward():
            for y, w, n in reversed(list(zip(outs, matrices, names))):
                if self.acc.wants(n):
                    sides = s.columns(y.grad), s.columns(x.rows)
                    if n.startswith("lora_adapters."):
                        sides = sides[1], sides[0]
                    self.acc.per_chunk(n, s.product(self.kinds["weight_gradients"], *sides))
                x.give(s.product(self.kinds["input_gradients"], y.grad, s.columns(w)))
        self.tape.append(backward)
        return outs

    def seen(self, names, rows):
        if self.capture is not None:
            for n in names:
                self.capture.setdefault(n, []).append(rows)

    def norm(self, x, factor=1.0):
        normed = [s.rms_norm(r) for r in x.rows]

        def backward(g):
            if factor != 1.0:
                g = [[fl32(factor * v) for v in row] for row in g]
            x.give([s.rms_norm_backward(a, y, r) for a, (y, r) in zip(g, normed)])
        return self.op([[fl32(factor * v) for v in y] if factor != 1.0 else y for y, _ in normed], backward)

    def scaled_add(self, x, name, offset, a):
        scales = self.tensors[name][offset:offset + self.d]

        def backward(g):
            for p, q in zip(g, a.rows):
                self.acc.per_token(name, offset, times(p, q))
            a.give([times(scales, p) for p in g])
            x.give(g)
        return self.op([scaled_add(p, scales, q) for p, q in zip(x.rows, a.rows)], backward)

    def mix(self, x, x0, name):
        m0, m1 = self.rows(name)

        def backward(g):
            for p, q, q0 in zip(g, x.rows, x0.rows):
                self.acc.per_token(name, 0, times(p, q))
                self.acc.per_token(name, self.d, times(p, q0))
            x0.give([times(m1, p) for p in g])
            x.give([times(m0, p) for p in g])
        return self.op([s.mix(p, q, m0, m1) for p, q in zip(x.rows, x0.rows)], backward)

    def smear(self, x):
        """[27.2]; `before` and `after` are the neighbours of a token within its sequence, or None."""
        T, n, rows = self.T, len(x.rows), x.rows
        zero = [0.0] * self.d
        before = [rows[i - 1] if i % T else None for i in range(n)]
        if self.cfg["smear_gate"] == "first_channels":
            weight, bias = self.tensors[self.smear_name + ".weight"], self.tensors[self.smear_name + ".bias"][0]
            g = [sigmoid(fl32(dot(weight, r[:SMEAR_CHANNELS]) + bias)) for r in rows]
            c = [fl32(SMEAR_SCALE * v) for v in g]

            def backward(dy):
                out = []
                for i, row in enumerate(dy):
                    dg = fl32(SMEAR_SCALE * dot(row, before[i])) if before[i] else 0.0
                    dz = fl32(dg * fl32(g[i] * fl32(1.0 - g[i])))
                    self.acc.per_token(self.smear_name + ".bias", 0, [dz])
                    self.acc.per_token(self.smear_name + ".weight", 0, [fl32(dz * v) for v in rows[i][:SMEAR_CHANNELS]])
                    dx = row if i % T == T - 1 else [fl32(a + fl32(c[i + 1] * b)) for a, b in zip(row, dy[i + 1])]
                    out.append([fl32(a + fl32(dz * w)) for a, w in zip(dx, weight)] + dx[SMEAR_CHANNELS:])
                x.give(out)
            return self.op([[fl32(a + fl32(k * p)) for a, p in zip(r, b)] if b else r
                            for r, b, k in zip(rows, before, c)], backward)
        gate = [sigmoid(v) for v in self.tensors[self.smear_name]]
        other = [fl32(1.0 - v) for v in gate]
        slope = times(gate, other)
        keep = self.cfg["smear_gate"] == "keep"
        own, past = (gate, other) if keep else (other, gate)

        def backward(dy):
            out = []
            for i, row in enumerate(dy):
                p = before[i] or zero
                pairs = zip(rows[i], p) if keep else zip(p, rows[i])
                self.acc.per_token(self.smear_name, 0, [fl32(fl32(a * fl32(u - v)) * k)
                                                     for a, (u, v), k in zip(row, pairs, slope)])
                out.append(times(own, row) if i % T == T - 1 else s.mix(row, dy[i + 1], own, past))
            x.give(out)
        return self.op([s.mix(r, b, own, past) if b else times(own, r) for r, b in zip(rows, before)], backward)

    def head_norm_rope(self, x, heads, gain=None):
        """rms_norm per head, rope on the first elements, and the gain of q."""
        w, R = self.head_width, self.cfg["rope_dims"] or self.head_width
        normed = [[s.rms_norm(r[h * w:(h + 1) * w]) for h in range(heads)] for r in x.rows]
        turned = [[s.rope(y[:R], self.angles[i % self.T]) + y[R:] for y, _ in row] for i, row in enumerate(normed)]
        gains = self.tensors[gain] if gain else None

        def backward(g):
            out = []
            for i, row in enumerate(g):
                joined = []
                for h in range(heads):
                    part = row[h * w:(h + 1) * w]
                    if gain:
                        self.acc.per_token(gain, h, [dot(part, turned[i][h])])
                        part = [fl32(gains[h] * v) for v in part]
                    part = s.rope(part[:R], self.angles[i % self.T], True) + part[R:]
                    joined += s.rms_norm_backward(part, *normed[i][h])
                out.append(joined)
            x.give(out)
        return self.op([[fl32(gains[h] * v) if gain else v for h in range(heads) for v in row[h]] for row in turned],
                       backward)

    def split(self, rows, first, heads):
        w = self.head_width
        return [[r[h * w:(h + 1) * w] for r in rows[first:first + self.T]] for h in range(heads)]

    def joined(self, heads):
        return [[v for head in heads for v in head[i]] for i in range(self.T)]

    def attention(self, q, k, v):
        contexts, o = [], []
        for first in range(0, len(q.rows), self.T):
            out, context = s.attention_forward(self.kinds["attention"], self.split(q.rows, first, self.heads),
                                               *[self.split(x.rows, first, self.kv_heads) for x in (k, v)])
            contexts.append(context)
            o += self.joined(out)

        def backward(g):
            gradients = [[], [], []]
            for n, context in enumerate(contexts):
                parts = s.attention_backward(self.kinds["attention"], self.split(g, n * self.T, self.heads), context)
                for rows, part in zip(gradients, parts):
                    rows += self.joined(part)
            for x, rows in zip((q, k, v), gradients):
                x.give(rows)
        return self.op(o, backward)

    def exclude(self, o, v):
        """[27.4]"""
        w, group = self.head_width, self.heads // self.kv_heads
        tiny = float.fromhex("0x1.197998p-40")
        out, kept = [], []
        for o_row, v_row in zip(o.rows, v.rows):
            new, keep = [0.0] * self.d, []
            for k in range(self.kv_heads):
                value = v_row[k * w:(k + 1) * w]
                m = s.sqrt32(dot(value, value))
                replaced = not m > tiny
                m = tiny if replaced else m
                e = [fl32(a / m) for a in value]
                for h in range(k * group, (k + 1) * group):
                    part = o_row[h * w:(h + 1) * w]
                    c = dot(part, e)
                    new[h * w:(h + 1) * w] = [fl32(a - fl32(c * b)) for a, b in zip(part, e)]
                    keep.append((part, c, e, m, replaced))
            out.append(new)
            kept.append(keep)

        def backward(gradient):
            dv_rows, do_rows = [], []
            for row, keep in zip(gradient, kept):
                dv, do = [], []
                for k in range(self.kv_heads):
                    terms = []
                    for h in range(k * group, (k + 1) * group):
                        part, c, e, m, replaced = keep[h]
                        g = row[h * w:(h + 1) * w]
                        b = dot(g, e)
                        do += [fl32(p - fl32(b * q)) for p, q in zip(g, e)]
                        terms += [fl32(fl32(c * p) + fl32(b * q)) for p, q in zip(g, part)]
                    exponent, q = s.quantise(terms, 24)
                    de = [-s.grid(sum(q[i::w]), exponent - 24) for i in range(w)]
                    if not replaced:
                        c = dot(de, e)
                        de = [fl32(p - fl32(c * a)) for p, a in zip(de, e)]
                    dv += [fl32(p / m) for p in de]
                dv_rows.append(dv)
                do_rows.append(do)
            v.give(dv_rows)
            o.give(do_rows)
        return self.op(out, backward)

    def gate(self, o, z, name):
        """[27.5]"""
        w, bias = self.head_width, self.tensors[name]
        gates = [[sigmoid(fl32(a + b)) for a, b in zip(row, bias)] for row in z.rows]

        def scaled(rows):
            return [[fl32(g[i // w] * a) for i, a in enumerate(row)] for row, g in zip(rows, gates)]

        def backward(gradient):
            dz = []
            for row, g, part in zip(gradient, gates, o.rows):
                dg = [dot(row[h * w:(h + 1) * w], part[h * w:(h + 1) * w]) for h in range(self.heads)]
                dz.append([fl32(a * fl32(b * fl32(1.0 - b))) for a, b in zip(dg, g)])
                self.acc.per_token(name, 0, dz[-1])
            z.give(dz)
            o.give(scaled(gradient))
        return self.op(scaled(o.rows), backward)

    def mix_values(self, v0, v, name):
        """lambda_0 v0 + lambda_1 v [27.3]"""
        l0, l1 = self.tensors[name]

        def backward(g):
            for p, q0, q in zip(g, v0.rows, v.rows):
                self.acc.per_token(name, 0, [dot(p, q0), dot(p, q)])
            v.give([[fl32(l1 * a) for a in row] for row in g])
            v0.give([[fl32(l0 * a) for a in row] for row in g])
        return self.op([[fl32(fl32(l0 * a) + fl32(l1 * b)) for a, b in zip(p, q)] for p, q in zip(v0.rows, v.rows)],
                       backward)

    def activation(self, h):
        f = fl32(self.cfg["mlp_slope"])
        if not f > 0.0:
            return self.op([s.relu_squared(r) for r in h.rows],
                           lambda g: h.give([s.relu_squared_backward(a, b) for a, b in zip(h.rows, g)]))

        def forward(a):
            b = a if a > 0.0 else fl32(f * a)
            return fl32(b * b)

        def slope(a, g):
            phi = 1.0 if a > 0.0 else f
            return fl32(fl32(fl32(2.0 * fl32(phi * a)) * phi) * g)
        return self.op([[forward(a) for a in r] for r in h.rows],
                       lambda g: h.give([[slope(a, b) for a, b in zip(p, q)] for p, q in zip(h.rows, g)]))

    # ------------------------------------------------------------------------------------------ the model

    def embedding(self, sequences):
        c = self.cfg
        e = self.look_up("tok_emb.weight", self.ids)
        if c["bigram_buckets"]:
            def rows(kind):
                return self.look_up(self.table,
                                    [b for ids, _ in sequences for b in buckets(ids, kind, c["bigram_buckets"])])
            p = rows(c["bigram_hash"])
            if c["trigram_hash"]:
                p = self.plus(p, rows("trigram"))
            if c["bigram_dim"] != self.d:
                p, = self.linear(p, [self.projections[0]])
            if self.bigram_scale:
                p = self.scalar_times(self.bigram_name + ".scale", p)
            e = self.plus(e, p)
        if c["smear_gate"] == "keep":
            e = self.smear(e)
        x0 = self.norm(e)
        return self.smear(x0) if c["smear_gate"] in ("blend", "first_channels") else x0

    def block(self, l, x):
        c, B = self.cfg, "blocks.%d." % l
        factor = fl32(1.0 / math.sqrt(l + 1.0)) if c["ln_scale"] else 1.0
        u = self.mix(x, self.x0, B + "resid_mix")
        names = ["attn.c_q.weight", "attn.c_k.weight", "attn.c_v.weight"]
        if c["gated_attention"]:
            names.append("attn.attn_gate.weight")
        q, k, v, *z = self.linear(self.norm(u, factor), [B + n for n in names])
        q = self.head_norm_rope(q, self.heads, B + "attn.q_gain")
        k = self.head_norm_rope(k, self.kv_heads)
        if l in c["ve_layers"]:
            v = self.plus(v, self.scalar_times("ve_layer_scales.%d" % c["ve_layers"].index(l), self.extra_values))
        if c["value_residual"]:
            if l == 0:
                self.v0 = v
            else:
                v = self.mix_values(self.v0, v, B + "attn.vr_lambda")
        o = self.attention(q, k, v)
        if l >= self.layers - c["xsa_last_n"]:
            o = self.exclude(o, v)
        if z:
            o = self.gate(o, z[0], B + "attn.attn_gate.bias")
        a, = self.linear(o, [B + "attn.proj.weight"])
        y = self.scaled_add(u, B + "attn_scale", 0, a)
        h, = self.linear(self.norm(y, factor), [B + "mlp.fc.weight"])
        b, = self.linear(self.activation(h), [B + "mlp.proj.weight"])
        return self.scaled_add(y, B + "mlp_scale", 0, b)

    def rope_angles(self, length, window):
        """Of the positions 0 ... length - 1; the base is that of a window of `window` tokens [27.3]."""
        c = self.cfg
        R, base = c["rope_dims"] or self.head_width, c["rope_base"]
        if 0 < c["rope_ntk_length"] < window:
            base = base * s.pow_64(window / c["rope_ntk_length"], R / (R - 2.0))
        return s.rope_table(length, R, base, c["rope_inv_freq_dtype"] == "bf16" and not 0 < c["rope_ntk_length"] < window)

    def forward(self, sequences, training, window=0):
        """sequences: (inputs, targets) of one length. Returns the nll of every token; rope sees a window of `window` tokens."""
        c, fake = self.cfg, self.fake
        self.fake = fake and training
        self.tape, self.T, self.pass_ = [], len(sequences[0][0]), 0
        self.ids = [t for inputs, _ in sequences for t in inputs]
        self.angles = self.rope_angles(self.T, max(window, self.T))
        self.x0 = x = self.embedding(sequences)
        if c["ve_dim"]:
            a = self.look_up("ve_shared.embed.weight", self.ids)
            if "ve_shared.proj.weight" in self.shapes:
                a, = self.linear(a, ["ve_shared.proj.weight"])
            self.extra_values = self.scalar_times("ve_shared.scale", a)
        kept = []
        for p in range(self.passes):
            if p >= self.encoders and kept:
                x = self.scaled_add(x, "skip_weights", (p - self.encoders) * self.d, kept.pop())
            self.pass_ = p
            x = self.block(p % self.layers, x)
            if p < self.encoders:
                kept.append(x)
        self.pass_ = self.passes
        hidden = self.norm(x)
        targets = [t for _, outputs in sequences for t in outputs]
        head = "tok_emb.weight" if c["tied_head"] else "lm_head.weight"
        nll = self.output(hidden, head, targets, None)
        self.pass_ += 1     # further uses of the output matrix have no adapters
        for k in range(c["mtp_heads"] if training else 0):
            n = self.T - k - 1
            if n <= 0:
                break
            where = [i for i in range(len(targets)) if i % self.T < n]
            weight = fl32((fl32(c["mtp_weight"]) / c["mtp_heads"]) * (self.T / n))
            own, seen = "mtp_heads.%d.weight" % k, hidden
            if c["mtp_square"]:
                seen, = self.linear(hidden, [own])
            self.output(self.pick(seen, where), head if c["mtp_square"] else own, [targets[i + k + 1] for i in where], weight)
        self.fake = fake
        return nll

    def pick(self, x, where):
        """The rows `where`; the others get a gradient of zero."""
        def backward(g):
            rows = [[0.0] * self.d for _ in x.rows]
            for i, row in zip(where, g):
                rows[i] = row
            x.give(rows)
        return self.op([x.rows[i] for i in where], backward)

    def output(self, hidden, name, targets, weight):
        """Losses of the rows of `hidden`. Of a multi-token head the gradient is multiplied by `weight`, of the main loss rows
        before `counted_from` have none."""
        logits, = self.linear(hidden, [name], "logits")
        losses = [s.cross_entropy(u, fl32(self.cfg["logit_softcap"]), t) for u, t in zip(logits.rows, targets)]
        if weight is None:
            self.logits, self.capped = logits.rows, [steps[0] for _, _, steps in losses]

        def backward():
            if weight is not None:
                logits.give([[fl32(v * weight) for v in g] for _, g, _ in losses])
            else:
                logits.give([g if i >= self.counted_from else [0.0] * len(g) for i, (_, g, _) in enumerate(losses)])
        self.tape.append(backward)
        return [n for n, _, _ in losses]

    def backward(self, accumulator):
        self.acc = accumulator
        for step in reversed(self.tape):
            step()
