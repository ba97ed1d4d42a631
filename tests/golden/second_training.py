#!/usr/bin/env python3
"""Steps, optimizers and averages of sections 15, 16, 18 and 27 of kernels/NUMERICS.md a second time, in plain Python.

Written from the document, without the engine; second_systems_test.py compares it with the program.
"""

import math

import second_implementation as s
from second_implementation import add, bf16, fl32
from second_systems import Model

OPTIMIZER = dict(muon_momentum=0.95, muon_momentum_warmup_start=0.85, muon_momentum_warmup_steps=500, muon_backend_steps=5,
                 beta1=0.9, beta2=0.95, adam_eps=1e-8, grad_clip_norm=0.0, clip_scope="global", muon="standard", muon_wd=0.0,
                 adam_wd=0.0, muon_wd_order="before", head_lr=0.008, lora_lr=0.01, projections="muon")
AVERAGES = dict(ema_decay=0.0, snapshot_every=0, snapshot_below=0.0, snapshot_from=0, snapshots_of="weights",
                final_weights="last")


def worker_gradients(model, gradients, limit, rounded):
    """One worker's clipped gradients in units of 2^(E - 52) [27.10]."""
    _, e = math.frexp(limit)
    clipped = s.clip(list(gradients.values()), limit)
    return e, {n: [round(math.ldexp(bf16(v) if rounded(n) else v, 52 - e)) for v in g] for n, g in zip(gradients, clipped)}


class Trainer:
    def __init__(self, config, seed):
        self.model = Model(config, seed)
        self.opt = dict(OPTIMIZER, **config["optimizer"])
        self.avg = dict(AVERAGES, **config.get("averages", {}))
        self.train, self.schedule = dict(dict(virtual_workers=8), **config["train"]), config["schedule"]
        self.qat_below, self.qat_from = config["quantization"].get("qat_below", 2.0), config["quantization"].get("qat_from", 0)
        tensors = self.model.tensors
        self.first = {n: [0.0] * len(t) for n, t in tensors.items()}
        self.second = {n: [0.0] * len(t) for n, t in tensors.items()}
        self.ema = {n: list(t) for n, t in tensors.items()}
        self.sums, self.count = {n: [0.0] * len(t) for n, t in tensors.items()}, 0
        self.qat_on, self.losses = False, []

    def by_muon(self, name):
        if name in self.model.projections:
            return self.opt["projections"] == "muon"
        return name.startswith("mtp_heads.") or name.startswith("blocks.") and name.endswith(s.MATRICES)

    def gradients(self, tokens, k):
        t, model = self.train, self.model
        batch, chunk, T, workers = t["batch_tokens"], t["grad_chunk_tokens"], t["seq_len"], t["virtual_workers"]
        sequences = s.step_sequences(tokens, k, batch, workers, T)
        per_worker = self.opt["clip_scope"] == "worker" and self.opt["grad_clip_norm"] > 0
        parts = workers if per_worker else 1
        uses = max(model.cfg["loops"], 2 if model.cfg["trigram_hash"] else 1, 1 + model.cfg["mtp_heads"] if model.cfg["mtp_square"] else 1)
        results, units = [], 0
        for part in range(parts):
            acc = s.Accumulator(model.tensors, batch * uses, batch // chunk * uses)
            acc.tokens = fl32(float(batch // parts))
            mine = sequences[part * len(sequences) // parts:(part + 1) * len(sequences) // parts]
            for first in range(0, len(mine), chunk // T):
                units += sum(map(s.loss_units, model.forward(mine[first:first + chunk // T], True)))
                model.backward(acc)
            results.append({n: acc.mean(n) for n in model.tensors})
        self.losses.append(units)
        if not per_worker:
            return dict(zip(model.tensors, s.clip([results[0][n] for n in model.tensors], self.opt["grad_clip_norm"])))
        total = {n: [0] * len(v) for n, v in model.tensors.items()}
        for r in results:
            r = {n: [bf16(v) for v in g] if model.stored_bf16(n) else g for n, g in r.items()}
            e, units_of = worker_gradients(model, r, self.opt["grad_clip_norm"],
                                           lambda n: model.stored_bf16(n) or self.opt["muon"] == "parallel" and self.by_muon(n))
            for n, v in units_of.items():
                total[n] = [a + b for a, b in zip(total[n], v)]
        return {n: [fl32(s.grid(a, e - 52) / float(workers)) for a in v] for n, v in total.items()}

    def muon(self, name, g, lam, mu):
        o, (rows, cols), M = self.opt, self.model.shapes[name], self.first[name]
        bf = o["muon"] == "parallel" or self.model.stored_bf16(name)
        st = bf16 if bf else lambda v: v
        u = []
        for i, x in enumerate(g):
            x = st(x)
            M[i] = st(fl32(st(fl32(mu * M[i])) + x))
            u.append(st(fl32(x + fl32(mu * M[i]))))
        u = s.newton_schulz([u[i:i + cols] for i in range(0, len(u), cols)], o["muon_backend_steps"],
                            self.model.kinds["newton_schulz"])
        lr = o["matrix_lr"] * lam
        a = fl32(1.0 - lr * o["muon_wd"])
        shape = math.sqrt(max(rows / cols, 1.0))
        w = self.model.tensors[name]
        for i, x in enumerate(v for row in u for v in row):
            if o["muon"] == "parallel":
                new = fl32(fl32(w[i] * a) - fl32(fl32(lr * shape) * bf16(x)))
            else:
                update = fl32(fl32(lr) * bf16(fl32(bf16(x) * fl32(shape))))
                new = fl32(fl32(w[i] - update) * a) if o["muon_wd_order"] == "after" else fl32(fl32(w[i] * a) - update)
            w[i] = bf16(new) if self.model.stored_bf16(name) else new

    def step(self, tokens, k, lam):
        model, o = self.model, self.opt
        quant = model.quant["qat"]
        self.qat_on = self.qat_on or quant != "none" and k >= self.qat_from and lam < self.qat_below
        model.fake = self.qat_on
        gradients = self.gradients(tokens, k)
        warm = o["muon_momentum_warmup_steps"]
        phi = min(k / warm, 1.0) if warm > 0 else 1.0
        mu = fl32((1.0 - phi) * o["muon_momentum_warmup_start"] + phi * o["muon_momentum"])
        for n, g in gradients.items():
            w = model.tensors[n]
            if self.by_muon(n):
                self.muon(n, g, lam, mu)
                continue
            if n == "blocks.0.attn.vr_lambda":
                continue
            lora = n.startswith("lora_adapters.")
            base = (o["tied_embed_lr"] if n in model.tables else o["head_lr"] if n == "lm_head.weight" else o["lora_lr"] if lora
                    else o["scalar_lr"])
            if o["adam_wd"] > 0 and n != "lm_head.weight" and not lora:
                a = fl32(1.0 - base * lam * o["adam_wd"])
                w[:] = [fl32(v * a) for v in w]
            s.adam(w, self.first[n], self.second[n], g, model.stored_bf16(n), base, lam, (o["beta1"], o["beta2"]),
                   o["adam_eps"], k)
        self.average(k + 1, lam)

    def average(self, completed, lam):
        a, tensors = self.avg, self.model.tensors
        if a["ema_decay"] > 0:
            d, r = fl32(a["ema_decay"]), fl32(1.0 - a["ema_decay"])
            for n, w in tensors.items():
                self.ema[n] = [fl32(fl32(e * d) + fl32(r * v)) for e, v in zip(self.ema[n], w)]
        if (a["snapshot_every"] and completed % a["snapshot_every"] == 0 and completed >= a["snapshot_from"]
                and (a["snapshot_below"] == 0 or lam < a["snapshot_below"])):
            self.count += 1
            for n, w in (tensors if a["snapshots_of"] == "weights" else self.ema).items():
                self.sums[n] = add(self.sums[n], w)

    def run(self, tokens):
        for k in range(self.schedule["iterations"]):
            self.step(tokens, k, s.multiplier_by_steps(k, self.schedule["iterations"], self.schedule["warmdown_iters"]))

    def final(self):
        kind = self.avg["final_weights"]
        if kind == "last":
            return self.model.tensors
        source = self.ema if kind == "ema" else {n: [fl32(v / float(self.count)) for v in t] for n, t in self.sums.items()}
        return {n: [bf16(v) for v in t] if self.model.stored_bf16(n) else t for n, t in source.items()}
