#!/usr/bin/env python3
"""Fails if the generated PTX holds a floating-point instruction that kernels/NUMERICS.md does not allow (N1 - N3).

Every instruction is traced to its source line by -lineinfo. Findings:

  approximate   .approx, .ftz, .sat, .satfinite, or a hardware function (ex2, lg2, sin, cos, tanh, rsqrt, min, max); except the maximum with
                +0, which is x > 0 ? x : +0 for every x (PTX ISA: the other operand for a NaN, +0 above -0)
  rounding      add, sub, mul, div, rcp, sqrt or fma without .rn: ptxas may contract what has no rounding mode; a conversion to a float that rounds
                otherwise
  fma           an fma that is not one of the functions `fma` of kernels/num/float_bits.h
  atomic        atom or red on a floating-point type
  conversion    a float that becomes an integer, other than in a function that checks the range first (CHECKED below)
  formula       floating-point arithmetic whose source is not in kernels/num or kernels/ops. Conversions are left out: the compiler moves them out
                of loops and conditions without their line
  library       a call that is not printf-like: libdevice and friends

  ptx_lint.py DIR...     folders with *.ptx
  ptx_lint.py --self-test
Exit codes: 0 clean, 1 findings, 66 nothing to check.
"""
import collections
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
FUSED = "kernels/num/float_bits.h"
# The second is no operation of a model: it evaluates functions for the ladder.
FORMULAS = ("kernels/num/", "kernels/ops/", "kernels/cuda/bodies/functions.h")
# Functions that convert after a check of the range, with where the check stands.
CHECKED = {
    ("kernels/num/exact_sum.h", "gradient_units_large"): "kernels/accumulate.h: no term beyond the limit, at most 2^31, gets here",
    ("kernels/ops/worker_mean.h", "worker_units"): "a clipped gradient is at most 2^53 units",
}

FLOAT = r"(?:f16|f16x2|bf16|bf16x2|f32|f32x2|f64|tf32)"
INSTRUCTION = re.compile(r"^\s*(?:@!?%p\d+\s+)?([a-z][a-z0-9_]*(?:[.:]+[a-zA-Z0-9_:]+)*)\s")
FILE = re.compile(r'^\s*\.file\s+(\d+)\s+"([^"]+)"')
LOC = re.compile(r"^\s*\.loc\s+(\d+)\s+(\d+)\s")
ENTRY = re.compile(r"\.entry\s+([\w$]+)")
ARITHMETIC = re.compile(rf"^(add|sub|mul|div|rcp|sqrt|fma|mad)(?:\.[a-z]+)*\.{FLOAT}$")
FORBIDDEN_FUNCTION = re.compile(rf"^(ex2|lg2|sin|cos|tanh|rsqrt|min|max)\b.*\.{FLOAT}$")
TO_INTEGER = re.compile(rf"^cvt(?:\.[a-z]+)*\.[su](?:8|16|32|64)\.{FLOAT}$")
MAX_WITH_ZERO = re.compile(r"\bmax\.f32\s+%f\d+, %f\d+, 0f00000000;")
TO_FLOAT = re.compile(r"^cvt\.(r[a-z]+)\.(?:f16|bf16|f32|f64)\.")

Finding = collections.namedtuple("Finding", "kind kernel place text")


def lines_of_function(path, name):
    """Line numbers of the definitions of `name` in a header: from its first line to the brace that closes it."""
    lines, inside, depth = set(), False, 0
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if not inside and re.match(rf"FAIRWAY_HD\s+[\w:]+\s+{name}\(", line):
                inside, depth = True, 0
            if inside:
                lines.add(number)
                depth += line.count("{") - line.count("}")
                inside = depth > 0 or "{" not in line and depth == 0 and not line.rstrip().endswith("}")
    return lines


def relative(path):
    path = os.path.normpath(path)
    at = path.rfind("/kernels/")
    return path[at + 1:] if at >= 0 else path


def lint(text, allowed_fma, checked):
    """Findings of one PTX file. allowed_fma: lines of FUSED; checked: {(file, line)}."""
    files = {int(m.group(1)): relative(m.group(2)) for m in map(FILE.match, text.split("\n")) if m}
    findings, kernel, place, count = [], "?", ("?", 0), 0
    for line in text.split("\n"):
        if m := ENTRY.search(line):
            kernel, place = m.group(1), ("?", 0)
        if m := LOC.match(line):
            place = (files.get(int(m.group(1)), "?"), int(m.group(2)))
            continue
        m = INSTRUCTION.match(line)
        if not m:
            continue
        op = m.group(1)
        count += 1
        parts = op.split(".")
        report = lambda kind: findings.append(Finding(kind, kernel, place, line.strip()))
        is_float = re.search(rf"\.{FLOAT}\b", op) is not None
        if {"approx", "ftz", "satfinite"} & set(parts) or ("sat" in parts and is_float) or (FORBIDDEN_FUNCTION.match(op) and not MAX_WITH_ZERO.search(line)):
            report("approximate")
        if parts[0] in ("atom", "red") and is_float:
            report("atomic")
        if parts[0] == "call":
            report("library")
        if TO_INTEGER.match(op) and place not in checked:
            report("conversion")
        arithmetic = ARITHMETIC.match(op) is not None
        if arithmetic:
            if "rn" not in parts:
                report("rounding")
            if parts[0] in ("fma", "mad") and not (place[0] == FUSED and place[1] in allowed_fma):
                report("fma")
        if (m := TO_FLOAT.match(op)) and m.group(1) != "rn":
            report("rounding")
        if arithmetic and not place[0].startswith(FORMULAS):
            report("formula")
    return findings, count


def self_test():
    head = '.file 1 "/x/kernels/num/float_bits.h"\n.file 2 "/x/kernels/num/exp.h"\n.file 3 "/x/kernels/cuda/bodies/a.h"\n.entry k(\n'
    good = head + ".loc 1 38 3\nfma.rn.f32 %f1, %f2, %f3, %f4;\n.loc 2 9 1\nadd.rn.f32 %f1, %f2, %f3;\nadd.s32 %r1, %r2, %r3;\nred.global.add.u64 [%rd1], %rd2;\nmax.u32 %r1, %r2, %r3;\nmax.f32 %f1, %f2, 0f00000000;\n"
    assert lint(good, {38}, set())[0] == [], lint(good, {38}, set())
    cases = {
        "approximate": ["ex2.approx.f32 %f1, %f2;", "mul.rn.ftz.f32 %f1, %f2, %f3;", "cvt.rni.sat.f32.f32 %f1, %f2;", "max.f32 %f1, %f2, %f3;",
                        "mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.s8.s32 {%r1}, {%r2}, {%r3}, {%r4};"],
        "rounding": ["add.f32 %f1, %f2, %f3;", "@%p1 mul.f64 %fd1, %fd2, %fd3;", "div.full.f32 %f1, %f2, %f3;", "add.rz.f32 %f1, %f2, %f3;", "cvt.rz.f32.f64 %f1, %fd1;"],
        "fma": ["fma.rn.f32 %f1, %f2, %f3, %f4;", "fma.rn.f32x2 %rd1, %rd2, %rd3, %rd4;"],
        "atomic": ["atom.global.add.f32 %f1, [%rd1], %f2;", "red.global.add.noftz.f16x2 [%rd1], %r2;"],
        "conversion": ["cvt.rzi.s32.f32 %r1, %f1;", "cvt.rni.u64.f64 %rd1, %fd1;"],
        "library": ["call.uni (retval0), __nv_expf, (param0);"],
    }
    for kind, instructions in cases.items():
        for text in instructions:
            found = {f.kind for f in lint(head + ".loc 2 9 1\n" + text + "\n", {38}, set())[0]}
            assert kind in found, (kind, text, found)
    assert {f.kind for f in lint(head + ".loc 3 1 1\nmul.rn.f32 %f1, %f2, %f3;\n", {38}, set())[0]} == {"formula"}
    assert lint(head + ".loc 2 5 1\ncvt.rzi.s64.f64 %rd1, %fd1;\n", {38}, {("kernels/num/exp.h", 5)})[0] == []


def main():
    self_test()
    if sys.argv[1:] == ["--self-test"]:
        return 0
    allowed_fma = lines_of_function(FUSED, "fma")
    checked = {(path, line) for path, name in CHECKED for line in lines_of_function(path, name)}
    assert len(allowed_fma) == 2 and len(checked) >= 2, (allowed_fma, checked)
    paths = sorted(os.path.join(d, name) for d in sys.argv[1:] for name in os.listdir(d) if name.endswith(".ptx"))
    findings, instructions = set(), 0
    for path in paths:
        with open(path, encoding="utf-8") as f:
            found, count = lint(f.read(), allowed_fma, checked)
        findings |= set(found)
        instructions += count
    if instructions == 0:
        print(f"ptx_lint: no PTX in {' '.join(sys.argv[1:]) or 'no folder'}; build the target fairway_cuda first", file=sys.stderr)
        return 66
    for f in sorted(findings):
        print(f"{f.place[0]}:{f.place[1]}: {f.kind}: {f.text}  [{f.kernel[:120]}]")
    print(f"ptx_lint: {len(paths)} files, {instructions} instructions, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
