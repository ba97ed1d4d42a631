"""Facts of a log by the regular expressions that were published with the measurements of the upstream repository, and by nothing else.

An independent reading to compare the audit's readers with. It decodes UTF-16 and drops printed sources as described there.
"""

import re

F = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
SCORE = re.compile(rf"^(?P<tag>.*?)\bval_loss\s*[:=]\s*{F}[\s,;|]+(?:\w*_)?val_bpb\s*[:=]\s*(?P<bpb>{F})")
ANY_BPB = re.compile(rf"(\S*bpb\S*)\s*[:=]\s*\**(?P<bpb>{F})")
DIAGNOSTIC = re.compile(r"^(step|\d*/\d+)|DIAGNOSTIC|diagnostic|pre-quant|post_ema|post_swa")
SEED = re.compile(r"\bseed\s*[:=]\s*(\d+)")
WORLD = re.compile(r"\bworld_size\s*[:=]\s*(\d+)")
STOP = re.compile(r"stopping_early:?\s*(\w+).*?train_time:\s*([\d.]+)(ms).*?step:\s*(\d+)/(\d+)")
TOTAL = re.compile(r"Total submission size (\S*\+\S*|int8\S*|quantized\S*)\s*:\s*([\d,]+)\s*bytes")
RULE = re.compile(r"^\s*={60,}\s*$")
CODE = re.compile(r"^\s*(import |from .* import|def |class |@torch|if __name__)")


def text_of(data):
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    return data.decode("utf-8", errors="replace")


def output_lines(data):
    """The lines outside sections that hold source."""
    section, out = [], []
    for line in text_of(data).splitlines() + ["=" * 60]:
        if not RULE.match(line):
            section.append(line)
            continue
        source = sum(bool(CODE.match(s)) for s in section) >= 4 or any("b85decode" in s or "b64decode" in s for s in section)
        if not source:
            out += section
        section = []
    return [line for line in out if len(line) <= 10000]


def read(data):
    """The facts of the whole file: the first seed and world size, the last stop and total,
    the number of scores printed with their loss and the last of them."""
    facts = {"seed": None, "world_size": None, "stop_ms": None, "total_bytes": None, "pairs": 0, "final_scores": 0, "any_bpb": 0, "last_pair_bpb": None}
    for line in output_lines(data):
        for key, pattern in (("seed", SEED), ("world_size", WORLD)):
            if facts[key] is None and (m := pattern.search(line)):
                facts[key] = int(m.group(1))
        if m := STOP.search(line):
            facts["stop_ms"] = float(m.group(2))
        if m := TOTAL.search(line):
            facts["total_bytes"] = int(m.group(2).replace(",", ""))
        if m := SCORE.match(line):
            facts["pairs"] += 1
            facts["final_scores"] += not DIAGNOSTIC.search(m["tag"])
            facts["last_pair_bpb"] = float(m["bpb"])
            facts["any_bpb"] += 1
        elif ANY_BPB.search(line):
            facts["any_bpb"] += 1
    return facts
