"""`fairway ledger` as a user runs it, and what it writes checked by software that is not ours."""

import base64
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import unittest

import harness
from harness import SOURCE, Case, Fairway

ORIGIN = "example.com/fairway-e2e"
GO_PACKAGES = pathlib.Path("/usr/share/gocode")
CHECK_LOG = SOURCE / "tests" / "ledger" / "third_party" / "check_log.go"


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def statement(n, **changes):
    value = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "seed_7/container", "digest": {"sha256": digest(f"container {n}")}},
                    {"name": "seed_7/artifact", "digest": {"sha256": digest(f"artifact {n}")}}],
        "predicateType": "urn:fairway:verification:v1",
        "predicate": {
            "tool": {"name": "fairway", "version": "0.1.0"}, "submission": f"entry-{n}", "level": "full", "verdict": "pass",
            "checks": [{"id": "replay.identity", "status": "pass", "message": "every bit is the same"}],
            "runs": [{"seed": "7", "config_sha256": digest("t"), "identity_sha256": digest("i"), "scores_sha256": digest("s"), "state_root": digest("r"),
                      "val_loss": "0x1.790b54p+1", "val_bpb": "0x1.01b5fp+1",
                      "scored": {"val_sha256": [digest("v")], "tokenizer_sha256": digest("k"), "tokens": "999", "bytes": "2111"},
                      "codec": {"name": "zlib-9", "version": "1.2.13", "known_answer_sha256": digest("k")}}],
            "evidence": [{"name": "report.json", "sha256": digest("report")}]}}
    value["predicate"].update(changes)
    return value


def canonical(value):
    # RFC 8785 for ASCII text without floats.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class Ledger(Case):
    def setUp(self):
        super().setUp()
        self.log = self.folder / "log"
        self.vkey = self.ok("ledger", "init", self.log, "--origin", ORIGIN).stdout.strip()

    def statements(self, count, first=0):
        paths = []
        for n in range(first, first + count):
            paths.append(self.folder / f"statement_{n}.json")
            paths[-1].write_text(canonical(statement(n)) + "\n")
        return paths

    def append(self, count, first=0):
        return self.ok("ledger", "append", self.log, *self.statements(count, first))

    def tree(self, folder=None):
        root = folder or self.folder
        return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}

    def test_a_log_from_its_first_entry_to_verified_proofs(self):
        self.assertIn("entry 0: ", self.append(3).stdout)
        old = self.folder / "old.checkpoint"
        old.write_text(self.ok("ledger", "checkpoint", self.log).stdout)
        self.assertIn("5 entries, root ", self.append(2, first=3).stdout)
        proof = self.folder / "4.tlog-proof"
        self.ok("ledger", "prove", self.log, "--index", "4", "--out", proof)
        said = self.ok("ledger", "verify", proof, "--vkey", self.vkey).stdout
        for words in ("ledger.checkpoint", "ledger.inclusion", "ledger.statement", "full of entry-4: pass", "verdict: pass"):
            self.assertIn(words, said)
        consistency = self.folder / "consistency"
        self.ok("ledger", "prove", self.log, "--from", old, "--out", consistency)
        self.assertIn("5 entries continue 3", self.ok("ledger", "verify", consistency, "--old", old, "--vkey", self.log / "log.vkey").stdout)
        self.assertIn("5 entries, root", self.ok("ledger", "fsck", self.log, "--vkey", self.vkey, "--statements").stdout)
        found = self.ok("ledger", "prove", self.log, "--subject", digest("artifact 2"), "--out", self.folder / "found").stdout
        self.assertEqual(found.strip(), str(self.folder / "found" / "2.tlog-proof"))
        lines = [json.loads(line) for line in self.ok("ledger", "export", self.log, "--entries").stdout.splitlines()]
        self.assertEqual([line["statement"] for line in lines], [statement(n) for n in range(5)])

    def test_what_is_false_is_disproved_and_named(self):
        self.append(4)
        proof, other = self.folder / "p.tlog-proof", self.folder / "other"
        self.ok("ledger", "prove", self.log, "--index", "2", "--out", proof)
        text = proof.read_text()
        other_vkey = self.ok("ledger", "init", other, "--origin", ORIGIN).stdout.strip()

        def disproved(path, check, *arguments):
            done = Fairway.run("ledger", "verify", path, *arguments, "--format", "json")
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            self.assertIn("fail", harness.statuses(json.loads(done.stdout), check))

        disproved(proof, "ledger.checkpoint", "--vkey", other_vkey)
        changed = self.folder / "changed"
        changed.write_text(text.replace("index 2\n", "index 3\n"))
        disproved(changed, "ledger.inclusion", "--vkey", self.vkey)
        changed.write_text(text.replace("\n4\n", "\n5\n"))
        disproved(changed, "ledger.checkpoint", "--vkey", self.vkey)
        entry = self.folder / "entry"
        entry.write_bytes(base64.b64decode(re.search("extra (.*)", text)[1]).replace(b"e", b"f", 1))
        disproved(proof, "ledger.inclusion", "--vkey", self.vkey, "--entry", entry)
        self.fails(64, "--vkey or --policy", "ledger", "verify", proof)
        changed.write_text(text[:100])
        self.fails(65, changed, "ledger", "verify", changed, "--vkey", self.vkey)
        self.fails(66, "absent", "ledger", "verify", self.folder / "absent", "--vkey", self.vkey)

    def test_bad_statements_change_nothing(self):
        self.append(2)
        before = self.tree(self.log)
        bad = self.folder / "bad.json"
        cases = [
            (json.dumps(statement(9)), "not canonical"),
            (canonical(statement(9)).replace('"verdict":"pass"', '"verdict":"good"'), "predicate.verdict"),
            (canonical(statement(9, extra="x")), "keys that are not known"),
            (canonical(statement(9, runs=[dict(statement(9)["predicate"]["runs"][0], val_bpb=2.01)])), "floating-point"),
            (canonical(statement(9, checks=[{"id": "a", "status": "pass", "message": "x" * 4000}] * 20)), "65535 are allowed"),
            ('{"a":1,"a":2}', "occurs twice"), ("[" * 100000, "nested"), ("", "no JSON"), ("\xff", "no JSON")]
        for text, words in cases:
            bad.write_text(text, encoding="latin-1")
            self.fails(65, [bad, words], "ledger", "append", self.log, *self.statements(1, 5), bad)
            self.assertEqual(self.tree(self.log), before)
        bad.write_text(json.dumps(statement(9), indent=2))
        self.ok("ledger", "append", self.log, bad, "--canonicalise")
        self.ok("ledger", "fsck", self.log, "--vkey", self.vkey, "--statements")

    def test_a_full_and_a_read_only_disk_exit_74_and_change_nothing_published(self):
        disk = self.small_disk("600k")
        self.log = disk / "log"
        vkey = self.ok("ledger", "init", self.log, "--origin", ORIGIN, "--key", self.folder / "small.pem").stdout.strip()
        self.ok("ledger", "append", self.log, "--key", self.folder / "small.pem", *self.statements(3))

        def refused(words, *statements):
            before = self.tree(self.log)
            self.fails(74, [self.log, words], "ledger", "append", self.log, "--key", self.folder / "small.pem", *statements)
            after = self.tree(self.log)
            for name in before:
                if name == "checkpoint" or name.startswith("tile"):
                    self.assertEqual(after[name], before[name], name)
            self.assertIn("3 entries, root", self.ok("ledger", "fsck", self.log, "--vkey", vkey, "--statements").stdout)

        refused("No space left on device", *self.statements(900, 10))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        refused("Read-only file system", *self.statements(1, 5))
        subprocess.run(["mount", "-o", "remount,rw,size=64m", str(disk)], check=True)
        self.ok("ledger", "append", self.log, "--key", self.folder / "small.pem", *self.statements(2, 5))
        self.assertIn("5 entries, root", self.ok("ledger", "fsck", self.log, "--vkey", vkey, "--statements").stdout)

    def test_damage_is_found_and_the_first_bad_entry_named(self):
        self.append(3)
        bundle = self.log / "tile" / "entries" / "000.p" / "3"
        size_bytes = len(bundle.read_bytes())
        harness.flip(bundle, size_bytes // 2)
        done = Fairway.run("ledger", "fsck", self.log, "--vkey", self.vkey)
        self.assertEqual(done.returncode, 1)
        self.assertIn("first bad entry 1", done.stdout)
        self.fails(65, "does not prove", "ledger", "prove", self.log, "--index", "1")
        self.fails(65, "entry 1", "ledger", "append", self.log, *self.statements(1, 5))
        self.fails(65, "nothing was exported", "ledger", "export", self.log, "--out", self.folder / "copy")
        self.assertFalse((self.folder / "copy").exists())

    def test_a_rolled_back_folder_and_a_second_log_of_one_key_are_refused(self):
        self.append(2)
        shutil.copytree(self.log, self.folder / "backup")
        self.append(2, first=2)
        shutil.rmtree(self.log)
        (self.folder / "backup").rename(self.log)
        self.fails(65, "rolled back", "ledger", "append", self.log, *self.statements(1, 9))
        self.fails(65, "signed a log before", "ledger", "init", self.folder / "second", "--origin", ORIGIN, "--key", f"{self.log}.key.pem")
        self.fails(64, "is a log already", "ledger", "init", self.log, "--origin", ORIGIN)

    def test_keys_stay_private(self):
        key = pathlib.Path(f"{self.log}.key.pem")
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)
        secret = "".join(key.read_text().splitlines()[1:-1])
        self.append(1)
        key.chmod(0o644)
        said = [self.fails(65, "chmod 600", "ledger", "append", self.log, *self.statements(1, 1))]
        key.chmod(0o600)
        inside = self.log / "key.pem"
        said.append(self.fails(64, "must not lie inside", "ledger", "append", self.log, *self.statements(1, 1), "--key", inside))
        said.append(self.fails(64, "must not lie inside", "ledger", "init", self.folder / "x", "--origin", "o", "--key", self.folder / "x" / "a" / "k.pem"))
        key.write_text(key.read_text().replace("PRIVATE", "PUBLIC"))
        said.append(self.fails(65, key, "ledger", "append", self.log, *self.statements(1, 1)))
        published = b"".join(self.tree(self.log).values()).decode("latin-1")
        for text in [published, *(s.stdout + s.stderr for s in said)]:
            self.assertNotIn(secret, text)
            self.assertNotIn(base64.b64decode(secret)[-32:].hex(), text)

    def test_encrypted_keys_open_with_their_passphrase_only(self):
        log, words, wrong = self.folder / "encrypted", self.folder / "words", self.folder / "wrong"
        words.write_text("three secret words\n")
        wrong.write_text("other words\n")
        self.ok("ledger", "init", log, "--origin", ORIGIN, "--encrypt", "--passphrase-file", words)
        self.assertIn("ENCRYPTED", pathlib.Path(f"{log}.key.pem").read_text())
        one = self.statements(1)
        self.fails(65, "give its passphrase", "ledger", "append", log, *one)
        done = self.fails(65, "does not open", "ledger", "append", log, *one, "--passphrase-file", wrong)
        self.assertNotIn("other words", done.stderr)
        self.ok("ledger", "append", log, *one, "--passphrase-file", words)
        self.ok("ledger", "append", log, *one, env={"FAIRWAY_KEY_PASSPHRASE": "three secret words"})

    def test_statements_may_have_a_key_of_their_own(self):
        signer = self.folder / "signer"
        vkey = self.ok("ledger", "init", signer, "--origin", "example.com/verifier").stdout.strip()
        self.ok("ledger", "append", self.log, *self.statements(1), "--statement-key", f"{signer}.key.pem")
        proof = self.folder / "p"
        self.ok("ledger", "prove", self.log, "--index", "0", "--out", proof)
        self.ok("ledger", "verify", proof, "--vkey", self.vkey, "--statement-vkey", vkey)
        self.assertEqual(Fairway.run("ledger", "verify", proof, "--vkey", self.vkey).returncode, 1)

    def test_an_export_is_a_log_that_others_can_serve(self):
        for n in range(3):
            self.append(1, first=n)
        copy = self.folder / "copy"
        self.ok("ledger", "export", self.log, "--out", copy)
        names = sorted(self.tree(copy))
        self.assertEqual(names, ["checkpoint", "log.vkey", "tile/0/000.p/3", "tile/entries/000.p/3"])
        self.ok("ledger", "fsck", copy, "--vkey", self.vkey)
        self.fails(64, "is a log already", "ledger", "export", self.log, "--out", copy)

    def test_what_an_audit_and_a_replay_found_is_recorded(self):
        report = self.folder / "audit.json"
        report.write_text(Fairway.run("audit", SOURCE / "tests" / "verifier" / "audit" / "example", "--format", "json").stdout)
        self.ok("ledger", "record", self.log, "--report", report)
        record = self.train()
        report = self.folder / "verify.json"
        report.write_text(json.dumps(self.verify(record.parent)))
        self.ok("ledger", "record", self.log, "--report", report, "--level", "eval", "--record", record.parent)
        self.ok("ledger", "fsck", self.log, "--vkey", self.vkey, "--statements")
        audit, replay = [json.loads(line)["statement"] for line in self.ok("ledger", "export", self.log, "--entries").stdout.splitlines()]
        self.assertEqual(audit["predicate"]["level"], "audit")
        self.assertEqual(audit["predicate"]["runs"], [])
        identity = json.loads((record / "replay.json").read_text())
        run = replay["predicate"]["runs"][0]
        self.assertEqual(run["identity_sha256"], identity["identity_sha256"])
        self.assertEqual(run["val_bpb"], identity["identity"]["val_bpb"])
        self.assertEqual(run["state_root"], identity["identity"]["commitments"][-1]["root"])
        self.assertEqual({s["name"]: s["digest"]["sha256"] for s in replay["subject"]},
                         {"seed_7/container": identity["identity"]["container_sha256"], "seed_7/artifact": identity["informative"]["artifact_sha256"]})
        self.assertEqual(replay["predicate"]["verdict"], "pass")
        self.assertEqual(replay["predicate"]["evidence"], [{"name": "report.json", "sha256": hashlib.sha256(report.read_bytes()).hexdigest()}])
        self.fails(66, "no recorded run", "ledger", "record", self.log, "--report", report, "--record", self.folder)
        self.fails(65, "predicate.level", "ledger", "record", self.log, "--report", report, "--level", "all")

    def test_a_record_of_another_engine_is_audited_and_recorded(self):
        example = SOURCE / "tests" / "verifier" / "audit" / "example"
        verified = Fairway.run("verify", example, "--out", self.folder / "verified", "--ledger", self.log, "--format", "json")
        audited = Fairway.run("audit", example, "--format", "json")
        self.assertEqual((verified.returncode, verified.stdout), (audited.returncode, audited.stdout), verified.stderr)
        entry = json.loads(self.ok("ledger", "export", self.log, "--entries").stdout)["statement"]
        self.assertEqual(entry["predicate"]["level"], "audit")

    def test_a_verification_records_itself(self):
        record = self.train()
        out = self.folder / "verified"
        verify = ["verify", self.submission, "--record", record.parent, "--level", "eval", "--out", out, "--quiet", "--format", "json"]
        self.fails(66, self.folder / "absent", *verify, "--ledger", self.folder / "absent")
        self.assertFalse(out.exists(), "worked before it knew that the result can be recorded")
        shown = self.ok(*verify, "--ledger", self.log).stdout
        kept = out / "report.json"
        self.assertEqual(json.loads(shown), json.loads(kept.read_text()))
        self.ok("ledger", "fsck", self.log, "--vkey", self.vkey, "--statements")
        entries = [json.loads(line)["statement"] for line in self.ok("ledger", "export", self.log, "--entries").stdout.splitlines()]
        self.assertEqual(len(entries), 1)
        self.assertEqual(entries[0]["predicate"]["level"], "eval")
        self.assertEqual(entries[0]["predicate"]["verdict"], "pass")
        self.assertEqual(entries[0]["predicate"]["runs"][0]["identity_sha256"], json.loads((record / "replay.json").read_text())["identity_sha256"])
        self.assertEqual(entries[0]["predicate"]["evidence"][0]["sha256"], hashlib.sha256(kept.read_bytes()).hexdigest())

    def openssl_key(self):
        """The log's public key as a PEM file, made from the vkey alone."""
        raw = base64.b64decode(self.vkey.split("+", 2)[2])[1:]
        pem = self.folder / "public.pem"
        spki = bytes.fromhex("302a300506032b6570032100") + raw
        pem.write_text(f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(spki).decode()}\n-----END PUBLIC KEY-----\n")
        return pem, hashlib.sha256(spki).hexdigest()

    @unittest.skipUnless(shutil.which("openssl"), "no openssl command here")
    def test_openssl_verifies_checkpoint_and_bundle(self):
        self.append(1)
        pem, keyid = self.openssl_key()

        def verifies(message, signature):
            (self.folder / "message").write_bytes(message)
            (self.folder / "signature").write_bytes(signature)
            done = subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", pem, "-rawin", "-in", self.folder / "message", "-sigfile",
                                   self.folder / "signature"], capture_output=True, text=True)
            return done.returncode == 0

        text, _, lines = (self.log / "checkpoint").read_text().rpartition("\n\n")
        signature = base64.b64decode(lines.split(" ")[2])[4:]
        self.assertTrue(verifies((text + "\n").encode(), signature))
        self.assertFalse(verifies((text + " \n").encode(), signature))
        bundle = json.loads(self.ok("ledger", "export", self.log, "--bundle", "0").stdout)
        self.assertEqual(bundle["mediaType"], "application/vnd.dev.sigstore.bundle.v0.3+json")
        self.assertEqual(bundle["verificationMaterial"]["publicKey"]["hint"], keyid)
        envelope = bundle["dsseEnvelope"]
        payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
        encoding = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
        self.assertTrue(verifies(encoding, base64.b64decode(envelope["signatures"][0]["sig"])))
        self.assertEqual(json.loads(payload), statement(0))

    def readme_commands(self, *words):
        """The block of ledger/README.md with these words, as it stands, in a folder where the log is LOG; its output."""
        [block] = [b for b in re.findall(r"^```sh\n(.*?)^```", (SOURCE / "ledger" / "README.md").read_text(), re.MULTILINE | re.DOTALL)
                   if all(w in b for w in words)]
        commands = "\n".join(line for line in block.splitlines() if not line.startswith(("pip install", "apt-get")))
        # What `pip install` would give, from the wheel that ci/setup has fetched; Debian's Python has its dependency.
        for wheel in (SOURCE / "build" / "dsse").glob("*.whl"):
            shutil.unpack_archive(wheel, self.folder / "site", "zip")
        tools = self.folder / "bin"
        tools.mkdir(exist_ok=True)
        for name, target in (("fairway", Fairway.path), ("python3", "/usr/bin/python3")):
            if not (tools / name).exists():
                os.symlink(target, tools / name)
        return subprocess.run(["bash", "-euo", "pipefail", "-c", commands], capture_output=True, text=True, cwd=self.folder, timeout=harness.TIMEOUT_S,
                              env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(self.folder / "site")})

    def readme_log(self):
        self.log = self.folder / "LOG"
        self.vkey = self.ok("ledger", "init", self.log, "--origin", ORIGIN).stdout.strip()
        self.append(2)

    @unittest.skipUnless(shutil.which("openssl") and shutil.which("xxd"), "no openssl or xxd here")
    def test_the_readmes_openssl_commands_verify_a_checkpoint_and_refuse_a_changed_one(self):
        self.readme_log()
        done = self.readme_commands("openssl pkeyutl -verify")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Verified Successfully", done.stdout)
        checkpoint = self.log / "checkpoint"
        checkpoint.write_text(checkpoint.read_text().replace("\n2\n", "\n3\n"))
        self.assertNotEqual(self.readme_commands("openssl pkeyutl -verify").returncode, 0)

    @unittest.skipUnless(any((SOURCE / "build" / "dsse").glob("*.whl")), "no wheel in build/dsse; ci/setup fetches it")
    def test_a_dsse_library_that_is_not_ours_verifies_an_entrys_bundle_and_refuses_a_changed_one(self):
        self.readme_log()
        done = self.readme_commands("securesystemslib")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.splitlines(), [f"{digest('container 0')} seed_7/container", f"{digest('artifact 0')} seed_7/artifact"])
        # Another log's key, and a bundle that says something else under the same signature.
        own = (self.log / "log.vkey").read_text()
        (self.log / "log.vkey").write_text(self.ok("ledger", "init", self.folder / "other", "--origin", ORIGIN).stdout)
        self.assertNotEqual(self.readme_commands("securesystemslib").returncode, 0)
        (self.log / "log.vkey").write_text(own)
        bundle = json.loads(self.ok("ledger", "export", self.log, "--bundle", "0").stdout)
        payload = base64.b64decode(bundle["dsseEnvelope"]["payload"]).replace(b'"verdict":"pass"', b'"verdict":"fail"')
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
        (self.folder / "forged.json").write_text(json.dumps(bundle))
        (self.folder / "bin" / "fairway").unlink()
        (self.folder / "bin" / "fairway").write_text(f"#!/bin/sh\ncat {self.folder}/forged.json\n")
        (self.folder / "bin" / "fairway").chmod(0o755)
        done = self.readme_commands("securesystemslib")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("VerificationError", done.stderr)

    @unittest.skipUnless(shutil.which("go") and (GO_PACKAGES / "src" / "golang.org" / "x" / "mod" / "sumdb").is_dir(),
                         "no go or no golang-golang-x-mod-dev here")
    def test_gos_tlog_and_note_packages_verify_the_log_and_its_proofs(self):
        checker = self.folder / "check_log"
        env = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GO_PACKAGES), "GOFLAGS": "",
               "GOCACHE": os.environ.get("GOCACHE", str(pathlib.Path.home() / ".cache" / "go-build"))}
        subprocess.run(["go", "build", "-o", checker, CHECK_LOG], env=env, check=True, timeout=harness.TIMEOUT_S)

        def check(log, *proofs):
            return subprocess.run([checker, log, self.vkey, *proofs], capture_output=True, text=True, timeout=harness.TIMEOUT_S)

        size = 0
        for batch in (1, 1, 5, 250, 300):  # over two borders of tiles
            self.append(batch, first=size)
            size += batch
            proofs = self.folder / f"proofs-{size}"
            self.ok("ledger", "prove", self.log, "--all", "--out", proofs)
            done = check(self.log, *proofs.iterdir())
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(f"{size} entries, {size} proofs", done.stdout)
        # The check can fail: an entry, a tile and the checkpoint, damaged in turn.
        for name in ("tile/entries/001", "tile/0/000", "tile/1/000.p/2", "checkpoint"):
            harness.flip(self.log / name, 40)
            self.assertEqual(check(self.log).returncode, 1, name)
            harness.flip(self.log / name, 40)
        self.assertEqual(check(self.log).returncode, 0)

    def test_the_schema_accepts_what_append_accepts(self):
        try:
            import jsonschema
        except ImportError:
            self.skipTest("no python3-jsonschema here")
        schema = json.loads((SOURCE / "ledger" / "statement.schema.json").read_text())
        validator = jsonschema.Draft202012Validator(schema)
        run = statement(1)["predicate"]["runs"][0]
        candidates = [statement(1), statement(1, runs=[]), statement(1, evidence=[]), statement(1, runs=[{k: v for k, v in run.items() if k != "state_root"}])]
        candidates += [statement(1, **{key: value}) for key, value in (
            ("verdict", "good"), ("level", "x"), ("checks", []), ("submission", ""), ("submission", "x" * 4097), ("extra", "x"), ("tool", {"name": "f"}),
            ("runs", [dict(run, seed="01")]), ("runs", [dict(run, seed=7)]), ("runs", [dict(run, val_bpb="2.0")]), ("runs", [dict(run, val_bpb="0x1.80p+0")]),
            ("runs", [dict(run, val_bpb="-0x1p-3")]), ("runs", [dict(run, val_loss="2")]),
            ("runs", [dict(run, scored=dict(run["scored"], val_sha256=[]))]), ("runs", [dict(run, scored=dict(run["scored"], tokens=999))]), ("runs", [dict(run, identity_sha256="A" * 64)]), ("evidence", [{"name": "x"}]))]
        for value in candidates:
            path = self.folder / "candidate.json"
            path.write_text(canonical(value))
            accepted = Fairway.run("ledger", "append", self.log, path).returncode == 0
            self.assertEqual(accepted, validator.is_valid(value), value)

    def test_witnesses_cosign_and_the_policy_decides(self):
        # Witnesses are other software; this one is openssl, told what the specification says to sign.
        if not shutil.which("openssl"):
            self.skipTest("no openssl command here")
        self.append(2)
        witness_log = self.folder / "witness"  # for its key alone
        raw = base64.b64decode(self.ok("ledger", "init", witness_log, "--origin", "w").stdout.strip().split("+", 2)[2])[1:]
        name = "witness.example/w1"
        keyid = hashlib.sha256(name.encode() + b"\n\x04" + raw).digest()[:4]
        policy = self.folder / "policy"
        witness_vkey = f"{name}+{keyid.hex()}+{base64.b64encode(bytes([4]) + raw).decode()}"
        policy.write_text(f"log {self.vkey}\nwitness w1 {witness_vkey}\nquorum w1\n")
        self.assertEqual(Fairway.run("ledger", "fsck", self.log, "--policy", policy).returncode, 1)
        request = self.ok("ledger", "prove", self.log, "--from", "0").stdout
        self.assertTrue(request.startswith("old 0\n\n" + ORIGIN + "\n2\n"))
        note_text = request.split("\n\n", 1)[1].rpartition("\n\n")[0] + "\n"
        message = self.folder / "message"
        message.write_text(f"cosignature/v1\ntime 1700000000\n{note_text}")
        signature = self.folder / "signature"
        subprocess.run(["openssl", "pkeyutl", "-sign", "-inkey", f"{witness_log}.key.pem", "-rawin", "-in", message, "-out", signature], check=True)
        body = keyid + (1700000000).to_bytes(8, "big") + signature.read_bytes()
        lines = self.folder / "lines"
        lines.write_text(f"\u2014 {name} {base64.b64encode(body).decode()}\n")
        said = self.ok("ledger", "checkpoint", self.log, "--cosignatures", lines, "--policy", policy).stdout
        self.assertIn(name, said)
        self.ok("ledger", "fsck", self.log, "--policy", policy)
        proof = self.folder / "p"
        self.ok("ledger", "prove", self.log, "--index", "1", "--out", proof)
        self.assertIn("cosigned by w1", self.ok("ledger", "verify", proof, "--policy", policy).stdout)
        lines.write_text(f"\u2014 {name} {base64.b64encode(body[:-1] + bytes([body[-1] ^ 1])).decode()}\n")
        self.append(1, first=2)
        self.fails(1, "is false", "ledger", "checkpoint", self.log, "--cosignatures", lines, "--policy", policy)


if __name__ == "__main__":
    harness.main()
