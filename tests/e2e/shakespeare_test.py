"""Other people's text and tokenizer: Tiny Shakespeare with the challenge's 1,024-piece model, from text to verdict."""

import unittest

import harness
from harness import SHARED, Case

TEXT = SHARED / "text" / "tinyshakespeare.txt"
MODEL = SHARED / "tokenizers" / "fineweb_1024_bpe.model"


@unittest.skipUnless(TEXT.exists() and MODEL.exists(), f"{TEXT} or {MODEL} is not here")
class Shakespeare(Case):
    def test_a_text_can_be_tokenized_trained_on_and_verified(self):
        shards = self.folder / "shards"
        said = self.ok("data", "tokenize", TEXT, "--model", MODEL, "--out", shards, "--prefix", "bard", "--val-tokens", 20000).stdout
        self.assertRegex(said, r"train: \d+ documents, \d+ tokens, \d+ bytes")
        self.ok("data", "inspect", shards / "bard_val_000000.bin", "--vocab-size", 1024)
        bard = self.submission_with({"data.path": f'"{shards}"', "data.prefix": '"bard"', "data.tokenizer": f'"{MODEL}"'}, "bard")
        done = self.ok("verify", bard, "--level", "full", "--out", self.folder / "v", "--quiet")
        self.assertIn("verdict: pass", done.stdout)


if __name__ == "__main__":
    harness.main()
