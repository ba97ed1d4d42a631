"""--device on a machine without a usable GPU: cuda ends with one line that says what is missing, auto is the CPU and says so, and nothing is half-written.

The same tests run on a build without CUDA and on one with it; a GPU, where there is one, is hidden.
"""

import harness
from harness import Case

NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}
MISSING = r"this build has no CUDA|no CUDA driver is installed|no CUDA device is visible"


class Device(Case):
    def log(self, run):
        return (run / "train.log").read_text()

    def test_cuda_without_a_gpu_exits_69_says_what_is_missing_and_writes_nothing(self):
        weights, trace, nll = (self.folder / name for name in ("w.safetensors", "trace.bin", "nll.f32"))
        self.ok("export", self.submission, "--init", 1, "--out", weights)
        for command in (("train", self.submission, "--out", self.folder / "never"),
                        ("eval", self.submission, "--weights", weights, "--trace-out", trace, "--nll-out", nll),
                        ("verify", self.submission, "--out", self.folder / "never")):
            with self.subTest(command[0]):
                done = self.fails(69, ["--device cuda", "--device cpu"], *command, "--device", "cuda", env=NO_GPU)
                self.assertRegex(done.stderr, MISSING)
                self.assertEqual(done.stdout, "")
        for path in (self.folder / "never", trace, nll):
            self.assertFalse(path.exists(), path)

    def test_a_run_that_was_begun_is_left_as_it_is(self):
        run = self.train()
        before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
        self.fails(69, "--device cuda", "train", self.submission, "--out", self.folder / "out", "--fresh", "--device", "cuda", env=NO_GPU)
        self.assertEqual({p: p.read_bytes() for p in run.rglob("*") if p.is_file()}, before)

    def test_auto_is_the_cpu_and_the_log_says_so_with_the_reason(self):
        auto, cpu = (self.train(None, name, "--device", name, env=NO_GPU) for name in ("auto", "cpu"))
        self.assertRegex(self.log(auto), rf"(?m)^device:cpu \(--device auto: ({MISSING})")
        self.assertRegex(self.log(cpu), r"(?m)^device:cpu$")
        self.assertEqual(self.identity(auto), self.identity(cpu))

    def test_ranks_of_a_store_are_not_trained_alone_on_the_cpu(self):
        ranks = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
        self.fails(69, ["WORLD_SIZE", "mpirun"], "train", self.submission, "--out", self.folder / "never", env=ranks)
        self.assertFalse((self.folder / "never").exists())
        self.train(None, "one", env={**ranks, "WORLD_SIZE": "1"})


if __name__ == "__main__":
    harness.main()
