#!/usr/bin/env python3
"""Fails if a floating-point sum over a loop, or a call into libm, is found in the compiled engine (NUMERICS.md, N2, N3).

Every source of kernels/ and engine/ in the build's compile_commands.json is compiled to LLVM IR with clang++ -O1, without
vectorising or unrolling, with the -D, -I, -m and -f flags of its own command (so the instruction-set variants are all seen).
In the IR these are findings:

  register   a cycle of values through a phi in which something is added in floating point (fadd, fsub, fma)
  memory     in a loop, a lambda or an OpenMP body: a store of (what was loaded from the same address) + (something)
  reduction  an instruction that is a floating-point sum by itself (vector.reduce.fadd, atomicrmw fadd, inline assembly)
  libm       a call of a libm function other than fma, sqrt, fabs and copysign, in the folders of numerics

What is allowed stands in no_float_sums_allowed.txt with a reason; an entry that matches nothing is an error as well.

Not seen: sums over recursion, sums spread over different addresses, sums inside libraries.

  --build DIR     a configured build tree
  --self-test     only check that the analysis finds what it must
Exit codes: 0 clean, 1 findings, 77 cannot run here (no clang++), 2 a source does not compile.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
NUMERICS = ("kernels/", "engine/model/", "engine/optim/", "engine/quant/", "engine/train/", "engine/eval/")
CLANG_FLAGS = ["-O1", "-fno-vectorize", "-fno-slp-vectorize", "-fno-unroll-loops", "-ffp-contract=off", "-gline-tables-only",
               "-S", "-emit-llvm", "-w", "-o", "-"]
LIBM = set("""sin cos tan asin acos atan atan2 sincos sinh cosh tanh asinh acosh atanh exp exp2 exp10 expm1 log log2 log10 log1p
logb ilogb pow cbrt hypot erf erfc tgamma lgamma j0 j1 jn y0 y1 yn fmod remainder remquo drem modf ldexp frexp scalbn scalbln
ceil floor trunc round lround llround rint lrint llrint nearbyint nextafter nexttoward fdim fmax fmin""".split())
LLVM_LIBM = re.compile(r"llvm\.(?:experimental\.constrained\.)?(sin|cos|exp|exp2|log|log2|log10|pow|powi|ceil|floor|trunc|round|roundeven|rint|"
                       r"nearbyint|lround|llround|lrint|llrint)\.")
FP = re.compile(r"(?:^|[<\[ ])(?:half|bfloat|float|double|x86_fp80|fp128)\b")
NAME = re.compile(r'%(?:"[^"]*"|[-\w.$]+)')

Instruction = collections.namedtuple("Instruction", "name op text operands block debug")
Finding = collections.namedtuple("Finding", "kind chain function detail")


def demangle(names):
    tool = shutil.which("c++filt") or shutil.which("llvm-cxxfilt") or shutil.which("llvm-cxxfilt-14")
    if not names or tool is None:
        return dict(zip(names, names))
    out = subprocess.run([tool], input="\n".join(names), capture_output=True, text=True, check=True).stdout.split("\n")
    return dict(zip(names, out))


class Debug:
    """Source places: for a !dbg number the chain of (file, line, function) from the innermost inlined function out."""

    def __init__(self, lines):
        self.nodes = {}
        for line in lines:
            m = re.match(r"(!\d+) = (?:distinct )?!(DI\w+)\((.*)\)$", line)
            if m and m[2] in ("DILocation", "DISubprogram", "DIFile", "DILexicalBlock", "DILexicalBlockFile"):
                fields = dict(re.findall(r'(\w+): (!\d+|"[^"]*"|[-\w| ]+)', m[3]))
                self.nodes[m[1]] = fields

    def file_of(self, node):
        name = self.nodes.get(node.get("file"), {}).get("filename", '"?"').strip('"')
        if not os.path.isabs(name):
            directory = self.nodes.get(node.get("file"), {}).get("directory", '""').strip('"')
            name = os.path.join(directory, name)
        path = os.path.normpath(name)
        return os.path.relpath(path, ROOT) if path.startswith(ROOT + os.sep) else path

    def chain(self, number):
        places = []
        while number in self.nodes:
            location = self.nodes[number]
            scope = self.nodes.get(location.get("scope"), {})
            place = self.file_of(scope)
            while "name" not in scope and "scope" in scope:
                scope = self.nodes.get(scope["scope"], {})
            places.append((place, int(location.get("line", 0)), scope.get("name", '"?"').strip('"')))
            number = location.get("inlinedAt")
        return places


def functions_of(lines):
    """(symbol, [instruction text with its block]) of every definition; continuation lines are joined."""
    symbol, body, block = None, [], None
    for line in lines:
        if symbol is None:
            m = re.match(r'define .*?@("[^"]+"|[-\w.$]+)\(', line)
            if m:
                symbol, body, block = m[1].strip('"'), [], "%entry"
            continue
        if line.startswith("}"):
            yield symbol, body
            symbol = None
        elif re.match(r'("[^"]+"|[-\w.$]+):', line):
            block = "%" + re.match(r'("[^"]+"|[-\w.$]+):', line)[1]
        elif re.match(r"  (\S)", line) and not line.startswith("   ") and line.strip() != "]":
            body.append([block, line.strip()])
        elif body:
            body[-1][1] += " " + line.strip()


def parse(body):
    result = []
    for block, text in body:
        debug = re.search(r", !dbg (!\d+)", text)
        text = re.split(r", ![a-z]", text)[0] if not text.startswith("switch") else text
        m = re.match(r'(%(?:"[^"]*"|[-\w.$]+)) = (.*)', text)
        name, rest = (m[1], m[2]) if m else (None, text)
        op = next((w for w in rest.split() if w not in ("tail", "musttail", "notail")), "")
        result.append(Instruction(name, op, rest, NAME.findall(rest), block, debug[1] if debug else None))
    return result


def callee(i):
    m = re.search(r'@("[^"]+"|[-\w.$]+)\(', i.text)
    return m[1].strip('"') if m else ""


def additive(i):
    if i.op in ("fadd", "fsub"):
        return True
    if i.op not in ("call", "invoke"):
        return False
    name = callee(i)
    if re.match(r"llvm\.(experimental\.constrained\.)?(fma|fmuladd|fadd|fsub)\.", name) or name in ("fma", "fmaf", "fmal"):
        return True
    return re.match(r"llvm\.x86\..*(\.add\.p|\.sub\.p|vfm|vfnm|hadd|hsub|addsub|dpbf16)", name) is not None


def components(nodes, edges):
    """Strongly connected components (Tarjan, iterative)."""
    index, low, on_stack, stack, result = {}, {}, set(), [], []
    for root in nodes:
        if root in index:
            continue
        work = [(root, iter(edges.get(root, ())))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, successors = work[-1]
            for s in successors:
                if s not in index:
                    index[s] = low[s] = len(index)
                    stack.append(s)
                    on_stack.add(s)
                    work.append((s, iter(edges.get(s, ()))))
                    break
                if s in on_stack:
                    low[node] = min(low[node], index[s])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component = []
                    while True:
                        n = stack.pop()
                        on_stack.discard(n)
                        component.append(n)
                        if n == node:
                            break
                    result.append(component)
    return result


def loop_blocks(code):
    """Blocks on a cycle of the control flow."""
    blocks = list(dict.fromkeys(i.block for i in code))
    edges = collections.defaultdict(set)
    for i in code:
        if i.op in ("br", "switch", "invoke", "indirectbr", "callbr"):
            edges[i.block].update(re.findall(r'label (%(?:"[^"]*"|[-\w.$]+))', i.text))
    # The entry block's label is not printed when it is a number: nothing jumps to it, so its name does not matter.
    result = set()
    for component in components(blocks, edges):
        if len(component) > 1 or component[0] in edges[component[0]]:
            result.update(component)
    return result


def address_key(name, defs, depth=0):
    """A text equal for equal address computations."""
    i = defs.get(name)
    if i is None or depth > 12 or i.op in ("phi", "load", "call", "invoke", "alloca"):
        return name
    return re.sub(NAME, lambda m: "(" + address_key(m[0], defs, depth + 1) + ")" if m[0] in defs else m[0], i.text)


def loads_added_to(value, defs):
    """Addresses whose loaded value reaches `value` through at least one addition, unscaled: {address key: additions}."""
    found, seen, work = {}, set(), [(value, ())]
    while work:
        name, additions = work.pop()
        i = defs.get(name)
        if i is None or (name, bool(additions)) in seen:
            continue
        seen.add((name, bool(additions)))
        if i.op == "load":
            if additions:
                found.setdefault(address_key(i.operands[-1], defs), additions)
        elif additive(i):
            addends = i.operands if i.op in ("fadd", "fsub") else i.operands[-1:]
            if i.op == "call" and re.search(r"x86", i.text):
                addends = i.operands
            work += [(o, additions + (i,)) for o in addends]
        elif i.op in ("select", "phi", "fpext", "fptrunc", "freeze", "fneg", "bitcast"):
            work += [(o, additions) for o in i.operands]
    return found


def analyse(ir, want_libm):
    """Findings of one module."""
    lines = ir.split("\n")
    debug = Debug(lines)
    findings = []
    for symbol, body in functions_of(lines):
        code = parse(body)
        defs = {i.name: i for i in code if i.name}

        def report(kind, instructions, detail):
            for i in instructions:
                findings.append(Finding(kind, tuple(debug.chain(i.debug)), symbol, detail))

        # Data cycles. Comparisons, loads and addresses end a path: only values that flow count.
        edges = collections.defaultdict(set)
        for i in code:
            if i.name and i.op not in ("icmp", "fcmp", "load", "getelementptr", "alloca"):
                operands = i.operands[1:] if i.op == "select" else i.operands
                for o in operands:
                    if o in defs:
                        edges[o].add(i.name)
        for component in components(list(defs), edges):
            members = [defs[n] for n in component]
            if len(members) == 1 and members[0].name not in edges[members[0].name]:
                continue
            if not any(i.op == "phi" for i in members):
                continue
            adds = [i for i in members if additive(i)]
            unknown = [i for i in members if i.op in ("call", "invoke") and FP.search(i.text.split("@")[0]) and "llvm." not in callee(i)
                       and not additive(i)]
            report("register", adds, "a value added to in every round of a loop")
            report("register", unknown, "a value passed through %s in every round of a loop" % ", ".join(sorted({callee(i) for i in unknown})))

        looping = loop_blocks(code)
        anywhere = re.search(r"clE|omp_outlined|_M_invoke|__invoke", symbol) is not None
        for i in code:
            if i.op == "store" and FP.search(i.text.split(",")[0]) and (anywhere or i.block in looping):
                if len(i.operands) < 2:
                    continue
                additions = loads_added_to(i.operands[0], defs).get(address_key(i.operands[1], defs))
                if additions:
                    report("memory", additions[:1], "added to what the same address held")
            elif i.op == "atomicrmw" and re.search(r"\b(fadd|fsub)\b", i.text):
                report("reduction", [i], "an atomic floating-point addition")
            elif i.op in ("call", "invoke"):
                name = callee(i)
                if re.match(r"llvm\.vector\.reduce\.f(add|mul)", name) or re.match(r"llvm\.x86\..*(hadd\.p|dpp[sd])", name):
                    report("reduction", [i], name)
                if " asm " in i.text and re.search(r'asm [^"]*"[^"]*(v?(h?add|h?sub)[ps][sd]|vfn?m(add|sub))', i.text):
                    report("reduction", [i], "inline assembly with floating-point additions")
                base = name[:-1] if name and name[-1] in "fl" and name[:-1] in LIBM else name
                if want_libm and (base in LIBM or LLVM_LIBM.match(name)):
                    report("libm", [i], name)
    return findings


def compile_ir(command, source, directory):
    clang = shutil.which("clang++")
    flags, words = [], shlex.split(command)
    take_next = False
    for w in words[1:]:
        if take_next:
            flags.append(w)
            take_next = False
        elif w in ("-I", "-isystem", "-D", "-include"):
            flags.append(w)
            take_next = True
        elif re.match(r"-(I|D|U|isystem|std=|m|fopenmp)", w):
            flags.append(w)
    p = subprocess.run([clang, *flags, *CLANG_FLAGS, source], capture_output=True, text=True, cwd=directory)
    return p.returncode, p.stdout, p.stderr


SELF_TEST = {
    # name: (code, kinds of finding expected)
    "register": ("float f(const float* x, int n) { float s = 0; for (int i = 0; i < n; ++i) s += x[i]; return s; }", {"register"}),
    "register_select": ("float f(const float* x, int n) { float s = 0; for (int i = 0; i < n; ++i) s = x[i] > 0 ? s + x[i] : s; return s; }",
                        {"register"}),
    "register_fma": ("double f(const double* x, int n) { double s = 0; for (int i = 0; i < n; ++i) s = __builtin_fma(x[i], x[i], s); return s; }",
                     {"register"}),
    "register_decayed": ("float f(const float* x, int n) { float s = 0; for (int i = 0; i < n; ++i) s = (s + x[i]) * 0.5f; return s; }",
                         {"register"}),
    "register_negated": ("float f(const float* x, int n) { float s = 0; for (int i = 0; i < n; ++i) s -= x[i]; return s; }", {"register"}),
    "register_nested": ("float f(const float* x, int n, int m) { float s = 0; for (int i = 0; i < n; ++i) for (int j = 0; j < m; ++j) "
                        "s += x[i * m + j]; return s; }", {"register"}),
    "register_four": ("float f(const float* x, int n) { float s[2] = {0, 0}; for (int i = 0; i < n; i += 2) { s[0] += x[i]; s[1] += x[i + 1]; } "
                      "return s[0] + s[1]; }", {"register"}),
    "register_vector": ("typedef float V __attribute__((vector_size(16))); V f(const V* x, int n) { V s = {}; for (int i = 0; i < n; ++i) s += x[i]; "
                        "return s; }", {"register"}),
    "register_std": ("#include <numeric>\n#include <vector>\nfloat f(const std::vector<float>& x) { return std::accumulate(x.begin(), x.end(), 0.0f); }",
                     {"register"}),
    "memory_array": ("void f(float* y, const float* x, int n) { for (int i = 0; i < n; ++i) y[i] = y[i] + x[i]; }", {"memory"}),
    "memory_fma": ("void f(float* y, const float* x, int n) { for (int i = 0; i < n; ++i) y[i] = __builtin_fmaf(x[i], 2.0f, y[i]); }", {"memory"}),
    "memory_rows": ("void f(float* y, const float* x, int n, int m) { for (int j = 0; j < m; ++j) for (int i = 0; i < n; ++i) y[i] += x[j * n + i]; }",
                    {"memory"}),
    "memory_double": ("void f(float* y, const double* x, int n) { for (int i = 0; i < n; ++i) *y = static_cast<float>(*y + x[i]); }", {"memory", "register"}),
    "memory_lambda": ("#include <functional>\nvoid each(int n, const std::function<void(int)>& f);\n"
                      "float f(const float* x, int n) { float s = 0; each(n, [&](int i) { s += x[i]; }); return s; }", {"memory"}),
    "atomic": ("#include <atomic>\nvoid f(float* y, const float* x, int n) { for (int i = 0; i < n; ++i) "
               "__atomic_fetch_add(reinterpret_cast<int*>(y), 1, __ATOMIC_RELAXED), y[i] += x[i]; }", {"memory"}),
    "libm": ("#include <cmath>\nfloat f(float x) { return std::exp(x) + std::pow(x, 1.5f); }", {"libm"}),
    "libm_intrinsic": ("double f(double x) { return __builtin_log(x); }", {"libm"}),
    "integer": ("#include <cstdint>\nint64_t f(const float* x, int n) { int64_t s = 0; for (int i = 0; i < n; ++i) "
                "s += static_cast<int64_t>(static_cast<double>(x[i]) * 0x1p30); return s; }", set()),
    "integer_memory": ("#include <cstdint>\nvoid f(int64_t* y, const float* x, int n) { for (int i = 0; i < n; ++i) y[i] += static_cast<int64_t>(x[i]); }",
                       set()),
    "elementwise": ("float f(float* y, const float* x, int n) { float m = 0; for (int i = 0; i < n; ++i) { y[i] = x[i] + 2.0f * x[i + 1]; "
                    "m = y[i] > m ? y[i] : m; } return m; }", set()),
    "allowed_calls": ("float f(float x) { return __builtin_sqrtf(__builtin_fabsf(x)) + __builtin_fmaf(x, x, x); }", set()),
}


def self_test():
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, (code, expected) in SELF_TEST.items():
            source = os.path.join(folder, name + ".cc")
            with open(source, "w") as f:
                f.write(code + "\n")
            rc, ir, err = compile_ir("c++ -std=c++20", source, folder)
            if rc != 0:
                print("self-test %s does not compile:\n%s" % (name, err))
                bad += 1
                continue
            kinds = {f.kind for f in analyse(ir, True)}
            if (not expected and kinds) or (expected and not kinds & expected):
                print("self-test %s: expected %s, found %s" % (name, sorted(expected) or "nothing", sorted(kinds) or "nothing"))
                bad += 1
    print("no_float_sums: self-test %s (%d programs)" % ("passed" if bad == 0 else "FAILED", len(SELF_TEST)))
    return bad == 0


def read_allowed(path):
    """Lines `file | function | reason`; `#` starts a comment."""
    entries = []
    with open(path) as f:
        for number, line in enumerate(f, 1):
            if line.strip() and not line.startswith("#"):
                parts = [p.strip() for p in line.split("|")]
                if len(parts) != 3 or not all(parts):
                    sys.exit("%s:%d: expected `file | function | reason`" % (path, number))
                entries.append((parts[0], parts[1], number))
    return entries


def matches(entry, finding, demangled):
    file, function, _ = entry
    name = re.compile(r"(?<![\w])%s(?![\w])" % re.escape(function))
    files = {place[0] for place in finding.chain}
    return file in files and (any(name.search(place[2]) for place in finding.chain) or name.search(demangled) is not None)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--only", default="", help="only sources whose path contains this")
    options = parser.parse_args()
    if shutil.which("clang++") is None:
        print("no_float_sums: skipped, clang++ is not installed")
        return 77
    if not self_test():
        return 1
    if options.self_test:
        return 0

    with open(os.path.join(options.build, "compile_commands.json")) as f:
        commands = [c for c in json.load(f) if os.path.relpath(c["file"], ROOT).startswith(("kernels/", "engine/"))
                    and options.only in c["file"]]
    allowed_path = os.path.join(HERE, "no_float_sums_allowed.txt")
    allowed, used = read_allowed(allowed_path), set()

    def one(c):
        path = os.path.relpath(c["file"], ROOT)
        rc, ir, err = compile_ir(c["command"], c["file"], c["directory"])
        return path, rc, err, analyse(ir, path.startswith(NUMERICS)) if rc == 0 else []

    findings, broken = {}, 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for path, rc, err, found in pool.map(one, commands):
            if rc != 0:
                print("%s does not compile with clang++:\n%s" % (path, err))
                broken += 1
            for f in found:
                findings.setdefault((f.kind, f.chain, f.detail), (f, path))
    names = demangle(sorted({f.function for f, _ in findings.values()}))
    count = 0
    for f, path in sorted(findings.values(), key=str):
        hit = [e for e in allowed if matches(e, f, names[f.function])]
        # A finding inside the standard library or without a source place belongs to the file that was compiled.
        if hit:
            used.update(hit)
            continue
        count += 1
        ours = [p for p in f.chain if not os.path.isabs(p[0])] or [(path, 0, "")]
        print("%s:%d: %s: %s" % (ours[0][0], ours[0][1], f.kind, f.detail))
        print("    in %s" % names[f.function][:200])
        for place in f.chain[1:6]:
            print("    inlined at %s:%d (%s)" % (place[0], place[1], place[2]))
    if not options.only:
        for e in allowed:
            if e not in used:
                print("%s:%d: allows something that no longer exists: %s in %s" % (allowed_path, e[2], e[1], e[0]))
                count += 1
    print("no_float_sums: %d sources, %d findings, %d allowed entries used" % (len(commands), count, len(used)))
    return 2 if broken else 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
