"""Every export scheme from training to verification, and artifacts of upstream scripts at the command line."""

import array
import json
import shutil
import zipfile

import harness
from harness import SOURCE, Case

GOLDEN = SOURCE / "tests" / "golden" / "upstream"
FEW = {"schedule.iterations": 4, "schedule.warmdown_iters": 2, "train.val_every": 0, "replay.commit_every": 0, "replay.checkpoint_every": 0,
       "replay.keep_states": "false", "eval.seq_len": 256, "quantization.small_tensor_max_elements": 1024}
NARROW = "[0.999, 0.9995, 0.9999, 0.99999, 1.0]"

SCHEMES = {
    "int6, wide search per row": {"scheme": '"int6"', "clip": '"search_rows"', "clip_candidates": "[0.9, 0.95, 0.99, 0.999, 0.99999]"},
    "int6, embedding and late keys fp16": {"scheme": '"int6"', "fp16": '["tok_emb.weight", "blocks.1.attn.c_k.weight"]', "codec": '"zstd-22"'},
    "by category": {"scheme": '"int6_by_category"', "codec": '"xz-6"'},
    "by category, search per matrix": {"scheme": '"int6_by_category"', "clip": '"search_matrix"', "clip_candidates": NARROW,
                                       "scale_floor": "false"},
    "no scale floor": {"scheme": '"int6_by_category"', "scale_floor": "false"},
    "int5": {"scheme": '"int6"', "limit": 15},
    "codebook": {"scheme": '"int6"', "codebook_entries": 256},
    "embedding in two factors": {"scheme": '"int6"', "embed_svd_rank": 24},
    "pruning": {"scheme": '"mixed_int6"', "prune_percent": 3.0},
    "GPTQ on training data": {"scheme": '"int6_by_category"', "clip": '"search_matrix"', "clip_candidates": NARROW, "calibration": '"train"',
                              "calibration_sequences": 8},
    "GPTQ on drawn sequences, clip by deviation": {"scheme": '"int6_by_category"', "clip": '"deviation"', "clip_deviations": 12.85,
                                                   "other_clip_deviations": 20.0, "scale_floor": "false", "calibration": '"self_generated"',
                                                   "calibration_sequences": 2, "calibration_tokens": 32},
}


def keys(scheme):
    return {f"quantization.{k}": v for k, v in scheme.items()}


class Exports(Case):
    def container(self, run):
        return json.loads((run / "replay.json").read_text())["identity"]["container_sha256"]

    def test_every_scheme_trains_exports_scores_and_verifies(self):
        containers = {}
        for name, scheme in SCHEMES.items():
            with self.subTest(name):
                self.submission = self.submission_with({**FEW, **keys(scheme)})
                shutil.rmtree(self.folder / "verify", ignore_errors=True)
                run = self.train(out=f"out {name}")
                containers[name] = self.container(run)
                report = self.verify(run, level="full")
                self.assertEqual(report["verdict"], "pass", report)
                artifact = next(run.glob("model.*"))
                weights, nll = self.folder / "w.safetensors", self.folder / "nll.f32"
                self.ok("export", self.submission, "--artifact", artifact, "--out", weights)
                self.ok("eval", self.submission, "--weights", weights, "--nll-out", nll)
                self.assertEqual(nll.read_bytes(), (run / "scores.f32").read_bytes())
        self.assertEqual(len(set(containers.values())), len(SCHEMES), "each scheme stores something else")

    def test_threads_and_instruction_set_change_no_bit_of_an_export(self):
        scheme = {**SCHEMES["GPTQ on training data"], "embed_svd_rank": 24}
        self.submission = self.submission_with({**FEW, **keys(scheme)})
        found = {self.container(self.train(None, f"threads {n}", "--threads", n)) for n in (1, 3)}
        found.add(self.container(self.train(None, "portable", env={"FAIRWAY_ISA": "portable"})))
        self.assertEqual(len(found), 1)

    def test_contradictions_are_refused_with_both_keys(self):
        for extra, names in (
            ({"clip": '"search_rows"'}, ["quantization.clip_candidates"]),
            ({"clip_candidates": "[0.9]"}, ["quantization.clip_candidates", "quantization.clip"]),
            ({"clip_deviations": 3.0}, ["quantization.clip_deviations", "quantization.clip"]),
            ({"codebook_entries": 16, "clip": '"row_max"'}, ["quantization.clip", "quantization.codebook_entries"]),
            ({"embed_svd_rank": 65}, ["quantization.embed_svd_rank", "model.width"]),
            ({"calibration": '"train"'}, ["quantization.calibration", "quantization.rounded_scale"]),
            ({"calibration_seed": 1}, ["quantization.calibration_seed", "quantization.calibration"]),
            ({"calibration": '"train"', "rounded_scale": "true", "clip": '"search_rows"', "clip_candidates": "[0.9, 1.0]"},
             ["quantization.calibration", "quantization.clip"]),
        ):
            with self.subTest(str(extra)):
                submission = self.submission_with(keys(extra))
                self.fails(65, names, "eval", submission, "--init", 1)


class Weights(Case):
    def test_weights_of_another_table_are_refused_with_both_keys(self):
        mine, other = (self.submission_with({"model.bigram_buckets": n, "model.bigram_dim": 16}, f"buckets {n}") for n in (50, 60))
        weights = self.folder / "w.safetensors"
        self.ok("export", mine, "--init", 1, "--out", weights)
        names = [weights, "bigram.embed.weight", "[50,16]", "model.bigram_buckets = 60"]
        self.fails(65, names, "eval", other, "--weights", weights)
        self.fails(65, names, "export", other, "--weights", weights, "--out", self.folder / "again")
        self.assertFalse((self.folder / "again").exists())


class Upstream(Case):
    SHAPE = {"model.vocab_size": 12, "model.width": 8, "model.heads": 2, "model.kv_heads": 1, "model.mlp_hidden": 12}

    def setUp(self):
        super().setUp()
        self.submission = self.submission_with(self.SHAPE)

    def test_an_upstream_artifact_becomes_safetensors_with_pytorchs_values(self):
        expected = json.loads((GOLDEN / "expected.json").read_text())
        for name in ("per_row_int8.zlib", "per_row_int6.zst", "by_category.xz", "plain.pt", "banks.pt"):
            with self.subTest(name):
                out = self.folder / "w.safetensors"
                self.ok("export", self.submission, "--artifact", GOLDEN / name, "--out", out)
                data = out.read_bytes()
                size = int.from_bytes(data[:8], "little")
                header = json.loads(data[8:8 + size])
                for tensor, want in expected[name].items():
                    begin, end = header[tensor]["data_offsets"]
                    if header[tensor]["dtype"] == "F32":
                        self.assertEqual(array.array("I", data[8 + size + begin:8 + size + end]).tolist(), want["bits"], tensor)

    def test_the_name_of_the_file_does_not_matter(self):
        copy = self.folder / "final_model.int6.ptz"
        shutil.copy(GOLDEN / "by_category.xz", copy)
        self.ok("export", self.submission, "--artifact", copy, "--out", self.folder / "w.safetensors")

    def test_a_pickle_that_would_run_something_is_refused_by_name(self):
        source = zipfile.ZipFile(GOLDEN / "plain.pt")
        hostile = self.folder / "hostile.pt"
        with zipfile.ZipFile(hostile, "w", zipfile.ZIP_STORED) as out:
            for member in source.namelist():
                content = source.read(member)
                if member.endswith("data.pkl"):
                    content = content.replace(b"ccollections\nOrderedDict\n", b"cos\nsystem\n", 1)
                out.writestr(member, content)
        self.fails(65, [hostile, "data.pkl @ 0x", "os.system"], "export", self.submission, "--artifact", hostile, "--out", self.folder / "w")
        self.assertFalse((self.folder / "w").exists())

    def test_a_damaged_file_leaves_nothing_behind(self):
        for name in ("per_row_int8.zlib", "per_row_int6.zst", "by_category.xz", "plain.pt"):
            data = (GOLDEN / name).read_bytes()
            path = self.folder / name
            path.write_bytes(data[:len(data) * 2 // 3])
            with self.subTest(name):
                self.fails(65, path, "export", self.submission, "--artifact", path, "--out", self.folder / "w")
                self.assertFalse((self.folder / "w").exists())

    def test_another_models_artifact_is_refused_with_both_keys(self):
        other = self.submission_with({**self.SHAPE, "model.mlp_hidden": 16}, "other")
        self.fails(65, ["mlp.fc.weight", "model.mlp_hidden = 16"], "eval", other, "--artifact", GOLDEN / "by_category.xz")


if __name__ == "__main__":
    harness.main()
