#!/usr/bin/env python3
"""Small systems trained, exported and scored by the program and by a second implementation: all bits must be the same.

    python3 second_systems_test.py FAIRWAY [SYSTEM...]

Both get the same fairway.toml, shards and tokenizer, made here. Compared are every parameter, the containers of the export
schemes, the scores, and initial values of larger matrices. Exit status 0 if all agree, else 1.
"""

import json
import math
import pathlib
import struct
import subprocess
import sys
import tempfile
import time
import tomllib
import zlib

import second_implementation as s
import second_export
import second_systems
import second_training

BASE = """
edition = 1
name = "second"
[model]
vocab_size = 24
{model}
[data]
path = "."
prefix = "t"
tokenizer = "t.model"
[train]
{train}
log_every = 1
seeds = [{seed}]
[optimizer]
{optimizer}
[averages]
{averages}
[schedule]
kind = "steps"
iterations = 3
warmdown_iters = 2
[quantization]
{quantization}
[numerics]
{numerics}
[eval]
{eval}
[replay]
"""
PIECES = 24
TRAIN = "seq_len = 6\nbatch_tokens = 24\ngrad_chunk_tokens = 12\nvirtual_workers = 2\n"
LEARNING_RATES = "matrix_lr = 0.04\nscalar_lr = 0.03\ntied_embed_lr = 0.05\nadam_eps = 1e-8\n"
# Everything small and under a control pattern: the artifact holds every parameter as binary32.
DUMP = 'scheme = "int8"\ncodec = "zlib-1"\nsmall_tensor_max_elements = 4294967296\ncontrol = ["a", "e", "i"]\n'

SYSTEMS = {
    "keep": dict(
        model='layers = 3\nwidth = 16\nheads = 4\nkv_heads = 2\nmlp_hidden = 20\nsmear_gate = "keep"\nbigram_hash = "xor_previous"\n'
              'bigram_buckets = 13\nbigram_dim = 6\nve_dim = 6\nve_layers = [0, 2]\nvalue_residual = true\ngated_attention = true\n'
              'xsa_last_n = 2\nmlp_slope = 0.3\nln_scale = true\nrope_dims = 2\nmtp_heads = 2\nmatrix_init = "orthogonal"\n',
        optimizer="muon_wd = 0.04\nadam_wd = 0.02\n", averages='ema_decay = 0.6\nfinal_weights = "ema"\n', seed=5),
    "first_channels": dict(
        model='layers = 2\nwidth = 12\nheads = 2\nkv_heads = 2\nmlp_hidden = 10\nsmear_gate = "first_channels"\n'
              'bigram_hash = "affine_31"\nbigram_buckets = 11\nbigram_dim = 12\nloops = 2\ngated_attention = true\n'
              'tied_head = false\nmtp_heads = 1\nmtp_weight = 0.3\nmatrix_init = "orthogonal_banks"\nxsa_last_n = 1\n'
              'mlp_slope = 0.5\nrope_inv_freq_dtype = "bf16"\n',
        optimizer='muon_wd = 0.1\nadam_wd = 0.2\nmuon_wd_order = "after"\nhead_lr = 0.02\ngrad_clip_norm = 0.3\n',
        averages='snapshot_every = 1\nsnapshot_below = 0.9\nfinal_weights = "snapshots"\n',
        numerics='linear = "p4"\nattention = "b21"\nlogits = "b21"\n', seed=6),
    "blend": dict(
        model='layers = 2\nwidth = 16\nheads = 4\nkv_heads = 1\nmlp_hidden = 20\nsmear_gate = "blend"\nbigram_hash = "xor_current"\n'
              'trigram_hash = true\nbigram_buckets = 9\nbigram_dim = 5\nve_dim = 4\nve_layers = [1]\nxsa_last_n = 2\nln_scale = true\n'
              'rope_ntk_length = 4\nmatrix_init = "orthogonal_banks"\nrope_inv_freq_dtype = "bf16"\n',
        optimizer='muon = "parallel"\nmuon_wd = 0.04\nadam_wd = 0.04\ngrad_clip_norm = 0.2\nclip_scope = "worker"\nprojections = "adam"\n',
        averages='ema_decay = 0.5\nsnapshot_every = 1\nsnapshot_from = 2\nsnapshots_of = "ema"\nfinal_weights = "snapshots"\n',
        quantization='qat = "int6_row_max"\nqat_below = 0.9\n', seed=7),
    "affine": dict(
        model='layers = 3\nwidth = 12\nheads = 2\nkv_heads = 1\nmlp_hidden = 14\nbigram_hash = "affine_92821"\nbigram_buckets = 17\n'
              'bigram_dim = 8\nve_dim = 4\nve_layers = [1, 2]\nvalue_residual = true\nunet_skips = false\n'
              'tied_embed_dtype = "f32"\nmatrix_init = "orthogonal_scaled"\ngated_attention = true\nsmear_gate = "blend"\n',
        optimizer='muon = "parallel"\n', quantization='qat = "int6_row"\nqat_below = 0.9\n', seed=8),
    "projections": dict(
        model='layers = 1\nwidth = 8\nheads = 2\nkv_heads = 1\nmlp_hidden = 14\nbigram_hash = "affine_31"\nbigram_buckets = 17\n'
              'bigram_dim = 8\nve_dim = 3\nve_layers = [0]\nvalue_residual = true\nsmear_gate = "blend"\nmatrix_init = "orthogonal"\n',
        optimizer='muon_wd = 0.1\nmuon_wd_order = "after"\n', quantization='qat = "int6_row"\nqat_scope = "projections"\n', seed=9),
    "passes": dict(
        model='layers = 2\nwidth = 12\nheads = 2\nkv_heads = 1\nmlp_hidden = 14\nloops = 3\nloop_lora_rank = 3\nmtp_heads = 2\n'
              'mtp_square = true\nmtp_weight = 0.5\nxsa_last_n = 1\nln_scale = true\n',
        optimizer='adam_wd = 0.2\nmuon_wd = 0.1\nlora_lr = 0.02\n', quantization='qat = "int6_row"\n', seed=11),
    "int8 rows": dict(
        model='layers = 2\nwidth = 12\nheads = 2\nkv_heads = 2\nmlp_hidden = 14\n', optimizer="",
        quantization='qat = "int8_row"\nqat_from = 1\n', seed=10),
}


# Wide enough for the rules of matrices with both dimensions from 64 up; only initial values are compared.
WIDE = ('layers = 1\nwidth = 66\nheads = 1\nkv_heads = 1\nmlp_hidden = 68\nve_dim = 64\nve_layers = [0]\nmtp_heads = 1\n'
        'bigram_buckets = 5\nbigram_dim = 64\ntied_head = false\nvalue_residual = true\ngated_attention = true\n')
INITIAL = [
    ("uniform", "xor_previous", "keep"), ("orthogonal", "affine_92821", "first_channels"), ("orthogonal_scaled", "affine_31", "blend"),
    ("orthogonal_banks", "xor_current", "blend"),
]

# system, keys of [quantization] beyond the codec. Trained as above, so the weights are those that were compared.
SMALL = "small_tensor_max_elements = 40\n"
SEARCH = 'clip_candidates = [0.7, 0.9, 0.97, 1.0]\n'
CALIBRATION = 'calibration_sequences = 3\ncalibration_tokens = 5\n'
EXPORTS = [
    ("keep", 'scheme = "int8"\n'),
    ("keep", 'scheme = "mixed_int6"\nscale_floor = false\n'),
    ("keep", 'scheme = "int6_by_category"\nfp16 = ["c_k"]\ncontrol = ["q_gain", "vr_"]\n'),
    ("keep", 'scheme = "int6"\nclip = "search_rows"\nscale_floor = false\n' + SEARCH),
    ("keep", 'scheme = "int6"\nclip = "search_matrix"\nrounded_scale = true\nscale_floor = false\nlimit = 15\n' + SEARCH),
    ("keep", 'scheme = "mixed_int6"\nclip = "deviation"\nclip_deviations = 2.5\nother_clip_deviations = 3.1\nscale_floor = false\n'),
    ("keep", 'scheme = "mixed_int6"\ncodebook_entries = 7\nembed_svd_rank = 5\nprune_percent = 30.0\n'),
    ("keep", 'scheme = "int6_by_category"\nscale_floor = false\ncalibration = "train"\n' + CALIBRATION),
    ("keep", 'scheme = "int6"\nrounded_scale = true\nscale_floor = false\nclip = "search_matrix"\nprune_percent = 10.0\n'
             'calibration = "self_generated"\ngptq_damping = 0.05\n' + SEARCH + CALIBRATION),
    ("first_channels", 'scheme = "int8"\nrounded_scale = true\nscale_floor = false\nclip = "search_matrix"\ncalibration = "train"\n'
                       + SEARCH + CALIBRATION),
    ("blend", 'scheme = "int8"\nrounded_scale = true\nscale_floor = false\ncalibration = "self_generated"\ncalibration_seed = 3\n'
              + CALIBRATION),
]


def tokenizer(size):
    """A SentencePiece model (a protocol buffer) of `size` pieces: unknown, start, end, then normal ones."""
    def field(number, data):
        return bytes([number << 3 | 2, len(data)]) + data
    pieces = [("<unk>", 2), ("<s>", 3), ("</s>", 3)]
    pieces += [(("\u2581" if i % 3 == 0 else "") + chr(97 + i), 1) for i in range(size - 3)]
    return b"".join(field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", -float(i)) + bytes([0x18, kind]))
                    for i, (text, kind) in enumerate(pieces))


def shard(tokens):
    return struct.pack("<256i", 20240520, 1, len(tokens), *[0] * 253) + struct.pack("<%dH" % len(tokens), *tokens)


def read_container(data):
    """name: (storage, limit, format, shape, values) of engine/quant/FORMAT.md; values as the stored numbers."""
    assert data[:8] == b"FAIRWAYQ"
    version, count = struct.unpack_from("<II", data, 8)
    at, table = 16, []
    for _ in range(count):
        n, = struct.unpack_from("<H", data, at)
        name = data[at + 2:at + 2 + n].decode()
        storage, limit, form, dims = data[at + 2 + n:at + 6 + n]
        shape = struct.unpack_from("<%dI" % dims, data, at + 6 + n)
        at += 6 + n + 4 * dims
        if storage >= 4:
            at += 4
        table.append((name, storage, limit, form, shape))
    return table, data[at:]


def read_safetensors(data):
    """name: (shape, values)"""
    n, = struct.unpack_from("<Q", data)
    result = {}
    for name, e in json.loads(data[8:8 + n]).items():
        if name != "__metadata__":
            raw = data[8 + n + e["data_offsets"][0]:8 + n + e["data_offsets"][1]]
            if e["dtype"] == "BF16":
                raw = b"".join(b"\0\0" + raw[i:i + 2] for i in range(0, len(raw), 2))
            result[name] = (tuple(e["shape"]), raw)
    return result


def restore_dump(data):
    table, rest = read_container(data)
    result, at = {}, 0
    for name, storage, _, _, shape in table:
        assert storage == 2, (name, storage)
        n = math.prod(shape)
        result[name] = (shape, list(struct.unpack_from("<%df" % n, rest, at)))
        at += 4 * n
    return result


def write_submission(folder, system, quantization, tokens):
    """Writes data and fairway.toml; returns what the latter says."""
    values = dict(dict(train=TRAIN, optimizer="", averages="", numerics="", eval=""), **system)
    values.update(optimizer=LEARNING_RATES + values["optimizer"], quantization=quantization + values.get("quantization", ""))
    text = BASE.format(**values)
    (folder / "t.model").write_bytes(tokenizer(PIECES))
    (folder / "t_train_000000.bin").write_bytes(shard(tokens))
    (folder / "t_val_000000.bin").write_bytes(shard(tokens[:60]))
    (folder / "fairway.toml").write_text(text)
    return tomllib.loads(text)


def program(binary, folder, system, quantization, tokens):
    """(config, container, scores) of one training by the program."""
    config = write_submission(folder, system, quantization, tokens)
    subprocess.run([binary, "train", folder, "--out", folder / "out", "--fresh", "--quiet", "--threads", "1"], check=True)
    out = folder / "out" / ("seed_%d" % system["seed"])
    return config, zlib.decompress((out / "model.zlib").read_bytes()), (out / "scores.f32").read_bytes()


def scores(model, config, tokens):
    """The nll of every prediction of `standard` windows as bytes."""
    L = config["eval"].get("seq_len", config["train"]["seq_len"])
    count = (len(tokens) - 1) // L * L
    nll = [v for start, length, _ in s.windows("standard", count, L, L)
           for v in model.forward([(tokens[start:start + length], tokens[start + 1:start + length + 1])], False)]
    return s.floats_to_bytes(nll)


class Report:
    def __init__(self):
        self.passed, self.failed = 0, []

    def same(self, what, mine, theirs):
        if mine == theirs:
            self.passed += 1
        else:
            self.failed.append(what)
            print("DIFFERENT", what, flush=True)


def compare_system(report, binary, folder, name, tokens):
    config, container, score = program(binary, folder, SYSTEMS[name], DUMP, tokens)
    trainer = second_training.Trainer(config, SYSTEMS[name]["seed"])
    trainer.run(tokens)
    model, final, theirs = trainer.model, trainer.final(), restore_dump(container)
    mine = {n: (tuple(shape), s.floats_to_bytes(final[n])) for n, shape in model.shapes.items() if not n.startswith("mtp_heads.")}
    report.same(name + ": names", sorted(mine), sorted(theirs))
    for n, value in mine.items():
        shape, values = theirs.get(n, ((), []))
        report.same("%s: %s" % (name, n), value, (shape, s.floats_to_bytes(values)))
    model.tensors = final
    report.same(name + ": scores", scores(model, config, tokens[:60]), score)
    for system, quantization in EXPORTS:
        if system == name:
            quantization += SMALL + 'codec = "zlib-1"\n'
            config, container, score = program(binary, folder, SYSTEMS[name], quantization, tokens)
            model.tensors = final
            mine, restored = second_export.export(model, final, config["quantization"], tokens, config["train"]["seq_len"])
            what = "%s: %s" % (name, " ".join(quantization.split("\n")))
            report.same("container of " + what, mine, container)
            model.tensors = dict(final, **restored)
            report.same("scores of " + what, scores(model, config, tokens[:60]), score)


def compare_initial(report, binary, folder, rule, bigram_hash, smear):
    model = WIDE + 'matrix_init = "%s"\nbigram_hash = "%s"\nsmear_gate = "%s"\n' % (rule, bigram_hash, smear)
    config = write_submission(folder, dict(model=model, seed=3), DUMP, [1] * 50)
    subprocess.run([binary, "export", folder, "--init", "3", "--out", folder / "w"], check=True, stdout=subprocess.DEVNULL)
    theirs = read_safetensors((folder / "w").read_bytes())
    mine = second_systems.Model(config, 3)
    report.same("%s: names" % rule, sorted(mine.shapes), sorted(theirs))
    for n, shape in mine.shapes.items():
        report.same("initial values of %s: %s" % (rule, n), (tuple(shape), s.floats_to_bytes(mine.tensors[n])), theirs.get(n))


def main():
    binary, chosen = sys.argv[1], sys.argv[2:] or list(SYSTEMS)
    report = Report()
    tokens = [(5 * t * t + 3 * t + t // 7) % PIECES for t in range(101)]
    for name in chosen:
        started, before = time.time(), report.passed
        with tempfile.TemporaryDirectory() as folder:
            compare_system(report, binary, pathlib.Path(folder), name, tokens)
        print("%s: %d agree, %.1f s" % (name, report.passed - before, time.time() - started), flush=True)
    for case in INITIAL if chosen == list(SYSTEMS) else []:
        with tempfile.TemporaryDirectory() as folder:
            compare_initial(report, binary, pathlib.Path(folder), *case)
    print("%d passed, %d failed" % (report.passed, len(report.failed)))
    return bool(report.failed)


if __name__ == "__main__":
    sys.exit(main())
