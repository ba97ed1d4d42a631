#!/usr/bin/env python3
"""Random small models, optimizers and evaluations by the program and by the second implementation: all bits must be the same.

    python3 second_random_test.py FAIRWAY [FIRST [COUNT]]

Case number FIRST is a function of that number, so a case that differs can be run again alone. Half of the cases are whole trainings, half
evaluations. Settings are drawn away from powers of two, where a rounding or an order that the document leaves open would not show. Exit
status 0 if all agree, else 1.
"""

import pathlib
import random
import subprocess
import sys
import tempfile

import second_evaluations_test as evaluations
import second_implementation as s
import second_systems_test as systems
import second_training
from second_adapters import AdaptedModel


def toml(settings):
    def text(v):
        return str(v).lower() if isinstance(v, bool) else '"%s"' % v if isinstance(v, str) else repr(v)
    return "".join("%s = %s\n" % (key, text(v)) for key, v in settings.items())


def some(rng, chance=0.5):
    return rng.random() < chance


def odd(rng, low, high):
    """A number of few digits that binary numbers do not hold."""
    return round(rng.uniform(low, high), 3)


def model(rng):
    heads = rng.choice([1, 2, 3, 4])
    kv_heads = rng.choice([h for h in range(1, heads + 1) if heads % h == 0])
    depth = rng.choice([2, 4, 6])
    width, layers = heads * depth, rng.randint(1, 3)
    m = dict(layers=layers, width=width, heads=heads, kv_heads=kv_heads, mlp_hidden=rng.randint(3, 17),
             rope_base=rng.choice([10000.0, 777.7]), logit_softcap=rng.choice([30.0, 0.0, odd(rng, 2, 20)]), qk_gain_init=odd(rng, 0.5, 3),
             tied_embed_init_std=odd(rng, 0.01, 0.6), tied_head=some(rng, 0.7), ln_scale=some(rng), gated_attention=some(rng),
             mlp_slope=rng.choice([0.0, odd(rng, 0.01, 1)]), xsa_last_n=rng.randint(0, layers), unet_skips=some(rng, 0.7),
             tied_embed_dtype=rng.choice(["bf16", "f32"]), rope_inv_freq_dtype=rng.choice(["f32", "bf16"]),
             matrix_init=rng.choice(["uniform", "orthogonal", "orthogonal_scaled", "orthogonal_banks"]))
    if some(rng, 0.3):
        m["loops"] = rng.randint(2, 3)
        if some(rng):
            m["loop_lora_rank"] = rng.randint(1, min(3, width))
    elif some(rng):
        m["value_residual"] = True
    if depth > 2 and some(rng):
        m["rope_dims"] = rng.choice([d for d in (4, 6) if d <= depth])
    if depth > 2 and some(rng):
        m["rope_ntk_length"] = rng.randint(2, 7)
    if some(rng):
        m.update(mtp_heads=rng.randint(1, 2), mtp_weight=odd(rng, 0.05, 0.9), mtp_square=some(rng))
    if some(rng, 0.6):
        m.update(bigram_buckets=rng.randint(3, 20), bigram_dim=rng.randint(1, width),
                 bigram_hash=rng.choice(["affine_92821", "affine_31", "xor_previous", "xor_current"]))
        m["trigram_hash"] = m["bigram_hash"] == "xor_current" and some(rng)
    if some(rng):
        m["ve_dim"] = rng.randint(1, kv_heads * depth)
        m["ve_layers"] = sorted(rng.sample(range(layers), rng.randint(1, layers)))
    smears = ["none", "keep", "blend"] + (["first_channels"] if width >= 12 else [])
    m["smear_gate"] = rng.choice(smears)
    return m


def optimizer(rng):
    o = dict(muon_momentum=odd(rng, 0.5, 0.99), muon_momentum_warmup_start=odd(rng, 0.3, 0.9), muon_momentum_warmup_steps=rng.choice([0, 2, 7]),
             muon_backend_steps=rng.randint(1, 5), beta1=odd(rng, 0.5, 0.95), beta2=odd(rng, 0.8, 0.999), muon_wd=rng.choice([0.0, odd(rng, 0.01, 0.4)]),
             adam_wd=rng.choice([0.0, odd(rng, 0.01, 0.4)]), muon=rng.choice(["standard", "parallel"]), projections=rng.choice(["muon", "adam"]))
    if o["muon"] == "standard":
        o["muon_wd_order"] = rng.choice(["before", "after"])
    if some(rng):
        o.update(grad_clip_norm=odd(rng, 0.05, 2), clip_scope=rng.choice(["global", "worker"]))
    return o


def averages(rng):
    a = {}
    if some(rng):
        a["ema_decay"] = odd(rng, 0.2, 0.99)
    if some(rng):
        a.update(snapshot_every=rng.randint(1, 2), snapshot_from=rng.randint(0, 2), snapshots_of="ema" if a and some(rng) else "weights")
    a["final_weights"] = rng.choice(["last"] + ["ema"] * ("ema_decay" in a) + ["snapshots"] * ("snapshot_every" in a))
    return a


def quantization(rng):
    if some(rng, 0.6):
        return ""
    return toml(dict(qat=rng.choice(["int6_row", "int6_row_max", "int8_row"]), qat_scope=rng.choice(["all_matrices", "projections"]),
                     qat_from=rng.randint(0, 1)))


def numerics(rng):
    return toml({k: rng.choice(["p3", "p3", "p4", "b21"]) for k in ("linear", "input_gradients", "weight_gradients", "logits", "attention")})


def evaluation(rng):
    length = rng.randint(4, 9)
    stride = rng.randint(1, length)
    temperature = "temperature = %r\n" % odd(rng, 0.6, 1.5) if some(rng) else ""
    steps = dict(chunk_tokens=rng.randint(length, 25), epochs=rng.randint(1, 2), grad_clip_norm=rng.choice([0.0, odd(rng, 0.05, 2)]),
                 momentum=odd(rng, 0, 0.95), freeze_blocks=rng.randint(0, 2), batch_rows=rng.randint(1, 4))
    lora = dict(rank=rng.randint(1, 3), chunk_tokens=rng.randint(1, min(6, length)), all_projections=some(rng), weight_decay=rng.choice([0.0, odd(rng, 0.01, 0.4)]),
                beta1=odd(rng, 0.5, 0.95), beta2=odd(rng, 0.8, 0.999), lr=odd(rng, 0.01, 0.1), seed=rng.randint(0, 9))
    documents = evaluations.documents(*(rng.randint(1, 12) for _ in range(rng.randint(3, 6))))
    kind = rng.choice(["windows", "ttt", "lora", "phased", "cache", "ngram", "documents"])
    if kind == "windows":
        return evaluations.windows("sliding_" + rng.choice("abcd"), length, stride, temperature, count=rng.randint(length + 2, 60))
    if kind == "ttt":
        return evaluations.ttt(toml(steps), length, stride, temperature, count=rng.randint(2 * length, 50))
    if kind == "lora":
        return evaluations.lora(toml(lora), length, temperature, tokens=documents)
    if kind == "phased":
        del steps["epochs"], steps["chunk_tokens"]
        return evaluations.phased(toml(dict(documents=rng.randint(1, 5), count=rng.randint(1, 3), order=rng.choice(["length", "stream"]))), toml(steps),
                                  temperature, tokens=documents)
    if kind == "cache":
        return evaluations.cache(rng.randint(0, 20), length, stride, temperature, count=rng.randint(length + 2, 40))
    if kind == "ngram":
        method = "sliding_" + rng.choice("bc")
        return evaluations.ngram(method, toml(dict(order=rng.randint(1, 5), alpha=odd(rng, 0.05, 0.9), discount=odd(rng, 0.1, 0.95))), temperature,
                                 count=rng.randint(20, 90))
    return evaluations.procedure(rng.choice(["documents", "documents_pr212"]), length, stride, temperature, tokens=documents)


def trained(report, binary, folder, name, system):
    tokens = [(5 * t * t + 3 * t + t // 7) % systems.PIECES for t in range(101)]
    config, container, score = systems.program(binary, folder, system, systems.DUMP, tokens)
    trainer = second_training.Trainer(config, system["seed"])
    trainer.run(tokens)
    final, theirs = trainer.final(), systems.restore_dump(container)
    for n, shape in trainer.model.shapes.items():
        if not n.startswith("mtp_heads."):
            report.same("%s: %s" % (name, n), (tuple(shape), s.floats_to_bytes(final[n])), (theirs[n][0], s.floats_to_bytes(theirs[n][1])))
    trainer.model.tensors = final
    report.same(name + ": scores", systems.scores(trainer.model, config, tokens[:60]), score)


def run_case(report, binary, number):
    rng = random.Random(number)
    # What is drawn for evaluations and for trainings alike, in one order.
    system = dict(model=toml(model(rng)), optimizer=toml(optimizer(rng)), quantization=quantization(rng), numerics=numerics(rng), seed=rng.randint(0, 99))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        try:
            if number % 2 == 0:
                trained(report, binary, folder, "training %d" % number, dict(system, averages=toml(averages(rng))))
            else:
                evaluations.compare(report, binary, folder, "evaluation %d" % number, dict(evaluation(rng), **system))
        except subprocess.CalledProcessError as e:
            raise SystemExit("case %d: %s\n%s" % (number, e, (folder / "fairway.toml").read_text()))


def main():
    binary = sys.argv[1]
    first, count = (int(x) for x in (sys.argv[2:] + ["0", "40"][len(sys.argv) - 2:])[:2])
    report = systems.Report()
    for number in range(first, first + count):
        run_case(report, binary, number)
    print("cases %d to %d: %d passed, %d failed" % (first, first + count - 1, report.passed, len(report.failed)))
    return bool(report.failed)


if __name__ == "__main__":
    sys.exit(main())
