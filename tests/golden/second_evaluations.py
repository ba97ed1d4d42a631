#!/usr/bin/env python3
"""The evaluations of section 28 of kernels/NUMERICS.md a second time, in plain Python.

Written from the document, without the engine, up to the first comparison with the program (second_evaluations_test.py). What the
document left open then was settled by trying readings, and with the engine in view for three things: which chunk of 28.3 trains last,
groups of windows, and the witnesses of the trace. The model and its backward pass come from second_adapters.py, windows and bytes from
second_implementation.py.
"""

import math
import struct

import second_implementation as s
from second_adapters import Gradients, sha, u64, with_length
from second_implementation import bf16, fl32

EVAL = dict(method="standard", stride=64, procedure="windows", temperature=1.0)
TTT = dict(lr=0.002, momentum=0.9, grad_clip_norm=1.0, epochs=3, chunk_tokens=32768, freeze_blocks=0, batch_rows=32,
           grad_chunk_tokens=8192)
LORA = dict(rank=8, lr=0.01, beta1=0.9, beta2=0.95, eps=1e-10, weight_decay=0.0, chunk_tokens=256, all_projections=False, seed=0)
PHASES = dict(order="length", documents=2000, count=1)
CACHE = dict(tokens=8192)
NGRAM = dict(order=5, alpha=0.2, discount=0.75)
DOCUMENT_START = 1
GROUP_TOKENS = 8192
WITNESSES = 16     # the purpose of the random numbers


# ---------------------------------------------------------------------------------------------- distributions [28.1]

def probabilities(z):
    m = max(z)
    w = [s.exp(fl32(v - m)) for v in z]
    total = s.grid(sum(round(math.ldexp(v, 30)) for v in w), -30)
    return [fl32(v / total) for v in w]


class Evaluation:
    """One evaluation: `nll` in scoring order and the bytes of its trace (engine/eval/TRACE.md).

    A window is (start, length, first scored position, scored positions).
    """

    def __init__(self, text, config, model, tokens, bytes_of, container=bytes(32)):
        """text: the bytes of fairway.toml, which `config` was read from; bytes_of(previous, token): section 18; container: the
        digest of the artifact's, if the weights come from one."""
        self.model, self.bytes_of = model, bytes_of
        self.banks = config["optimizer"].get("muon") == "parallel"
        e = self.eval = dict(EVAL, **config.get("eval", {}))
        self.length, self.procedure = e.get("seq_len", config["train"]["seq_len"]), e["procedure"]
        self.ttt, self.lora = dict(TTT, **e.get("ttt", {})), dict(LORA, **e.get("lora", {}))
        self.phases, self.cache = dict(PHASES, **e.get("phases", {})), dict(CACHE, **e.get("cache", {}))
        self.counts = dict(NGRAM, **e.get("ngram", {}))
        by_adapters = self.procedure in ("lora_ttt", "phased_ttt")
        P = len(tokens) - 1
        self.P = P if by_adapters else P // self.length * self.length
        self.tokens = tokens[:self.P + 1]
        self.nll, self.bytes, self.groups, self.transform = [], 0, 0, None
        if by_adapters:
            self.model.add_adapters(self.lora)
        self.state_bytes = getattr(self, self.procedure + "_state", None)
        getattr(self, self.procedure + "_start", lambda: None)()
        independent = self.procedure in ("documents", "documents_pr212", "lora_ttt")
        any_order = self.procedure == "phased_ttt" and self.phases["order"] == "length"
        self.state = self.digest()
        self.trace = struct.pack("<8sIIQQQQ", b"FWTRACE1", 1, independent + 2 * any_order, self.P, model.cfg["vocab_size"],
                                 self.length, 0)
        self.trace += sha(text) + container + sha(struct.pack("<%dH" % len(self.tokens), *self.tokens)) + self.state
        self.link = sha(self.trace)
        self.key = int.from_bytes(self.link[:8], "little")

    def run(self):
        getattr(self, self.procedure)()
        self.event(6, u64(len(self.nll)), u64(self.bytes), u64(sum(map(s.loss_units, self.nll))), sha(s.floats_to_bytes(self.nll)))
        return self

    # -------------------------------------------------------------------------------------- the trace

    def digest(self):
        return sha(self.state_bytes()) if self.state_bytes else self.model.weights_digest()

    def event(self, kind, *parts):
        body = b"".join(parts)
        record = struct.pack("<II", kind, len(body)) + body
        self.link = sha(self.link, record)
        self.trace += record + self.link

    def updated(self, ranges):
        before, self.state = self.state, self.digest()
        self.event(2, before, self.state, u64(len(ranges)), *[u64(n) for r in ranges for n in r])

    def reset(self):
        before, self.state = self.state, self.digest()
        self.event(3, before, self.state)

    # -------------------------------------------------------------------------------------- scoring

    def plan(self, method, P, offset=0):
        stride = self.eval["stride"]
        result = []
        for w in s.windows(method, P, self.length, stride):
            scored = s.scored_positions(method, w, stride)
            result.append((w[0] + offset, w[1], scored[0] - w[0], len(scored)))
        return result

    def score_all(self, windows):
        """In groups of consecutive windows of one form [28.8]."""
        while windows:
            n = 1
            while n < len(windows) and windows[n][1:] == windows[0][1:] and (n + 1) * windows[0][1] <= GROUP_TOKENS:
                n += 1
            self.score(windows[:n])
            windows = windows[n:]

    def row(self, start, length):
        t = self.tokens
        return t[start:start + length], t[start + 1:start + length + 1]

    def forward(self, inputs, window):
        self.model.forward([(inputs, self.row(*window[:2])[1])], False, self.length)

    def witness(self, group):
        """The WITNESS of a group: its choice and the digest of the distributions with other tokens, or None."""
        words = s.philox(self.groups, self.key, 0, WITNESSES)
        _, length, first, _ = group[0]
        if self.groups >= 8 and words[0] % 16 or length - first < 2:
            return None
        chosen = group[words[1] % len(group)]
        compared = 1 + words[2] % (length - first - 1)
        inputs, V = list(self.row(*chosen[:2])[0]), self.model.cfg["vocab_size"]
        for i in range(first + compared, length):
            r = s.philox(self.groups, self.key, 1 + i, WITNESSES)[0]
            inputs[i] = (inputs[i] + 1 + r % (V - 1)) % V
        self.forward(inputs, chosen)
        return chosen, compared, self.distributions(first, compared)

    def distributions(self, first, count):
        return sha(*map(s.floats_to_bytes, self.model.logits[first:first + count]))

    def score(self, group):
        witness = self.witness(group)
        self.groups += 1
        tau = fl32(self.eval["temperature"])
        scored = []
        for w in group:
            start, length, first, count = w
            self.forward(self.row(start, length)[0], w)
            if witness and w == witness[0]:
                again = witness[2]
                self.event(5, *map(u64, (start + first + 1, witness[1], start, start + first + witness[1])),
                           self.distributions(first, witness[1]), again)
            for i in range(first, first + count):
                z, target = self.model.capped[i], start + i + 1
                if tau != 1.0:
                    z = [fl32(v / tau) for v in z]
                if self.transform:
                    z = self.transform(z, target)
                scored.append((target, s.cross_entropy(z, 0.0, self.tokens[target])[0], start))
        while scored:
            n = 1
            while n < len(scored) and scored[n][0] == scored[0][0] + n:
                n += 1
            nll = [v for _, v, _ in scored[:n]]
            self.event(1, *map(u64, (scored[0][0], n, min(start for _, _, start in scored[:n]), sum(map(s.loss_units, nll)))),
                       self.state, sha(s.floats_to_bytes(nll)))
            self.nll += nll
            self.bytes += sum(self.bytes_of(self.tokens[t - 1], self.tokens[t]) for t, _, _ in scored[:n])
            scored = scored[n:]

    # -------------------------------------------------------------------------------------- fixed weights [18, 28.2]

    def windows(self):
        self.score_all(self.plan(self.eval["method"], self.P))

    def document_starts(self):
        """(start, tokens of the stream up to the next document) of every document."""
        starts = [i for i, t in enumerate(self.tokens) if t == DOCUMENT_START]
        if not starts and self.procedure.startswith("documents"):
            starts = [0]
        return [(a, b - a) for a, b in zip(starts, starts[1:] + [self.P + 1])]

    def documents(self):
        for start, n in self.document_starts():
            predictions = n - 1
            if self.procedure == "documents_pr212" and 1 <= predictions <= self.length:
                predictions = min(self.length, self.P - start)
            if predictions > 0:
                self.score_all(self.plan("sliding_b", predictions, start))

    documents_pr212 = documents

    # -------------------------------------------------------------------------------------- score_first_ttt [28.3]

    def start_momentum(self):
        frozen = tuple("blocks.%d." % l for l in range(self.ttt["freeze_blocks"]))
        # Slices of banks keep training.
        banks = s.MATRICES if self.banks else ()
        self.trained = [n for n in self.model.weights if self.model.tensors[n] and (not n.startswith(frozen) or n.endswith(banks))]
        self.u = {n: [0.0] * len(self.model.tensors[n]) for n in self.trained}

    def learning_rate(self, index, count):
        part = index / max(count - 1, 1)
        _, cos = s.sin_cos(fl32(float.fromhex("0x1.921fb54442d18p+1") * part))
        return fl32(self.ttt["lr"] * (0.5 * (1.0 + cos)))

    def sgd_step(self, chunks, lr):
        """chunks: lists of (inputs, targets) of one length."""
        model, names = self.model, self.trained
        tokens = sum(len(inputs) for c in chunks for inputs, _ in c)
        acc = Gradients(model.tensors, names, tokens, len(chunks))
        for c in chunks:
            model.forward(c, True)
            model.backward(acc)
        store = {n: bf16 if model.stored_bf16(n) else lambda v: v for n in names}
        gradients = s.clip([[store[n](v) for v in acc.mean(n)] for n in names], self.ttt["grad_clip_norm"])
        mu = fl32(self.ttt["momentum"])
        for n, g in zip(names, gradients):
            st, u, w = store[n], self.u[n], model.tensors[n]
            for i, x in enumerate(g):
                u[i] = st(fl32(st(fl32(mu * u[i])) + st(x)))
                w[i] = st(fl32(w[i] - fl32(lr * u[i])))

    score_first_ttt_start = start_momentum

    def score_first_ttt_state(self):
        return self.model.weights_bytes() + b"".join(with_length(self.u[n]) for n in self.trained)

    def score_first_ttt(self):
        L, S, P, o = self.length, self.eval["stride"], self.P, self.ttt
        C = o["chunk_tokens"]
        count = -(-P // C)
        windows = [w for w in self.plan("sliding_c", P) if w[1] >= S]
        for index in range(count):
            mine = [w for w in windows if (w[0] + w[2]) // C == index]
            windows = windows[len(mine):]
            self.score_all(mine)
            a = index * C
            n = (min(a + C, P) - a) // L
            if not mine or not windows or n == 0 or o["epochs"] == 0:
                continue
            rows = [self.row(a + j * L, L) for j in range(n)]
            per_chunk = max(o["grad_chunk_tokens"] // L, 1)
            for _ in range(o["epochs"]):
                for i in range(0, n, o["batch_rows"]):
                    group = rows[i:i + o["batch_rows"]]
                    self.sgd_step([group[k:k + per_chunk] for k in range(0, len(group), per_chunk)],
                                  self.learning_rate(index, count))
            self.updated([(a, n * L + 1)])

    # -------------------------------------------------------------------------------------- lora_ttt, phased_ttt [28.4, 28.5]

    def lora_ttt_start(self):
        model = self.model
        model.reset_adapters()
        self.steps = 0
        self.m, self.v = [{n: [0.0] * len(t) for n, t in model.first.items()} for _ in range(2)]

    phased_ttt_start = lora_ttt_start

    def lora_ttt_state(self):
        return b"".join([s.floats_to_bytes(self.model.tensors[n]) for n in self.model.first] + [u64(self.steps)]
                        + [with_length(self.m[n]) + with_length(self.v[n]) for n in self.model.first])

    def phased_ttt_state(self):
        return self.lora_ttt_state() + self.model.weights_bytes()

    def score_document(self, start, n):
        o, model = self.lora, self.model
        for a in range(0, n, o["chunk_tokens"]):
            e = min(a + o["chunk_tokens"], n)
            first = max(0, e - self.length)
            self.score([(start + first, e - first, a - first, e - a)])
            if e == n:
                break
            acc = Gradients(model.tensors, model.first, e - first, 1)
            model.forward([self.row(start + first, e - first)], True)
            model.counted_from = a - first
            model.backward(acc)
            model.counted_from = 0
            acc.tokens = float(e - a)
            decay = fl32(1.0 - o["lr"] * o["weight_decay"])
            for name in model.first:
                w = model.tensors[name]
                if o["weight_decay"] > 0:
                    w[:] = [fl32(x * decay) for x in w]
                s.adam(w, self.m[name], self.v[name], acc.mean(name), False, o["lr"], 1.0, (o["beta1"], o["beta2"]), o["eps"],
                       self.steps)
            self.steps += 1
            self.updated([(start + first, e - first + 1)])

    def lora_ttt(self):
        phased = self.procedure == "phased_ttt"
        queue = [(start, min(n, self.P - start)) for start, n in self.document_starts() if start < self.P]
        if phased and self.phases["order"] == "length":
            queue.sort(key=lambda document: document[1])
        count = self.phases["count"] if phased else 0
        phase_after = [self.phases["documents"] * k // count for k in range(1, count + 1)]
        for i, document in enumerate(queue + [None]):
            for _ in range(phase_after.count(i)):
                self.lora_ttt_start()
                self.phase(queue[:i])
            if document is None:
                break
            if i:
                self.lora_ttt_start()
                self.reset()
            self.score_document(*document)

    phased_ttt = lora_ttt

    def phase(self, documents):
        o, L = self.ttt, self.length
        self.start_momentum()
        rows = [(start + a, min(L, n - a)) for start, n in documents for a in range(0, n, L)]
        chunks, total = {}, 0
        for start, n in rows:
            chunks.setdefault(total // o["chunk_tokens"], []).append([self.row(start, n)])
            total += n
        count = -(-total // o["chunk_tokens"])
        for index in range(count - 1):
            mine = chunks.get(index, [])
            for i in range(0, len(mine), o["batch_rows"]):
                self.sgd_step(mine[i:i + o["batch_rows"]], self.learning_rate(index, count))
        self.updated([(start, n + 1) for start, n in rows])

    # -------------------------------------------------------------------------------------- neural_cache [28.6]

    def neural_cache_start(self):
        self.first = self.end = 0
        self.running = bytes(32)

    def neural_cache_state(self):
        return u64(self.first) + u64(self.end) + self.running

    def neural_cache(self):
        model, C = self.model, self.cache["tokens"]
        kept = {}                   # layer: (rows of keys, rows of values) of the positions 0 ... end - 1
        plan = self.plan("sliding_c", self.P)
        for i, w in enumerate(plan):
            ws, n = w[:2]
            shown = range(max(0, ws - C), ws)
            model.count_shown = len(shown)
            model.shown = {l: [[rows[p] for p in shown] for rows in both] for l, both in kept.items()}
            self.score([w])
            parts, before = [self.running], self.end
            for l in sorted(model.own, key=str):
                both = kept.setdefault(l, ([], []))
                for rows, own in zip(both, model.own[l]):
                    rows += own[before - ws:]
                    parts.append(s.floats_to_bytes([v for row in own[before - ws:] for v in row]))
            self.running, self.end = sha(*parts), ws + n
            self.first = max(0, (plan[i + 1][0] if i + 1 < len(plan) else ws) - C)
            self.updated([(before, self.end - before)])
            if self.end == self.P:
                break

    # -------------------------------------------------------------------------------------- ngram [28.7]

    def ngram_start(self):
        self.running, self.seen, self.taken = bytes(32), {}, 0

    def ngram_state(self):
        return self.running

    def contexts(self, at):
        return [tuple(self.tokens[at - k:at]) for k in range(min(self.counts["order"], at + 1))]

    def mixed(self, z, target):
        V, alpha, discount = len(z), fl32(self.counts["alpha"]), fl32(self.counts["discount"])
        p, longest = [fl32(1.0 / V)] * V, 0
        for context in self.contexts(target):
            c = self.seen.get(context)
            if c:
                total = float(sum(c.values()))
                factor = fl32(fl32(discount * len(c)) / total)
                p = [fl32(factor * v) for v in p]
                for v, number in c.items():
                    p[v] = fl32(fl32(fl32(number - discount) / total) + p[v])
                longest = len(context)
        if longest == 0:
            return z
        rest = fl32(1.0 - alpha)
        return [s.log(fl32(fl32(rest * a) + fl32(alpha * b))) for a, b in zip(probabilities(z), p)]

    def ngram(self):
        self.transform = self.mixed
        for w in self.plan(self.eval["method"], self.P):
            self.score([w])
            new = range(self.taken, w[0] + w[2] + w[3] + 1)
            for at in new:
                for context in self.contexts(at):
                    c = self.seen.setdefault(context, {})
                    c[self.tokens[at]] = c.get(self.tokens[at], 0) + 1
            if new:
                self.running = sha(self.running, struct.pack("<%dH" % len(new), *[self.tokens[at] for at in new]))
            self.taken = max(self.taken, new.stop)
            self.updated([(new.start, len(new))] if new else [])
            if self.taken == self.P + 1:
                break
