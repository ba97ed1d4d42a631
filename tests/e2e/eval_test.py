"""fairway eval and export: the same weights give the same scores, whichever way they come in."""

import array
import struct

import harness
from harness import CORPUS, Case

VAL = CORPUS / "shards" / "fairway_val_000000.bin"


def shard(tokens, magic=20240520, version=1, count=None):
    """The bytes of a token shard."""
    header = [magic, version, len(tokens) if count is None else count] + [0] * 253
    return struct.pack("<256i", *header) + array.array("H", tokens).tobytes()


class Eval(Case):
    def nll(self, *arguments):
        out = self.folder / "nll.f32"
        self.ok("eval", self.submission, *arguments, "--nll-out", out)
        return out.read_bytes()

    def test_exported_weights_score_as_the_artifact_does(self):
        artifact = self.train() / "model.zlib"
        weights = self.folder / "w.safetensors"
        self.ok("export", self.submission, "--artifact", artifact, "--out", weights)
        from_artifact = self.nll("--artifact", artifact)
        self.assertEqual(self.nll("--weights", weights), from_artifact)
        self.assertEqual((artifact.parent / "scores.f32").read_bytes(), from_artifact)

    def test_one_binary32_per_prediction(self):
        predictions = (VAL.stat().st_size - 1024) // 2 - 1
        self.assertEqual(len(self.nll("--init", 7)), 4 * (predictions // 64 * 64))

    def test_an_untrained_model_knows_nothing(self):
        values = array.array("f", self.nll("--init", 7))
        mean = sum(values) / len(values)
        self.assertAlmostEqual(mean, 6.9315, delta=0.05)  # ln 1024

    def test_tokens_of_any_shard_can_be_scored(self):
        tokens = array.array("H", VAL.read_bytes()[1024:1024 + 2 * 257]).tolist()
        path = self.folder / "some.bin"
        path.write_bytes(shard(tokens))
        scores = self.nll("--init", 7, "--tokens", path)
        self.assertEqual(len(scores), 4 * 256)
        self.assertEqual(scores, self.nll("--init", 7)[: 4 * 256], "windows do not see each other")

    def test_later_tokens_do_not_change_earlier_scores(self):
        self.submission = self.submission_with({"eval.method": '"sliding_b"', "eval.stride": 16})
        tokens = array.array("H", VAL.read_bytes()[1024:1024 + 2 * 257]).tolist()
        changed = tokens[:150] + [(t + 1) % 1024 for t in tokens[150:]]
        scores = []
        for stream in (tokens, changed):
            path = self.folder / "stream.bin"
            path.write_bytes(shard(stream))
            scores.append(self.nll("--init", 7, "--tokens", path))
        self.assertEqual(scores[0][: 4 * 149], scores[1][: 4 * 149])
        self.assertNotEqual(scores[0], scores[1])

    def test_the_result_lines_are_the_published_ones(self):
        text = self.ok("eval", self.submission, "--init", 7).stdout
        self.assertRegex(text, r"(?m)^final_int8_zlib_roundtrip val_loss:\d+\.\d{4} val_bpb:\d+\.\d{4} eval_time:\d+ms$")
        self.assertRegex(text, r"(?m)^final_int8_zlib_roundtrip_exact val_loss:\d+\.\d{8} val_bpb:\d+\.\d{8}$")


if __name__ == "__main__":
    harness.main()
