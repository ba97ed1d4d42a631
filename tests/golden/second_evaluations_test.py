#!/usr/bin/env python3
"""Small models scored by the program and by a second implementation, learning while they score: all bits must be the same.

    python3 second_evaluations_test.py FAIRWAY [CASE...]

Both get the same fairway.toml, weights, shards and tokenizer, made here. Compared are every loss in scoring order and the whole score
trace (engine/eval/TRACE.md): what was scored by which state, what each state had read, and the witnesses. Exit status 0 if all
agree, else 1.
"""

import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

import second_evaluations as e
import second_implementation as s
import second_systems_test as systems
from second_adapters import AdaptedModel, sha

PLAIN = "layers = 2\nwidth = 8\nheads = 2\nkv_heads = 1\nmlp_hidden = 10\n"
ONE_LAYER = PLAIN.replace("layers = 2", "layers = 1")       # no skips: a parameter without elements
MANY_LAYERS = "layers = 11\nwidth = 4\nheads = 2\nkv_heads = 1\nmlp_hidden = 6\n"
LOOPS = PLAIN.replace("kv_heads = 1", "kv_heads = 2") + "tied_head = false\nloops = 2\nloop_lora_rank = 2\n"
RICH = ('layers = 3\nwidth = 12\nheads = 2\nkv_heads = 1\nmlp_hidden = 10\nsmear_gate = "first_channels"\nbigram_hash = "xor_previous"\n'
        'bigram_buckets = 13\nbigram_dim = 6\nve_dim = 4\nve_layers = [0, 2]\nvalue_residual = true\ngated_attention = true\n'
        'xsa_last_n = 2\nmlp_slope = 0.3\nln_scale = true\nrope_dims = 4\nmtp_heads = 1\nrope_ntk_length = 4\n')
EXACT = 'linear = "p4"\nlogits = "b21"\nattention = "b21"\ninput_gradients = "p4"\nweight_gradients = "b21"\n'


def documents(*lengths):
    """Two tokens that belong to no document, then documents of so many tokens."""
    result, z = [5, 7], 7
    for n in lengths:
        result.append(e.DOCUMENT_START)
        for _ in range(n - 1):
            z = (z * 1103515245 + 12345) % 2 ** 31
            result.append(2 + (z >> 8) % (systems.PIECES - 2))
    return result


MANY = documents(3, 9, 1, 5, 14, 2, 5, 11, 8)


def windows(method, length=9, stride=4, more="", **others):
    return dict(others, eval='method = "%s"\nseq_len = %d\nstride = %d\n%s' % (method, length, stride, more))


def procedure(name, length, stride, tables, **others):
    """tables: keys of [eval], then further tables. No stride: 0."""
    return dict(others, eval='procedure = "%s"\nseq_len = %d\n%s%s' % (name, length, "stride = %d\n" % stride if stride else "", tables))


def ttt(options, length=6, stride=4, more="", **others):
    return procedure("score_first_ttt", length, stride, more + "[eval.ttt]\nlr = 0.5\n" + options, **others)


def lora(options, length=8, more="", **others):
    return procedure("lora_ttt", length, 0, more + "[eval.lora]\n" + options, **others)


def phased(phases, options, more="", **others):
    adapters, steps = "[eval.lora]\nrank = 2\nchunk_tokens = 4\n", "[eval.ttt]\nlr = 0.5\nchunk_tokens = 7\n" + options
    return procedure("phased_ttt", 6, 0, more + adapters + steps + "[eval.phases]\n" + phases, **dict(dict(tokens=MANY), **others))


def cache(tokens, length=6, stride=4, more="", **others):
    return procedure("neural_cache", length, stride, more + "[eval.cache]\ntokens = %d\n" % tokens, **others)


def ngram(method, options, more="", **others):
    return procedure("ngram", 8, 3, 'method = "%s"\n%s[eval.ngram]\n%s' % (method, more, options), **dict(dict(count=100), **others))


CASES = {
    "standard": dict(eval="seq_len = 9\n", count=70),
    "more than a group": dict(eval="seq_len = 8\n", count=e.GROUP_TOKENS + 3 * 8 + 1,
                              model="layers = 1\nwidth = 2\nheads = 1\nkv_heads = 1\nmlp_hidden = 2\n"),
    "sliding a": windows("sliding_a", count=70),
    "sliding b": windows("sliding_b", count=70),
    "sliding c, tempered": windows("sliding_c", more="temperature = 0.7\n", count=70),
    "sliding d": windows("sliding_d", count=70),
    "sliding c of every feature": windows("sliding_c", model=RICH, count=30),
    "documents": procedure("documents", 9, 4, "", tokens=MANY),
    "documents, many windows": procedure("documents", 5, 3, "", tokens=MANY + [e.DOCUMENT_START]),
    "documents of every feature": procedure("documents", 6, 4, "", tokens=MANY, model=RICH),
    "no document begins": procedure("documents", 6, 4, "", tokens=[2, 5, 7, 2, 0, 9, 3, 11] * 3),
    "documents of #212": procedure("documents_pr212", 9, 4, "", tokens=MANY),
    "documents of #212, many windows": procedure("documents_pr212", 5, 3, "", tokens=MANY + [e.DOCUMENT_START]),
    "ttt": ttt("chunk_tokens = 15\nepochs = 2\nbatch_rows = 2\n"),
    "ttt, clipped and frozen": ttt("chunk_tokens = 19\nepochs = 1\ngrad_clip_norm = 0.1\nmomentum = 0.5\nfreeze_blocks = 1\n"
                                   "grad_chunk_tokens = 6\n", stride=3, more="temperature = 1.3\n"),
    "ttt, frozen but for slices of banks": ttt("chunk_tokens = 19\nepochs = 1\nfreeze_blocks = 1\n", model=RICH, optimizer='muon = "parallel"\n'),
    "ttt, not clipped": ttt("chunk_tokens = 13\nepochs = 1\ngrad_clip_norm = 0.0\n", stride=6),
    "ttt, chunks too short for a row": ttt("chunk_tokens = 5\n"),
    "ttt, a chunk that only cut windows follow": ttt("chunk_tokens = 15\nepochs = 1\n", length=9, count=70),
    "ttt without epochs": ttt("chunk_tokens = 15\nepochs = 0\n"),
    "ttt of one layer": ttt("chunk_tokens = 15\nepochs = 1\n", model=ONE_LAYER + 'tied_embed_dtype = "f32"\nlogit_softcap = 0.0\n'),
    "ttt in other products": ttt("chunk_tokens = 15\nepochs = 1\n", numerics=EXACT),
    "ttt of every feature": ttt("chunk_tokens = 20\nepochs = 1\n", model=RICH, quantization='qat = "int6_row_max"\n', count=50),
    "ttt, quantised projections": ttt("chunk_tokens = 20\nepochs = 1\n", model=RICH, count=40,
                                      quantization='qat = "int6_row"\nqat_scope = "projections"\nqat_below = 0.1\n'),
    "lora": lora("rank = 2\nchunk_tokens = 5\nseed = 3\n"),
    "lora of short documents": lora("rank = 2\nchunk_tokens = 5\n", tokens=MANY + [e.DOCUMENT_START], numerics=EXACT),
    "lora everywhere, with loops": lora("rank = 3\nchunk_tokens = 4\nall_projections = true\nweight_decay = 0.1\nbeta1 = 0.8\nbeta2 = 0.9\n"
                                        "eps = 1e-8\nlr = 0.05\n", more="temperature = 0.8\n", model=LOOPS),
    "lora of every feature": lora("rank = 2\nchunk_tokens = 5\nall_projections = true\n", model=RICH, count=40,
                                  quantization='qat = "int6_row_max"\n'),
    "lora, single predictions": lora("rank = 1\nchunk_tokens = 1\n", model=RICH, tokens=documents(3, 9, 1)),
    "phased": phased("documents = 4\ncount = 2\n", "epochs = 2\nbatch_rows = 2\n"),
    "phased in stream order": phased('order = "stream"\ndocuments = 7\ncount = 3\n', "freeze_blocks = 1\n", "temperature = 0.5\n",
                                     model=LOOPS),
    "phased, before the first and after the last": phased("documents = 3\ncount = 5\n", "", tokens=documents(12, 4, 20), model=ONE_LAYER),
    "phased of every feature": phased("documents = 5\n", "", model=RICH, tokens=documents(3, 9, 1, 5, 14, 2),
                                      quantization='qat = "int6_row"\n'),
    "cache": cache(9),
    "cache of more than a block": cache(200, stride=6, count=120, model=ONE_LAYER),
    "cache of nothing": cache(0, stride=6, more="temperature = 2.0\n", count=40),
    "cache of less than a window": cache(1, count=40, numerics=EXACT),
    "cache of every feature": cache(10, model=RICH, count=40),
    "cache with loops": cache(9, model=LOOPS, count=30),
    "cache of eleven layers": cache(9, model=MANY_LAYERS, count=18),
    "ngram": ngram("sliding_b", "order = 3\n", count=150),
    "ngram, tempered": ngram("sliding_c", "alpha = 0.4\ndiscount = 0.3\n", "temperature = 0.7\n"),
    "ngram of no context": ngram("sliding_a", "order = 1\n"),
    "ngram, the first window not all scored": ngram("sliding_d", "order = 2\nalpha = 0.0\ndiscount = 0.0\n"),
    "ngram of every feature": ngram("sliding_b", "", count=40, model=RICH),
}
ARTIFACTS = {
    "artifact": windows("sliding_b"),
    "artifact, ttt": ttt("chunk_tokens = 20\nepochs = 1\n"),
    "artifact, lora": lora("rank = 2\nchunk_tokens = 5\n"),
}


def written_safetensors(model):
    header, data = {}, b""
    for n, shape in model.shapes.items():
        raw = s.floats_to_bytes(model.tensors[n])
        bf16 = model.stored_bf16(n)
        if bf16:
            raw = b"".join(raw[i + 2:i + 4] for i in range(0, len(raw), 4))
        header[n] = dict(dtype="BF16" if bf16 else "F32", shape=list(shape), data_offsets=[len(data), len(data) + len(raw)])
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def strange_weights(model):
    """Initial weights leave whole branches at 0; these do not."""
    z = 1
    for n, w in model.tensors.items():
        for i, v in enumerate(w):
            z = (z * 6364136223846793005 + 1442695040888963407) % 2 ** 64
            v = v + (z / 2 ** 63 - 1.0) * 0.4
            w[i] = s.bf16(v) if model.stored_bf16(n) else s.fl32(v)


def read_trace(data):
    """(header fields, events as (kind, body))"""
    header = struct.unpack_from("<8sIIQQQQ32s32s32s32s", data)
    events, at, link = [], 176, sha(data[:176])
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        body = data[at + 8:at + 8 + size]
        link = sha(link, data[at:at + 8 + size])
        assert data[at + 8 + size:at + 40 + size] == link
        events.append((kind, body))
        at += 40 + size
    return header, events


NAMES = {1: "SCORE", 2: "UPDATE", 3: "RESET", 5: "WITNESS", 6: "END"}


def described(kind, body):
    if kind in (2, 3):
        numbers = struct.unpack_from("<%dQ" % (len(body[64:]) // 8), body, 64)
        return "%s %s -> %s %s" % (NAMES[kind], body[:4].hex(), body[32:36].hex(), numbers)
    return "%s %s %s" % (NAMES[kind], struct.unpack_from("<4Q" if kind != 6 else "<3Q", body), body[-64:].hex())


def piece(token):
    """What section 18 needs to know of a piece of systems.tokenizer()."""
    return ("boundary", "") if token < 3 else ("normal", ("\u2581" if token % 3 == 0 else "") + chr(94 + token))


def evaluated(folder, config, model, tokens, **container):
    return e.Evaluation((folder / "fairway.toml").read_bytes(), config, model, tokens,
                        lambda previous, token: s.prediction_bytes(piece(previous), piece(token)), **container).run()


def scored_by_program(binary, folder, weights):
    """(losses, trace) as bytes"""
    subprocess.run([binary, "eval", folder, *weights, "--nll-out", folder / "nll", "--trace-out", folder / "trace", "--threads", "1"],
                   stdout=subprocess.DEVNULL, check=True)
    return (folder / "nll").read_bytes(), (folder / "trace").read_bytes()


def same(report, name, mine, nll, trace):
    report.same(name + ": nll", s.floats_to_bytes(mine.nll), nll)
    report.same(name + ": trace", mine.trace, trace)
    if mine.trace != trace:
        (header, events), (their_header, their_events) = read_trace(mine.trace), read_trace(trace)
        pairs = [(header, their_header)] + [(described(*a), described(*b)) for a, b in zip(events, their_events)]
        for a, b in [p for p in pairs if p[0] != p[1]][:1]:
            print("  computed %s\n  program  %s" % (a, b))
        print("  %d events, %d of the program" % (len(events), len(their_events)))


def compare(report, binary, folder, name, case):
    tokens = case.get("tokens") or [(5 * t * t + 3 * t + t // 7) % systems.PIECES for t in range(case.get("count", 60))]
    system = dict(model=case.get("model", PLAIN), seed=5, eval=case["eval"], numerics=case.get("numerics", ""), optimizer=case.get("optimizer", ""))
    config = systems.write_submission(folder, system, case.get("quantization", "") + systems.DUMP, tokens)
    (folder / "t_val_000000.bin").write_bytes(systems.shard(tokens))
    model = AdaptedModel(config, 5)
    strange_weights(model)
    (folder / "w").write_bytes(written_safetensors(model))
    mine = evaluated(folder, config, model, tokens)
    same(report, name, mine, *scored_by_program(binary, folder, ["--weights", folder / "w"]))
    return len(mine.nll)


def compare_artifact(report, binary, folder, name, case):
    """What the program scored at the end of a training, and its artifact scored again. The multi-token head is in no artifact."""
    tokens = [(5 * t * t + 3 * t + t // 7) % systems.PIECES for t in range(101)]
    config, container, nll = systems.program(binary, folder, dict(model=RICH, seed=5, eval=case["eval"]), systems.DUMP, tokens)
    out = folder / "out" / "seed_5"
    model = AdaptedModel(config, 5)
    model.tensors.update({n: values for n, (_, values) in systems.restore_dump(container).items()})
    mine = evaluated(folder, config, model, tokens[:60], container=sha(container))
    same(report, name + ", after training", mine, nll, (out / "trace.bin").read_bytes())
    same(report, name + ", again", mine, *scored_by_program(binary, folder, ["--artifact", out / "model.zlib"]))
    return len(mine.nll)


def main():
    binary, chosen = sys.argv[1], sys.argv[2:] or list(CASES) + list(ARTIFACTS)
    report = systems.Report()
    for name in chosen:
        started = time.time()
        with tempfile.TemporaryDirectory() as folder:
            run = compare_artifact if name in ARTIFACTS else compare
            scored = run(report, binary, pathlib.Path(folder), name, ARTIFACTS.get(name) or CASES[name])
        print("%s: %d losses, %.1f s" % (name, scored, time.time() - started), flush=True)
    print("%d passed, %d failed" % (report.passed, len(report.failed)))
    return bool(report.failed)


if __name__ == "__main__":
    sys.exit(main())
