#!/usr/bin/env python3
"""A second implementation of the numerics contract, first written from kernels/NUMERICS.md without the engine.

    python3 second_implementation.py NUMERICS.md

It recomputes the worked examples and the whole runs of section 26 with plain Python: no line is shared with the engine and
nothing outside the standard library is used. Later and with the engine in view came run D, the examples "rows of two tensors"
and "a score far below the others", the range test of attention and the sign of a rounded zero. Every check prints "ok" or the two values; every expected number below must
also stand in section 26 of the document that is named on the command line. Exit status 0 if all agree, else 1.

A binary32 value is held in a Python float (binary64) whose value is a binary32 number:
  * + - x of two such numbers, rounded to binary64 and then to binary32, equal the operation rounded once (53 >= 2*24 + 2);
    the same holds for / and sqrt. So fl32(a + b) is one binary32 operation.
  * fma() rounds to odd in binary64 before it rounds to binary32, which is one rounding of the exact value.
  * binary64 fma goes through exact fractions.
Python's round() of a float is the nearest integer, ties to even: the document's rint.
Numbers in brackets are sections of the document.
"""

import hashlib
import math
import re
import struct
import sys
import time
from fractions import Fraction
from operator import mul

INF = math.inf
_F = struct.Struct("f")
_D = struct.Struct("d")
_Q = struct.Struct("q")
_I = struct.Struct("I")


# ---------------------------------------------------------------------------------------------- arithmetic [2]

def fl32(x, pack=_F.pack, unpack=_F.unpack):
    """One rounding of a binary64 value to binary32; beyond the range it gives infinity (native packing is a C conversion)."""
    return unpack(pack(x))[0]


def bits32(x):
    return _I.unpack(_F.pack(x))[0]


def from_bits32(u):
    return _F.unpack(_I.pack(u & 0xFFFFFFFF))[0]


def fma(a, b, c, pack=_F.pack, unpack=_F.unpack):
    """binary32 a*b + c with one rounding. The product is exact in binary64; the sum is rounded to odd there."""
    p = a * b
    s = p + c
    t = s - p
    error = (p - (s - t)) + (c - t)
    if error != 0.0 and error == error and not _Q.unpack(_D.pack(s))[0] & 1:
        s = math.nextafter(s, INF if error > 0 else -INF)
    return unpack(pack(s))[0]


def fma64(a, b, c):
    return float(Fraction(a) * Fraction(b) + Fraction(c))  # Fraction to float is one correct rounding


def rint(x):
    """Nearest integer as a float; a zero is +0."""
    return float(round(x))


def int_to_fl32(s):
    """fl32(S) of an integer, directly: bits that binary64 cannot hold become one sticky bit."""
    a = abs(s)
    n = a.bit_length() - 50
    if n > 0:
        top = a >> n
        if top << n != a:
            top |= 1
        a = math.ldexp(float(top), n)
    r = fl32(float(a))
    return -r if s < 0 else r


def scale(x, n):
    return fl32(math.ldexp(x, n))


def grid(s, n):
    return fl32(math.ldexp(int_to_fl32(s), n))


def bf16(x):
    u = bits32(x)
    if x != x:
        return x
    return from_bits32((u + 0x7FFF + ((u >> 16) & 1)) & 0xFFFF0000)


def fp16(x):
    """binary32 to binary16 to nearest even, as the value; 65520 and above give infinity."""
    if abs(x) >= 65520.0:
        return math.copysign(INF, x)
    return struct.unpack("<e", struct.pack("<e", x))[0]


def fp16_bits(x):
    return struct.unpack("<H", struct.pack("<e", x))[0]


def floats_to_bytes(values):
    return struct.pack("<%df" % len(values), *values)


# ---------------------------------------------------------------------------------------------- functions [3]

def H(text):
    return [float.fromhex(t) for t in text.split()]


def horner(coefficients, x):
    p = coefficients[0]
    for c in coefficients[1:]:
        p = fma(p, x, c)
    return p


EXP2 = H("0x1.5bd2aep-16 0x1.3262dep-13 0x1.5efc6ap-10 0x1.3b1a32p-7 0x1.c6b14p-5 0x1.ebfbdep-3 0x1.62e43p-1 0x1p0")
EXP = H("0x1.6d117cp-10 0x1.120be2p-7 0x1.555518p-5 0x1.5554dcp-3 0x1p-1")
LOG = H("0x1.ddf01ap-3 0x1.245ba6p-2 0x1.9999ecp-2 0x1.555556p-1")
TANH = H("0x1.36bdb2p-9 -0x1.1394cap-7 0x1.64fad8p-6 -0x1.ba0d94p-5 0x1.1110f6p-3 -0x1.555556p-2")
SIN = H("0x1.6dbbeep-19 -0x1.a013a2p-13 0x1.11110ep-7 -0x1.555556p-3")
COS = H("-0x1.2522e6p-22 0x1.a015cp-16 -0x1.6c16cp-10 0x1.555556p-5")
LOG2_64 = H("0x1.00ecd7e080215p-3 0x1.1964ec6fc9491p-3 0x1.3703c1f4d0ffep-3 0x1.5b9ac9b743f0dp-3 0x1.89f3b1694cffep-3 "
            "0x1.c68f568d31760p-3 0x1.0c9a84994022dp-2 0x1.484b13d7c02a9p-2 0x1.a61762a7aded9p-2 0x1.2776c50ef9bfep-1 "
            "0x1.ec709dc3a03fdp-1 0x1.71547652b82fep+1")
EXP2_64 = H("0x1.93974a8c07c9dp-37 0x1.6124613a86d09p-33 0x1.1eed8eff8d898p-29 0x1.ae64567f544e4p-26 "
            "0x1.27e4fb7789f5cp-22 0x1.71de3a556c734p-19 0x1.a01a01a01a01ap-16 0x1.a01a01a01a01ap-13 "
            "0x1.6c16c16c16c17p-10 0x1.1111111111111p-7 0x1.5555555555555p-5 0x1.5555555555555p-3 0x1p-1")
(EXP_INVERSE, EXP_HIGH, EXP_LOW, LOG_LOW, LOG_HIGH, TANH_LIMIT, TWO_OVER_PI, PI_1, PI_2, PI_3, SQRT_HALF_64, LN2_64,
 LOG2E_64, TWO_PI) = H(
    "0x1.715476p+0 -0x1.62e4p-1 -0x1.7f7d1cp-20 0x1.7f7d1cp-20 0x1.62e4p-1 0x1.333334p-1 0x1.45f306p-1 -0x1.921fb6p+0 "
    "0x1.777a5cp-25 0x1.ee59dap-50 0x1.6a09e667f3bcdp-1 0x1.62e42fefa39efp-1 0x1.71547652b82fep+0 0x1.921fb6p+2")


def exp2_unit(f):
    return horner(EXP2, f)


def exp(x):
    c = -104.0 if x < -104.0 else 89.0 if x > 89.0 else x
    kf = rint(fl32(c * EXP_INVERSE))
    k = int(kf)
    r = fma(kf, EXP_HIGH, c)
    r = fma(kf, EXP_LOW, r)
    e = fl32(1.0 + fma(fl32(r * r), horner(EXP, r), r))
    h = k >> 1
    return scale(scale(e, h), k - h)


def log(x):
    if x == 0.0:
        return -INF
    if x != x or x < 0.0:
        return math.nan
    if x == INF:
        return x
    scaled = x < 2.0 ** -126
    o = (bits32(x * 2.0 ** 25 if scaled else x) - 0x3F3504F3) & 0xFFFFFFFF
    k = (o - (1 << 32) if o >> 31 else o) >> 23
    m = from_bits32((o & 0x7FFFFF) + 0x3F3504F3)
    kf = float(k - 25 if scaled else k)
    f = fl32(m - 1.0)
    s = fl32(f / fl32(2.0 + f))
    z = fl32(s * s)
    r = fl32(horner(LOG, z) * z)
    h = fl32(fl32(0.5 * f) * f)
    low = fma(kf, LOG_LOW, fl32(s * fl32(h + r)))
    return fma(kf, LOG_HIGH, fl32(f - fl32(h - low)))


def tanh(x):
    a = abs(x)
    if a < TANH_LIMIT:
        z = fl32(x * x)
        result = fma(fl32(x * z), horner(TANH, z), x)
    else:
        e = exp(fl32(2.0 * min(a, 12.0)))
        result = fl32(1.0 - fl32(2.0 / fl32(e + 1.0)))
    return math.copysign(result, x)


def sigmoid(x):
    e = exp(-abs(x))
    u = fl32(1.0 / fl32(1.0 + e))
    return fl32(e * u) if x < 0 else u


def sin_cos(x):
    n = rint(fl32(x * TWO_OVER_PI))
    r = fma(n, PI_1, x)
    r = fma(n, PI_2, r)
    r = fma(n, PI_3, r)
    z = fl32(r * r)
    s = fma(fl32(r * z), horner(SIN, z), r)
    c = fma(fl32(z * z), horner(COS, z), fma(z, -0.5, 1.0))
    return ((s, c), (c, -s), (-s, -c), (-c, s))[int(n) % 4]


def sqrt32(x):
    return fl32(math.sqrt(x))


def horner64(coefficients, x):
    p = coefficients[0]
    for c in coefficients[1:]:
        p = fma64(p, x, c)
    return p


def log2_64(x):
    m, k = math.frexp(x)
    if m < SQRT_HALF_64:
        m, k = m * 2.0, k - 1
    s = (m - 1.0) / (m + 1.0)
    return fma64(s, horner64(LOG2_64, s * s), float(k))


def exp2_64(x):
    n = round(x)
    r = (x - n) * LN2_64
    p = fma64(r * r, horner64(EXP2_64, r), r)
    return math.ldexp(1.0 + p, n)


def pow_64(b, y):
    return exp2_64(y * log2_64(b))


def pow_int_64(b, n):
    t = 1.0
    while n:
        if n & 1:
            t = t * b
        b = b * b
        n >>= 1
    return t


# ---------------------------------------------------------------------------------------------- quantiser and products [5, 6]

LIMIT = {7: 127, 14: 16319, 21: 2088895, 24: 16777215}
BITS = {"p3": 14, "p4": 14, "s21": 21}


class Stop(Exception):
    """An error stop: no bits are defined after it."""


def quantise(x, b):
    m = max(map(abs, x), default=0.0)
    if not all(map(math.isfinite, x)):
        raise Stop("a quantiser met a value that is not finite")
    e = -100
    if m != 0.0:
        f, exponent = math.frexp(m)
        if exponent >= -100:
            e = exponent + 1 if round(math.ldexp(f, b)) > LIMIT[b] else exponent
    n = b - e
    return e, [round(math.ldexp(v, n)) for v in x]


def low(q):
    return ((q + 64) & 127) - 64


def up(q):
    return (q + 64) >> 7


def digits(kind, q):
    """The integers and the slices that a product of this kind needs in order to drop its smallest slice products."""
    if kind == "p4":
        return (q,)
    if kind == "p3":
        return q, [low(v) for v in q]
    return q, [low(up(v)) for v in q], [low(v) for v in q]


def contract(kind, a, b):
    """S: all slice products less the dropped ones. Lists of different length are cut to the shorter one."""
    s = sum(map(mul, a[0], b[0]))
    if kind == "p3":
        s -= sum(map(mul, a[1], b[1]))
    elif kind == "s21":
        s -= 128 * (sum(map(mul, a[1], b[2])) + sum(map(mul, a[2], b[1]))) + sum(map(mul, a[2], b[2]))
    return s


def operand(kind, rows):
    result = []
    for row in rows:
        e, q = quantise(row, BITS[kind])
        result.append((e, digits(kind, q)))
    return result


def product(kind, a, b):
    """C[m][n] = sum over k of a[m][k] b[n][k]."""
    b2 = 2 * BITS[kind]
    qb = operand(kind, b)
    return [[grid(contract(kind, da, db), ea + eb - b2) for eb, db in qb] for ea, da in operand(kind, a)]


def columns(m):
    return [list(c) for c in zip(*m)]


# ---------------------------------------------------------------------------------------------- rows [7]

def dot(a, b):
    ea, qa = quantise(a, 24)
    eb, qb = quantise(b, 24)
    return grid(sum(map(mul, qa, qb)), ea + eb - 48)


def rms_norm(x):
    v = fl32(fl32(dot(x, x) / len(x)) + 2.0 ** -23)
    if not math.isfinite(v):
        raise Stop("a row norm's input is not finite")
    r = fl32(1.0 / sqrt32(v))
    return [fl32(a * r) for a in x], r


def rms_norm_backward(dy, y, r):
    c = fl32(dot(dy, y) / len(y))
    return [fl32(r * fl32(g - fl32(a * c))) for g, a in zip(dy, y)]


def add(x, y):
    return [fl32(a + b) for a, b in zip(x, y)]


def times(s, x):
    return [fl32(a * b) for a, b in zip(s, x)]


def scaled_add(x, s, a):
    return [fl32(p + fl32(q * r)) for p, q, r in zip(x, s, a)]


def mix(x, x0, m0, m1):
    return [fl32(fl32(a * p) + fl32(b * q)) for p, q, a, b in zip(x, x0, m0, m1)]


def relu_squared(a):
    return [fl32(v * v) if v > 0.0 else 0.0 for v in a]


def relu_squared_backward(a, dh):
    return [fl32(fl32(2.0 * v) * g) if v > 0.0 else 0.0 for v, g in zip(a, dh)]


def sum_of_squares(tensors):
    rows = []
    for t in tensors:
        for i in range(0, len(t), 4096):
            e, q = quantise(t[i:i + 4096], 24)
            rows.append(math.ldexp(float(sum(map(mul, q, q))), 2 * (e - 24)))
    m = max(rows, default=0.0)
    if m == 0.0:
        return 0.0
    _, e = math.frexp(m)
    return math.ldexp(float(sum(round(math.ldexp(r, 40 - e)) for r in rows)), e - 40)


# ---------------------------------------------------------------------------------------------- rope [8]

def rope_table(length, width, base, theta_bf16):
    thetas = []
    for i in range(width // 2):
        theta = fl32(pow_64(base, (-2.0 * i) / width))
        thetas.append(bf16(theta) if theta_bf16 else theta)
    return [[sin_cos(fl32(float(p) * t)) for t in thetas] for p in range(length)]


def rope(row, angles, backward=False):
    h = len(angles)
    out = [0.0] * (2 * h)
    for i, (s, c) in enumerate(angles):
        x, y = row[i], row[i + h]
        xc, ys, yc, xs = fl32(x * c), fl32(y * s), fl32(y * c), fl32(x * s)
        out[i] = fl32(xc - ys) if backward else fl32(xc + ys)
        out[i + h] = fl32(yc + xs) if backward else fl32(yc - xs)
    return out


# ---------------------------------------------------------------------------------------------- attention [9]

BLOCK = 64


def probability(t, m):
    """(f, d, p, l) of one score t and the row's M."""
    c = max(t, float(m - 128))
    n = math.floor(c)
    f = exp2_unit(fl32(c - n))
    d = m - n
    p = math.ldexp(f, -d) if d <= 126 else 0.0
    return f, d, p, round(math.ldexp(f, 30 - d))


class Heads:
    """Quantised rows of one head: exponents, digits per token, and digits per column of each block of 64 tokens."""

    def __init__(self, kind, rows):
        quantised = operand(kind, rows)
        self.e = [e for e, _ in quantised]
        self.digits = [d for _, d in quantised]
        if max(self.e) > 100:
            raise Stop("an exponent of attention is above 100")
        self.blocks = []
        for first in range(0, len(rows), BLOCK):
            part = self.digits[first:first + BLOCK]
            self.blocks.append([tuple([d[s][c] for d in part] for s in range(len(part[0])))
                                for c in range(len(rows[0]))])


def block_sums(kind, terms, operand_columns, g, totals):
    """Adds rint(S 2^(eu - 2b - G)) of one group to the integers of a row of results."""
    b = BITS[kind]
    eu, u = quantise(terms, b)
    du = digits(kind, u)
    for d, column in enumerate(operand_columns):
        totals[d] += round(math.ldexp(float(contract(kind, du, column)), eu - 2 * b - g))


def attention_forward(kind, q, k, v):
    """q, k, v: one list of token rows per head. Returns the outputs per query head and what the backward pass needs."""
    tokens, width, heads, key_heads = len(q[0]), len(q[0][0]), len(q), len(k)
    b2 = 2 * BITS[kind]
    factor = fl32(LOG2E_64 / math.sqrt(width))
    Q, K, V = [Heads(kind, x) for x in q], [Heads(kind, x) for x in k], [Heads(kind, x) for x in v]
    out, saved = [], []
    for h in range(heads):
        qh, kh, vh = Q[h], K[h * key_heads // heads], V[h * key_heads // heads]
        rows, keep = [], []
        g = None
        for i in range(tokens):
            t = [fl32(grid(contract(kind, qh.digits[i], kh.digits[j]), qh.e[i] + kh.e[j] - b2) * factor)
                 for j in range(i + 1)]
            if not abs(max(t)) <= 2.0 ** 21:
                raise Stop("an attention score is out of range")
            m = math.floor(max(t))
            parts = [probability(x, m) for x in t]
            p = [x[2] for x in parts]
            total = sum(x[3] for x in parts)
            g = vh.e[i] - 40 if g is None else max(g, vh.e[i] - 40)
            acc = [0] * width
            for n, first in enumerate(range(0, i + 1, BLOCK)):
                last = min(first + BLOCK, i + 1)
                w = [scale(p[j], vh.e[j]) for j in range(first, last)]
                block_sums(kind, w, vh.blocks[n], g, acc)
            l = grid(total, -30)
            rows.append([fl32(grid(a, g) / l) for a in acc])
            keep.append((t, m, p, total))
        out.append(rows)
        saved.append(keep)
    return out, (Q, K, V, saved)


def attention_backward(kind, d_out, context):
    Q, K, V, saved = context
    heads, key_heads, tokens, width = len(Q), len(K), len(saved[0]), len(d_out[0][0])
    b2 = 2 * BITS[kind]
    inverse_root = fl32(1.0 / math.sqrt(width))
    dq = [None] * heads
    dk, dv = [], []
    for hk in range(key_heads):
        group = [h for h in range(heads) if h * key_heads // heads == hk]
        kh, vh = K[hk], V[hk]
        O = {h: Heads(kind, d_out[h]) for h in group}
        mo, mq = max(max(O[h].e) for h in group), max(max(Q[h].e) for h in group)
        mk, mv = max(kh.e), max(vh.e)
        acc_k = [[0] * width for _ in range(tokens)]
        acc_v = [[0] * width for _ in range(tokens)]
        for h in group:
            P = [None] * tokens
            dS = [None] * tokens
            dq[h] = []
            for i in range(tokens):
                _, _, p, total = saved[h][i]
                r = fl32(1.0 / grid(total, -30))
                P[i] = [fl32(x * r) for x in p]
                dp = [grid(contract(kind, O[h].digits[i], vh.digits[j]), O[h].e[i] + vh.e[j] - b2) for j in range(i + 1)]
                g = O[h].e[i] + max(vh.e[:i + 1]) - 40
                delta = grid(sum(round(math.ldexp(fl32(a * c), -g)) for a, c in zip(P[i], dp)), g)
                dS[i] = [fl32(a * fl32(c - delta)) for a, c in zip(P[i], dp)]
                acc = [0] * width
                for n, first in enumerate(range(0, i + 1, BLOCK)):
                    terms = [scale(dS[i][j], kh.e[j]) for j in range(first, min(first + BLOCK, i + 1))]
                    block_sums(kind, terms, kh.blocks[n], mo + mv + mk - 36, acc)
                dq[h].append([fl32(grid(a, mo + mv + mk - 36) * inverse_root) for a in acc])
            for j in range(tokens):
                for n, first in enumerate(range(0, tokens, BLOCK)):
                    block = range(first, min(first + BLOCK, tokens))
                    if block[-1] < j:
                        continue
                    terms = [scale(dS[i][j], Q[h].e[i]) if j <= i else 0.0 for i in block]
                    block_sums(kind, terms, Q[h].blocks[n], mo + mv + mq - 36, acc_k[j])
                    terms = [scale(P[i][j], O[h].e[i]) if j <= i else 0.0 for i in block]
                    block_sums(kind, terms, O[h].blocks[n], mo - 40, acc_v[j])
        dk.append([[fl32(grid(a, mo + mv + mq - 36) * inverse_root) for a in row] for row in acc_k])
        dv.append([[grid(a, mo - 40) for a in row] for row in acc_v])
    return dq, dk, dv


# ---------------------------------------------------------------------------------------------- loss [10]

def cross_entropy(u, cap, y):
    """(nll, gradient of u, and the steps that the worked example lists)."""
    z = [fl32(cap * tanh(fl32(v / cap))) for v in u] if cap else u
    if not all(map(math.isfinite, z)):
        raise Stop("a logit is not finite")
    m = max(z)
    w = [exp(fl32(v - m)) for v in z]
    units = [round(math.ldexp(v, 30)) for v in w]
    s = grid(sum(units), -30)
    nll = fl32(log(s) + fl32(m - z[y]))
    if not nll < 1024.0:
        raise Stop("an nll is not below 1024")
    inverse = fl32(1.0 / s)
    a = [fl32(v * inverse) for v in w]
    a[y] = fl32(a[y] - 1.0)
    if cap:
        c = [fl32(v / cap) for v in z]
        a = [fl32(p * fl32(1.0 - fl32(q * q))) for p, q in zip(a, c)]
    return nll, a, (z, w, units, s)


# ---------------------------------------------------------------------------------------------- random numbers [14]

def philox(block, seed, word, purpose):
    m32 = 0xFFFFFFFF
    k0, k1 = seed & m32, seed >> 32 & m32
    c0, c1, c2, c3 = block & m32, block >> 32 & m32, word, purpose
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & m32, (p0 >> 32) ^ c3 ^ k1, p0 & m32
        k0, k1 = (k0 + 0x9E3779B9) & m32, (k1 + 0xBB67AE85) & m32
    return c0, c1, c2, c3


def tensor_word(name):
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def to_uniform(r):
    return (2 * (r >> 9) + 1) * 2.0 ** -24


def uniform(i, seed, name):
    return to_uniform(philox(i // 4, seed, tensor_word(name), 1)[i % 4])


def normal(i, seed, name):
    words = philox(i // 4, seed, tensor_word(name), 1)
    first = 0 if i % 4 < 2 else 2
    u1, u2 = to_uniform(words[first]), to_uniform(words[first + 1])
    radius = sqrt32(fl32(-2.0 * log(u1)))
    s, c = sin_cos(fl32(TWO_PI * u2))
    return fl32(radius * (s if i % 2 else c))


# ---------------------------------------------------------------------------------------------- quantised weights [17]

Q_QUANTILE = float.fromhex("0x1.ffffcap-1")


def quantile(magnitudes, q=Q_QUANTILE):
    a = sorted(magnitudes)
    position = fl32(q * float(len(a) - 1))
    lo = math.floor(position)
    w = fl32(position - lo)
    hi = lo + 1 if w > 0.0 else lo
    delta = fl32(a[hi] - a[lo])
    return fma(w, delta, a[lo]) if w < 0.5 else fma(-fl32(1.0 - w), delta, a[hi])


def clamp(x, c):
    return -c if x < -c else c if x > c else x


def fake_quantise_row(row):
    w = [bf16(v) for v in row]
    c = max(quantile([abs(v) for v in w]), float.fromhex("0x1.5798eep-27"))
    s = fl32(c / 31.0)
    return [bf16(fl32(rint(fl32(clamp(v, c) / s)) * s)) for v in w], w, c, s


def export_row(row, limit):
    c = quantile([abs(v) for v in row])
    s = max(fl32(c / limit), fl32(1.0 / limit))
    q = [max(-limit, min(limit, round(fl32(clamp(v, c) / s)))) for v in row]
    if not math.isfinite(fp16(s)):
        raise Stop("a scale is beyond binary16")
    return q, s


def export_class(name, shape, mixed):
    if math.prod(shape) <= 65536:
        kept = ("attn_scale", "mlp_scale", "resid_mix", "q_gain", "skip_weight")
        return "binary32" if any(k in name for k in kept) else "fp16"
    if len(shape) != 2:
        raise Stop("a large tensor that is not a matrix")
    return 31 if mixed and "tok_emb" not in name else 127


def restore_row(q, s, to_bf16):
    stored = fp16(s)
    return [bf16(v * stored) if to_bf16 else fl32(v * stored) for v in q]


# ---------------------------------------------------------------------------------------------- data and evaluation [18]

def step_sequences(tokens, step, batch_tokens, workers, seq_len):
    """(inputs, targets) of every sequence of a step."""
    share = batch_tokens // workers
    position = step * (batch_tokens + workers)
    inputs, targets = [], []
    for w in range(workers):
        read = [tokens[(position + w * (share + 1) + i) % len(tokens)] for i in range(share + 1)]
        inputs += read[:-1]
        targets += read[1:]
    cut = range(0, batch_tokens, seq_len)
    return [(inputs[i:i + seq_len], targets[i:i + seq_len]) for i in cut]


def windows(method, predictions, length, stride):
    """(start, length, first scored position) of every window."""
    if method == "standard":
        return [(s, length, 0) for s in range(0, predictions, length)]
    if method == "sliding_c":
        result = []
        for s in range(0, predictions, stride):
            n = min(length, predictions - s)
            result.append((s, n, 0 if s == 0 else n - min(stride, n)))
        return result
    starts = list(range(0, predictions - length + 1, stride))
    result = [(s, length, length - stride) for s in starts]
    if method == "sliding_b":
        result = [(s, length, 0 if s == 0 else length - stride) for s in starts]
        reached = starts[-1] + length if starts else 0
        if reached < predictions:
            s = max(predictions - length, 0)
            result.append((s, predictions - s, reached - s))
    return result


def scored_positions(method, window, stride):
    start, length, first = window
    if method == "sliding_d" and start == 0:
        return range(0, stride)
    return range(start + first, start + length)


def loss_units(nll):
    return round(math.ldexp(nll, 26))


def evaluation_totals(units, predictions, count_bytes):
    nats = math.ldexp(float(units), -26)
    return nats / predictions, nats / (LN2_64 * count_bytes)


def prediction_bytes(previous, target):
    """Pieces are (kind, text), kind one of boundary, byte, normal."""
    def begins(text):
        return text.startswith("\u2581")
    kind, text = target
    base = 0 if kind == "boundary" else 1 if kind == "byte" else len((text[1:] if begins(text) else text).encode())
    return base + (1 if begins(text) and previous[0] != "boundary" else 0)


# ---------------------------------------------------------------------------------------------- gradients [13]

class Accumulator:
    """int64 units of 2^-30 per parameter element; each term is tested against the limit of its kind."""

    def __init__(self, tensors, step_tokens, step_chunks):
        self.units = {name: [0] * len(t) for name, t in tensors.items()}
        self.token_limit, self.chunk_limit = [2.0 ** (31 - (n - 1).bit_length()) for n in (step_tokens, step_chunks)]
        self.tokens = fl32(float(step_tokens))

    def wants(self, name):
        return name in self.units

    def _add(self, name, offset, values, limit):
        units = self.units[name]
        for i, v in enumerate(values, offset):
            if not abs(v) <= limit:
                raise Stop("a gradient term of %s is beyond its limit" % name)
            units[i] += round(math.ldexp(v, 30))

    def per_token(self, name, offset, values):
        self._add(name, offset, values, self.token_limit)

    def per_chunk(self, name, matrix):
        self._add(name, 0, [v for row in matrix for v in row], self.chunk_limit)

    def mean(self, name):
        return [fl32(grid(a, -30) / self.tokens) for a in self.units[name]]


# ---------------------------------------------------------------------------------------------- the model [11, 12]

MATRICES = ("attn.c_q.weight", "attn.c_k.weight", "attn.c_v.weight", "attn.proj.weight", "mlp.fc.weight",
            "mlp.proj.weight")


class Model:
    def __init__(self, cfg):
        self.cfg = cfg
        d, f, heads, kv = cfg["d"], cfg["f"], cfg["H"], cfg["Hk"] * cfg["d"] // cfg["H"]
        self.encoders = cfg["N"] // 2
        self.skips = min(self.encoders, cfg["N"] - self.encoders)
        self.shapes = {"skip_weights": (self.skips, d), "tok_emb.weight": (cfg["V"], d)}
        block = {"attn_scale": (d,), "mlp_scale": (d,), "resid_mix": (2, d), "attn.q_gain": (heads,),
                 "attn.c_q.weight": (d, d), "attn.c_k.weight": (kv, d), "attn.c_v.weight": (kv, d),
                 "attn.proj.weight": (d, d), "mlp.fc.weight": (f, d), "mlp.proj.weight": (d, f)}
        for l in range(cfg["N"]):
            for name, shape in block.items():
                self.shapes["blocks.%d.%s" % (l, name)] = shape
        self.tensors = {name: self.initial(name, shape) for name, shape in self.shapes.items()}

    def initial(self, name, shape):
        n, seed = math.prod(shape), self.cfg["seed"]
        if name == "tok_emb.weight":
            std = fl32(self.cfg["std"])
            return [bf16(fl32(normal(i, seed, name) * std)) for i in range(n)]
        if name.endswith("proj.weight"):
            return [0.0] * n
        if name.endswith(".weight"):
            bound = fl32(1.0 / sqrt32(float(shape[1])))
            return [bf16(fl32(fl32(fl32(2.0 * uniform(i, seed, name)) - 1.0) * bound)) for i in range(n)]
        if name.endswith("q_gain"):
            return [bf16(fl32(self.cfg["qk_gain"]))] * n
        if name.endswith("resid_mix"):
            return [1.0] * (n // 2) + [0.0] * (n // 2)
        return [1.0] * n

    def rows(self, name):
        t, width = self.tensors[name], self.shapes[name][1]
        return [t[i:i + width] for i in range(0, len(t), width)]

    def weights(self, training):
        """The matrices as rows; with fake quantisation in training passes those of the blocks are replaced."""
        result = {}
        for name in self.shapes:
            if name.endswith(".weight"):
                rows = self.rows(name)
                if training and self.cfg["fake"] and name != "tok_emb.weight":
                    rows = [fake_quantise_row(r)[0] for r in rows]
                result[name] = rows
        return result

    def split(self, rows, first, last, heads):
        width = len(rows[0]) // heads
        return [[r[h * width:(h + 1) * width] for r in rows[first:last]] for h in range(heads)]

    def forward(self, sequences, training):
        """sequences: (inputs, targets) of one length. Fills self.tape and returns the nll of every token."""
        cfg, p = self.cfg, self.tensors
        W = self.weights(training)
        T, H_, Hk, d = len(sequences[0][0]), cfg["H"], cfg["Hk"], cfg["d"]
        ids = [t for inputs, _ in sequences for t in inputs]
        targets = [t for _, outputs in sequences for t in outputs]
        angles = rope_table(T, d // H_, cfg["base"], cfg["theta_bf16"])
        norm = [rms_norm(W["tok_emb.weight"][t]) for t in ids]
        x0, r0 = [a for a, _ in norm], [r for _, r in norm]
        x, kept, layers = x0, [], []
        for l in range(cfg["N"]):
            B = "blocks.%d." % l
            c = {}
            if l >= self.encoders and kept:
                c["skip"] = l - self.encoders
                c["kept"], c["kept_layer"] = kept.pop()
                s = self.rows("skip_weights")[c["skip"]]
                x = [scaled_add(a, s, k) for a, k in zip(x, c["kept"])]
            c["x"] = x
            m0, m1 = self.rows(B + "resid_mix")
            u = [mix(a, b, m0, m1) for a, b in zip(x, x0)]
            c["n"], c["n_r"] = zip(*[rms_norm(a) for a in u])
            q = product(cfg["linear"], c["n"], W[B + "attn.c_q.weight"])
            k = product(cfg["linear"], c["n"], W[B + "attn.c_k.weight"])
            v = product(cfg["linear"], c["n"], W[B + "attn.c_v.weight"])
            gain = p[B + "attn.q_gain"]
            c["sequences"], o = [], []
            for first in range(0, len(ids), T):
                s = {}
                for key, rows, heads in (("q", q, H_), ("k", k, Hk)):
                    normed = [[rms_norm(r) for r in head] for head in self.split(rows, first, first + T, heads)]
                    s[key + "_norm"] = normed
                    s[key] = [[rope(y, angles[i]) for i, (y, _) in enumerate(head)] for head in normed]
                gained = [[[fl32(gain[h] * a) for a in row] for row in head] for h, head in enumerate(s["q"])]
                out, s["attention"] = attention_forward(cfg["attention"], gained, s["k"],
                                                        self.split(v, first, first + T, Hk))
                o += [[a for h in range(H_) for a in out[h][i]] for i in range(T)]
                c["sequences"].append(s)
            c["o"] = o
            c["a"] = product(cfg["linear"], o, W[B + "attn.proj.weight"])
            y = [scaled_add(b, p[B + "attn_scale"], a) for b, a in zip(u, c["a"])]
            c["m"], c["m_r"] = zip(*[rms_norm(a) for a in y])
            c["h"] = product(cfg["linear"], c["m"], W[B + "mlp.fc.weight"])
            c["g"] = [relu_squared(a) for a in c["h"]]
            c["b"] = product(cfg["linear"], c["g"], W[B + "mlp.proj.weight"])
            x = [scaled_add(a, p[B + "mlp_scale"], b) for a, b in zip(y, c["b"])]
            if l < self.encoders:
                kept.append((x, l))
            layers.append(c)
        hidden, r = zip(*[rms_norm(a) for a in x])
        logits = product(cfg["head"], hidden, W["tok_emb.weight"])
        losses = [cross_entropy(u, cfg["cap"], t) for u, t in zip(logits, targets)]
        self.tape = dict(W=W, ids=ids, T=T, x0=x0, r0=r0, layers=layers, hidden=hidden, r=r, angles=angles,
                         du=[g for _, g, _ in losses])
        return [n for n, _, _ in losses]

    def backward(self, acc):
        cfg, p, tape = self.cfg, self.tensors, self.tape
        W, T, H_, Hk, d = tape["W"], tape["T"], cfg["H"], cfg["Hk"], cfg["d"]
        skip_gradient = {}

        def wgrad(name, dy, x):
            acc.per_chunk(name, product(cfg["wgrad"], columns(dy), columns(x)))

        def dgrad(dy, name):
            return product(cfg["dgrad"], dy, columns(W[name]))

        def norm_backward(dy, y, r):
            return [rms_norm_backward(a, b, c) for a, b, c in zip(dy, y, r)]

        def add_rows(a, b):
            return [add(p_, q_) for p_, q_ in zip(a, b)]

        def per_token(name, offset, a, b):
            for p_, q_ in zip(a, b):
                acc.per_token(name, offset, times(p_, q_))

        wgrad("tok_emb.weight", tape["du"], tape["hidden"])
        dx = norm_backward(dgrad(tape["du"], "tok_emb.weight"), tape["hidden"], tape["r"])
        dx0 = None
        for l in reversed(range(cfg["N"])):
            c, B = tape["layers"][l], "blocks.%d." % l
            if l in skip_gradient:                                                                   # step 1
                dx = add_rows(skip_gradient.pop(l), dx)
            db = [times(p[B + "mlp_scale"], a) for a in dx]                                          # step 2
            per_token(B + "mlp_scale", 0, dx, c["b"])
            dg = dgrad(db, B + "mlp.proj.weight")                                                    # step 3
            wgrad(B + "mlp.proj.weight", db, c["g"])
            dh = [relu_squared_backward(a, g) for a, g in zip(c["h"], dg)]
            dm = dgrad(dh, B + "mlp.fc.weight")
            wgrad(B + "mlp.fc.weight", dh, c["m"])
            dy = add_rows(dx, norm_backward(dm, c["m"], c["m_r"]))                                   # step 4
            da = [times(p[B + "attn_scale"], a) for a in dy]                                         # step 5
            per_token(B + "attn_scale", 0, dy, c["a"])
            do = dgrad(da, B + "attn.proj.weight")
            wgrad(B + "attn.proj.weight", da, c["o"])
            dq, dk, dv = [], [], []                                                                  # steps 6, 7
            gain = p[B + "attn.q_gain"]
            for s, first in zip(c["sequences"], range(0, len(do), T)):
                gq, gk, gv = attention_backward(cfg["attention"], self.split(do, first, first + T, H_), s["attention"])
                for h in range(H_):
                    for i in range(T):
                        acc.per_token(B + "attn.q_gain", h, [dot(gq[h][i], s["q"][h][i])])
                    gq[h] = [[fl32(gain[h] * a) for a in row] for row in gq[h]]
                for gradient, key, heads in ((gq, "q", H_), (gk, "k", Hk)):
                    for h in range(heads):
                        turned = [rope(row, tape["angles"][i], True) for i, row in enumerate(gradient[h])]
                        gradient[h] = [rms_norm_backward(a, y, r) for a, (y, r) in zip(turned, s[key + "_norm"][h])]
                for gradient, rows, heads in ((gq, dq, H_), (gk, dk, Hk), (gv, dv, Hk)):
                    rows += [[a for h in range(heads) for a in gradient[h][i]] for i in range(T)]
            dn = add_rows(add_rows(dgrad(dv, B + "attn.c_v.weight"), dgrad(dk, B + "attn.c_k.weight")),
                          dgrad(dq, B + "attn.c_q.weight"))                                          # step 8
            for name, gradient in (("q", dq), ("k", dk), ("v", dv)):
                wgrad(B + "attn.c_%s.weight" % name, gradient, c["n"])
            du = add_rows(dy, norm_backward(dn, c["n"], c["n_r"]))                                   # step 9
            per_token(B + "resid_mix", 0, du, c["x"])
            per_token(B + "resid_mix", d, du, tape["x0"])
            m0, m1 = self.rows(B + "resid_mix")                                                      # step 10
            part = [times(m1, a) for a in du]
            dx0 = part if dx0 is None else add_rows(dx0, part)
            dx = [times(m0, a) for a in du]
            if "skip" in c:                                                                          # step 11
                s = self.rows("skip_weights")[c["skip"]]
                per_token("skip_weights", c["skip"] * d, dx, c["kept"])
                skip_gradient[c["kept_layer"]] = [times(s, a) for a in dx]
        dx0 = add_rows(dx0, dx)
        for t, row in zip(tape["ids"], norm_backward(dx0, tape["x0"], tape["r0"])):
            acc.per_token("tok_emb.weight", t * d, row)


# ---------------------------------------------------------------------------------------------- optimizers [15, 16]

def adam(w, m, v, g, stored_bf16, base_lr, multiplier, betas, epsilon, step):
    lr = fl32(base_lr * multiplier)
    b1, b2 = [fl32(b) for b in betas]
    r1, r2 = [fl32(1.0 - b) for b in betas]
    c1, c2 = [fl32(1.0 - pow_int_64(b, step + 1)) for b in betas]
    eps = fl32(epsilon)
    store = bf16 if stored_bf16 else lambda x: x
    for i, x in enumerate(g):
        x = store(x)
        m1 = fl32(fl32(b1 * m[i]) + fl32(r1 * x))
        v1 = fl32(fl32(b2 * v[i]) + fl32(r2 * fl32(x * x)))
        change = fl32(fl32(lr * fl32(m1 / c1)) / fl32(sqrt32(fl32(v1 / c2)) + eps))
        w[i], m[i], v[i] = store(fl32(w[i] - change)), store(m1), store(v1)
    return lr, b1, b2, r1, r2, c1, c2, eps


NS_A, NS_B, NS_C, NS_EPS = H("0x1.b8e56p+1 -0x1.31999ap+2 0x1.040832p+1 0x1.ad7f2ap-24")


def newton_schulz(u, steps, kind):
    turned = len(u) > len(u[0])
    x = columns(u) if turned else u
    total = sum_of_squares([[v for row in x for v in row]])
    divisor = fl32(fl32(math.sqrt(total)) + NS_EPS)
    x = [[fl32(v / divisor) for v in row] for row in x]
    for _ in range(steps):
        a = product(kind, x, x)
        a2 = product(kind, a, a)
        p = [[fl32(fl32(NS_B * s) + fl32(NS_C * t)) for s, t in zip(*rows)] for rows in zip(a, a2)]
        y = product(kind, p, columns(x))
        x = [[fl32(fl32(NS_A * s) + t) for s, t in zip(*rows)] for rows in zip(x, y)]
    return columns(x) if turned else x


def muon(w, momentum, g, shape, matrix_lr, multiplier, mu, steps, kind):
    rows, cols = shape
    lr = fl32(matrix_lr * multiplier)
    factor = fl32(math.sqrt(max(rows / cols, 1.0)))
    u = []
    for i, x in enumerate(g):
        momentum[i] = fl32(fl32(mu * momentum[i]) + x)
        u.append(fl32(x + fl32(mu * momentum[i])))
    u = newton_schulz([u[i:i + cols] for i in range(0, len(u), cols)], steps, kind)
    for i, x in enumerate(v for row in u for v in row):
        w[i] = fl32(w[i] - fl32(lr * bf16(fl32(bf16(x) * factor))))


def clip(gradients, limit):
    if limit > 0:
        ratio = limit / (math.sqrt(sum_of_squares(gradients)) + float.fromhex("0x1.0c6f7a0b5ed8dp-20"))
        if ratio < 1.0:
            factor = fl32(ratio)
            return [[fl32(v * factor) for v in g] for g in gradients]
    return gradients


def multiplier_by_steps(k, iterations, warmdown):
    if warmdown <= 0 or k < iterations - warmdown:
        return 1.0
    return max((iterations - k) / warmdown, 0.0)


def multiplier_by_clock(k, elapsed, limit_seconds, warmdown):
    if warmdown <= 0:
        return 1.0
    w = warmdown * (elapsed / max(k, 1))
    rest = max(limit_seconds * 1000.0 - elapsed, 0.0)
    return 1.0 if rest > w else rest / max(w, 1e-9)


# ---------------------------------------------------------------------------------------------- whole runs [26.11]

# Defaults, listed in sections 15 and 26.11 below the table.
DEFAULTS = dict(qk_gain=1.5, betas=(0.9, 0.95), eps=1e-8, momentum=(0.85, 0.95), embed_lr=0.05, matrix_lr=0.04,
                scalar_lr=0.04)

RUNS = {
    "A": dict(V=12, N=3, d=8, H=2, Hk=1, f=12, T=70, sequences=2, chunks=2, steps=3, seed=1337, base=10000.0,
              theta_bf16=False, cap=30.0, std=0.005, linear="p3", dgrad="p3", wgrad="p3", head="p3", attention="p3",
              fake=False, clip=0.0, warmup=500, ns_steps=5, ns="s21"),
    "B": dict(V=12, N=5, d=12, H=3, Hk=3, f=20, T=9, sequences=2, chunks=3, steps=3, seed=99, base=10000.0,
              theta_bf16=True, cap=15.0, std=0.3, linear="p4", dgrad="s21", wgrad="p4", head="s21", attention="p4",
              fake=True, clip=0.05, warmup=2, ns_steps=5, ns="s21"),
    "C": dict(V=12, N=1, d=8, H=2, Hk=2, f=40, T=5, sequences=1, chunks=1, steps=2, seed=7, base=10000.0,
              theta_bf16=False, cap=0.0, std=2.0, linear="p3", dgrad="p3", wgrad="p3", head="p3", attention="s21",
              fake=False, clip=0.0, warmup=0, ns_steps=3, ns="p4"),
    "D": dict(V=14, N=2, d=24, H=4, Hk=2, f=18, T=67, sequences=1, chunks=2, steps=3, seed=4242, base=500.0,
              theta_bf16=False, cap=20.0, std=1.0, linear="s21", dgrad="p4", wgrad="s21", head="p4", attention="p3",
              fake=False, clip=1.0, warmup=3, ns_steps=4, ns="s21", qk_gain=60.0),
}



def digest(tensors):
    return hashlib.sha256(floats_to_bytes([v for t in tensors for v in t])).hexdigest()


def run(letter, report):
    cfg = dict(DEFAULTS, **RUNS[letter])
    model = Model(cfg)
    names = list(model.shapes)
    first = {n: [0.0] * len(t) for n, t in model.tensors.items()}
    second = {n: [0.0] * len(t) for n, t in model.tensors.items()}
    T, V, step_tokens = cfg["T"], cfg["V"], cfg["T"] * cfg["sequences"] * cfg["chunks"]
    for k in range(cfg["steps"]):
        acc = Accumulator(model.tensors, step_tokens, cfg["chunks"])
        units = 0
        for c in range(cfg["chunks"]):
            batch = []
            for b in range(cfg["sequences"]):
                z = ((k * cfg["chunks"] + c) * cfg["sequences"] + b) * 7919
                tokens = [(z + 31 * t + 5 * t * t) % V for t in range(T + 1)]
                batch.append((tokens[:-1], tokens[1:]))
            units += sum(map(loss_units, model.forward(batch, True)))
            model.backward(acc)
        gradients = dict(zip(names, clip([acc.mean(n) for n in names], cfg["clip"])))
        lam = 1.0 - k / 4.0
        phi = min(k / cfg["warmup"], 1.0) if cfg["warmup"] > 0 else 1.0
        mu = fl32((1.0 - phi) * cfg["momentum"][0] + phi * cfg["momentum"][1])
        for n in names:
            w, g = model.tensors[n], gradients[n]
            if n.endswith(MATRICES):
                muon(w, first[n], g, model.shapes[n], cfg["matrix_lr"], lam, mu, cfg["ns_steps"], cfg["ns"])
            else:
                emb = n == "tok_emb.weight"
                adam(w, first[n], second[n], g, emb, cfg["embed_lr" if emb else "scalar_lr"], lam, cfg["betas"],
                     cfg["eps"], k)
        report("%s %d: %d  %s" % (letter, k, units, digest(model.tensors.values())))
    report("%s state: %s" % (letter, digest(first[n] for n in names)))
    tokens = [(3 * t * t + t) % V for t in range(T + 1)]
    nll = model.forward([(tokens[:-1], tokens[1:])], False)
    report("%s: %d  %s" % (letter, sum(map(loss_units, nll)), hashlib.sha256(floats_to_bytes(nll)).hexdigest()))


EXPECTED_RUNS = """
A 0: 46662173856  9d62d62e51c19acae55e7ac2d4328441c44aab83c8c32eba1bf5fea9b6c4e738
A 1: 43793462816  c4063a89c4a6436f76a63fe7185232634611728bc152ea39beb6d838b7e6072e
A 2: 41619560368  171e033eb14bde10f3e793c9bfdf8fb6bf8665de2635eab695689760e9bb44cd
A state: 79ae4a47c72f01342c90cde0ad3d61d404396aaf9d7bc73a06659ecd05fa1d94
A: 9898535184  2be02cb12e73219bcdec1970a45318b213840251763c9aac6b9ee4c86c554537
B 0: 11379145783  771ccfc0b12d5350d4656fbc81d00d74e634b8f4bb7994682277c97e467fbc4d
B 1: 9242074779  5531e05e4af374588d84ab976498d976397ee4cc3e491063f7a06af9b24c5565
B 2: 8160004932  f43c179d8b3204774366d8fa80d2e3e30263935847992c87f27cc8966312c99e
B state: ce940dab857680f8349c4d77bd2af04fab099290f11cfb514dddc0d6771af4f1
B: 1549898608  cab034afee03fa234c58b11a78503c0c42079383193119aed6a6109eef1bb9d0
C 0: 3291847179  b2f7a2717ff8a71aee1cebbbb9741cc695f8e8ef27f143613c5016f73d461838
C 1: 3805143765  c64fde38094329d48a44525626ea6513284b885383c3120e2fae932c4ee04e35
D 0: 121099267126  48fa693bf76fec5f9327487542998d8b726e249e2dfe93abbfc8d054918ea171
D 1: 135612845775  1cb0eed556904a0b745aeaeff5963f706543d0e2afece54f0f84ae8ea46a5f02
D 2: 122310998064  ede7ecb30e47d6fe9c3d084bbe68392e432d0f4c8ba7fbea74dfd2f185877069
C state: 1a07d947ded56a33571ed2f6481d092c45b50bff5e474b25e5a4a9e3648f5392
D state: 6c2d08efef35d58aa5f694574d9f32f154939782545c90a9f21210e9c98aa0d1
C: 4041995200  e69c478b65524542eca0bf7731b4364634a1abef43324707576bc9c7f45f52c3
D: 43841218784  09297e11ae2baebe0a1d56b7abd58cb7e7296a3bbb42a64403f79646206bc7dd
"""

# ---------------------------------------------------------------------------------------------- worked examples [26]


class Checks:
    def __init__(self, document):
        text = document.replace("\u2212", "-")
        self.words = {w.rstrip(".") for w in re.findall(r"[-+.\w]+", text.partition("\n## 26")[2])}
        self.lines = {line.strip() for line in text.splitlines()}
        self.passed = self.failed = 0

    def result(self, name, good, got, expected):
        if good:
            self.passed += 1
            print("ok      " + name)
        else:
            self.failed += 1
            print("FAILED  %s\n        computed %s\n        expected %s" % (name, got, expected))
        sys.stdout.flush()

    def numbers(self, name, got, expected):
        """Hex floats, integers and decimals; each word of `expected` must stand in section 26."""
        words = expected.split()
        missing = [w for w in words if w not in self.words and w.lstrip("-") not in self.words]
        want = [float.fromhex(w) if "0x" in w else float(w) for w in words]
        shown = " ".join(v.hex() if isinstance(v, float) else str(v) for v in got)
        self.result(name, want == list(got) and not missing, shown, expected + (
            "  (not in section 26: %s)" % " ".join(missing) if missing else ""))

    def line(self, got, expected):
        present = expected in self.lines
        self.result(got.partition("  ")[0] if got == expected else expected, got == expected and present, got,
                    expected + ("" if present else "  (not a line of the document)"))

    def condition(self, name, good, got=""):
        self.result(name, good, got, "see the name")


def F(text):
    return [fl32(float(t)) for t in text.replace(",", " ").split()]


def worked_examples(k):
    x = F("0.75 -1.3 0.01") + [fl32(2.0 / 3.0)]
    for b, e, expected in ((7, 1, "48 -83 1 43"), (14, 1, "6144 -10650 82 5461"),
                           (21, 1, "786432 -1363149 10486 699051"), (24, 1, "6291456 -10905190 83886 5592406")):
        got = quantise(x, b)
        k.numbers("26.1 quantiser, b = %d" % b, got[1], expected)
        k.condition("26.1 exponent, b = %d" % b, got[0] == e, got[0])
        if b == 14:
            k.numbers("26.1 slices, b = 14", [f(q) for q in got[1] for f in (up, low)], "48 0 -83 -26 1 -46 43 -43")
        if b == 21:
            k.numbers("26.1 slices, b = 21", [up(q) for q in got[1]] + [low(q) for q in got[1]],
                      "6144 -10650 82 5461 0 51 -10 43")
    tie = float.fromhex("0x1.fdfcp-1")
    below = float.fromhex("0x1.fdfbfep-1")
    k.condition("26.1 the E + 1 rule", (quantise([tie], 14), quantise([below], 14)) == ((1, [8160]), (0, [16319])))

    a = [x, F("1 2 -3 0.1")]
    b = [F("0.5 0.25 -0.125 0.3"), F("1e-3 -2e-3 5e-4 7.7e-4")]
    k.numbers("26.2 integers", [q for row in (a[1], b[0], b[1]) for q in quantise(row, 14)[1]],
              "4096 8192 -12288 410 8192 4096 -2048 4915 4194 -8389 2097 3230")
    qa, qb = operand("p3", a), operand("p3", b)
    k.numbers("26.2 S", [contract("p3", m[1], n[1]) for m in qa for n in qb], "33384320 132926848 94288512 -75988480")
    for kind, expected in (("p3", "0x1.fd678p-3 0x1.fb136p-9 0x1.67aeap+0 -0x1.21df8p-8"),
                           ("p4", "0x1.fd5efp-3 0x1.fb0e6ap-9 0x1.67afecp+0 -0x1.21debcp-8"),
                           ("s21", "0x1.fd70bp-3 0x1.fb07c2p-9 0x1.67ae1ap+0 -0x1.21dd9p-8")):
        k.numbers("26.2 C, " + kind, sum(product(kind, a, b), []), expected)

    k.numbers("26.3 sum of squares", [sum(q * q for q in quantise(x, 24)[1])], "189787629265868")
    y, r = rms_norm(x)
    k.numbers("26.3 dot, r", [dot(x, x), r], "0x1.5938cp+1 0x1.37c392p+0")
    k.numbers("26.3 rms_norm", y, "0x1.d3a55cp-1 -0x1.954b0ap+0 0x1.8f0ecep-7 0x1.9faf6ep-1")
    k.numbers("26.3 rms_norm backward", rms_norm_backward(F("0.1 0.2 -0.3 0.4"), y, r),
              "0x1.85b37p-4 0x1.28b276p-2 -0x1.767b02p-2 0x1.da92b8p-2")
    small = float.fromhex("0x1.002p-12")
    k.numbers("26.3 rows of two tensors are not joined",
              [sum_of_squares([[1.0, 2.0], [], [small]]), sum_of_squares([[1.0, 2.0, small]])],
              "0x1.400000401p+2 0x1.4000004p+2")
    attention_example(k)
    far_score_example(k)

    for name, u, cap, expected in (
            ("no cap", F("1 -2.5 3"), 0.0,
             ("", "0x1.152aaap-3 0x1.0bd4a6p-8 1", "145315152 4388138 1073741824",
              "0x1.23b12ap+0 0x1.0b4eaep-3 0x1.10b4eap+1", "-0x1.c32fep-1 0x1.d61dep-9 0x1.c159c2p-1")),
            ("cap 30", F("1 -2.5 40"), 30.0,
             ("0x1.ffcf7ap-1 -0x1.3f42e6p+1 0x1.a1a12cp+4", "0x1.b9289cp-37 0x1.acecccp-42 1", "0 0 1073741824",
              "1 0 0x1.91a2bp+4", "-0x1.ff6e78p-1 0x1.a9f5c8p-42 0x1.f1a63p-3"))):
        nll, gradient, (z, w, units, s) = cross_entropy(u, cap, 0)
        for what, got, want in zip(("z", "w", "units", "s, log s, nll", "gradient"),
                                   (z, w, units, [s, log(s), nll], gradient), expected):
            if want:
                k.numbers("26.5 %s, %s" % (what, name), got, want)

    name = "tok_emb.weight"
    words = " ".join("%08x" % w for w in (tensor_word(name),) + philox(0, 1337, tensor_word(name), 1))
    want = "6a5810d0 96e0b59a 3ad949ec 258863fd 2f0d4d1b"
    k.condition("26.6 Philox words", words == want and all(w in k.words for w in want.split()), words)
    normals = [normal(i, 1337, name) for i in range(4)]
    scaled = [fl32(v * fl32(0.005)) for v in normals]
    k.numbers("26.6 uniforms", [uniform(i, 1337, name) for i in range(4)],
              "0x1.2dc16ap-1 0x1.d6ca48p-3 0x1.2c4318p-3 0x1.786a68p-3")
    k.numbers("26.6 normals", normals, "0x1.098caep-3 0x1.05253ap+0 0x1.9568cp-1 0x1.cadf74p+0")
    k.numbers("26.6 times 0.005", scaled, "0x1.53e744p-11 0x1.4e442p-8 0x1.03763ep-8 0x1.25adbap-7")
    k.numbers("26.6 bf16", [bf16(v) for v in scaled], "0x1.54p-11 0x1.4ep-8 0x1.04p-8 0x1.26p-7")

    for stored, m, v, expected in ((False, F("0.001"), F("1e-5"), "0x1.172efp-9 0x1.1e4b78p-16 0x1.b66b78p-3"),
                                   (True, [2.0 ** -10], [2.0 ** -17], "0x1.14p-9 0x1.f2p-17 0x1.b2p-3")):
        w = [0.25]
        scalars = adam(w, m, v, F("0.0123"), stored, 0.05, 1.0, (0.9, 0.95), 1e-8, 2)
        k.numbers("26.7 Adam, " + ("bf16" if stored else "binary32"), m + v + w, expected)
    k.numbers("26.7 scalars", scalars, "0x1.99999ap-5 0x1.ccccccp-1 0x1.e66666p-1 0x1.99999ap-4 0x1.99999ap-5 "
              "0x1.158106p-2 0x1.241894p-3 0x1.5798eep-27")

    k.numbers("26.8 functions", [exp(1.0), exp(-100.0), log(3.0), tanh(0.5), tanh(-1.0), exp2_unit(0.5), *sin_cos(100.0)],
              "0x1.5bf0a8p+1 0x1.bp-145 0x1.193ea8p+0 0x1.d9353ep-2 -0x1.85efacp-1 0x1.6a09e6p+0 -0x1.03425cp-1 "
              "0x1.b981dcp-1")
    k.numbers("26.8 binary64 functions", [log2_64(10000.0), exp2_64(-0.7), pow_64(10000.0, -6.0 / 64.0)],
              "0x1.a934f0979a371p+3 0x1.3b2c47bff8329p-1 0x1.afd1354c40d5p-2")

    k.numbers("26.9 position, quantile", [fl32(Q_QUANTILE * 3.0), quantile([abs(v) for v in x])],
              "0x1.7fffd8p+1 0x1.4cccap+0")
    for limit, want, ints, half in ((31, "0x1.5788e8p-5", "18 -31 0 16", "295e"), (127, "0x1.4f6b76p-7", "73 -127 1 65", "213e")):
        q, s = export_row(x, limit)
        k.numbers("26.9 scale, Ql = %d" % limit, [s], want)
        k.numbers("26.9 integers, Ql = %d" % limit, q, ints)
        k.condition("26.9 fp16 bits, Ql = %d" % limit, "%04x" % fp16_bits(s) == half and half in k.words)
    hat, w, c, s = fake_quantise_row(x)
    k.numbers("26.9 fake quantiser, w", w, "0x1.8p-1 -0x1.4cp+0 0x1.48p-7 0x1.56p-1")
    k.numbers("26.9 fake quantiser, c, s", [c, s], "0x1.4bffd4p+0 0x1.56b58p-5")
    k.numbers("26.9 fake quantiser, result", hat, "0x1.82p-1 -0x1.4cp+0 0 0x1.56p-1")

    u = [F("1 2 -1"), F("0.5 0.25 3")]
    k.numbers("26.10 sum of squares", [sum_of_squares([u[0] + u[1]])], "0x1.eap+3")
    for kind, want in (("s21", "0x1.37188p-2 0x1.3e778p-1 -0x1.7be66p-2 0x1.3a2bb8p-3 0x1.88702p-5 0x1.0e06e2p+0"),
                       ("p4", "0x1.3716f8p-2 0x1.3e7968p-1 -0x1.7b7552p-2 0x1.3aa2cp-3 0x1.88c4cp-5 0x1.0e196ap+0")):
        k.numbers("26.10 Newton-Schulz, " + kind, sum(newton_schulz(u, 5, kind), []), want)


def attention_example(k):
    q = [F("1 0.5 -0.25 2"), F("0.3 -1 0.7 0.2"), F("1.5 -0.4 0.6 -2")]
    key = [F("0.5 1 -1 0.25"), F("-0.3 0.8 0.1 1.1"), F("0.9 -0.7 0.2 -1.2")]
    v = [F("1 2 -3 0.1"), F("0.01 0.02 0.03 -0.04"), F("10 -0.5 0.25 3")]
    d_out = [F("0.1 -0.2 0.3 0.4"), F("-0.5 0.6 0.7 -0.8"), F("0.9 1 -1.1 1.2")]
    out, context = attention_forward("p3", [q], [key], [v])
    Q, K, V, saved = context
    t, m, p, total = saved[0][2]
    k.numbers("26.4 q of query 2", Q[0].digits[2][0], "6144 -1638 2458 -8192")
    k.numbers("26.4 q of k", sum((d[0] for d in K[0].digits), []),
              "4096 8192 -8192 2048 -2458 6554 819 9011 7373 -5734 1638 -9830")
    k.numbers("26.4 q of v", sum((d[0] for d in V[0].digits), []),
              "4096 8192 -12288 410 2621 5243 7864 -10486 10240 -512 256 3072")
    k.numbers("26.4 S", [contract("p3", Q[0].digits[2], d) for d in K[0].digits], "-25165824 -97644416 139245568")
    k.numbers("26.4 t", t, "-0x1.14ff58p-1 -0x1.0cb0bap+1 0x1.7f2a46p+1")
    k.numbers("26.4 f", [probability(a, m)[0] for a in t], "0x1.5fe462p+0 0x1.ddff26p+0 0x1.fdb0c4p+0")
    k.numbers("26.4 l, L", [probability(a, m)[3] for a in t] + [total], "184492816 62651980 2137796864 2384941660")
    w = [scale(a, e) for a, e in zip(p, V[0].e)]
    k.numbers("26.4 p 2^ev", w, "0x1.5fe462p-1 0x1.ddff26p-9 0x1.fdb0c4p+4")
    eu, u = quantise(w, 14)
    k.numbers("26.4 u", [eu] + u, "5 352 2 16310")
    acc = [0] * 4
    block_sums("p3", w, V[0].blocks[0], -36, acc)
    k.numbers("26.4 A", acc, "1380035067904 -44700794880 -1101004800 411471708160")
    k.numbers("26.4 out", out[0][2], "0x1.215296p+3 -0x1.2be30cp-2 -0x1.d8ba66p-8 0x1.590eep+1")
    dq, dk, dv = attention_backward("p3", [d_out], context)
    r = fl32(1.0 / grid(total, -30))
    P = [fl32(a * r) for a in p]
    e, digit = operand("p3", [d_out[2]])[0]
    dp = [grid(contract("p3", digit, d), e + ev - 28) for d, ev in zip(V[0].digits, V[0].e)]
    terms = [round(math.ldexp(fl32(a * b), 35)) for a, b in zip(P, dp)]
    delta = grid(sum(terms), -35)
    dS = [fl32(a * fl32(b - delta)) for a, b in zip(P, dp)]
    k.numbers("26.4 q of dO, r", digit[0] + [r], "7373 8192 -9011 9830 0x1.cd05cp-2")
    k.numbers("26.4 P", P, "0x1.3cdb16p-4 0x1.ae679ap-6 0x1.caf162p-1")
    k.numbers("26.4 dp", dp, "0x1.947c4p+2 -0x1.a9f16p-5 0x1.7a674p+3")
    k.numbers("26.4 delta", terms + [sum(terms), delta], "16798650368 -46931920 364202983424 380954701872 0x1.62caaep+3")
    k.numbers("26.4 dS", dS, "-0x1.79a01ap-2 -0x1.2ba614p-2 0x1.52a306p-1")
    k.numbers("26.4 u of dS", quantise([scale(a, b) for a, b in zip(dS, K[0].e)], 14)[1], "-6042 -4794 10836")
    k.condition("26.4 dq 0", dq[0][0] == [0.0] * 4, dq[0][0])
    k.numbers("26.4 dq 1", dq[0][1], "-0x1.2bff2p-3 -0x1.2be38p-5 0x1.9c768p-3 0x1.3eb88p-3")
    k.numbers("26.4 dq 2", dq[0][2], "0x1.fe9a4p-3 -0x1.10d72p-1 0x1.e319cp-3 -0x1.3527dp-1")
    for name, rows, wants in (
            ("dk", dk[0], ("-0x1.537acp-2 0x1.0703p-2 -0x1.e9148p-3 0x1.5422cp-2",
                           "-0x1.50f68p-3 -0x1.fe568p-4 0x1.4a9dp-5 0x1.51254p-2",
                           "0x1.fbfp-2 -0x1.0ed1p-3 0x1.966fp-3 -0x1.52ap-1")),
            ("dv", dv[0], ("-0x1.9accp-6 0x1.c694p-4 0x1.f32b8p-2 0x1.734d4p-3",
                           "-0x1.206a6p-2 0x1.920bp-2 0x1.98156p-2 -0x1.d3e7ep-2",
                           "0x1.9d0c6p-1 0x1.cafp-1 -0x1.f8d3ap-1 0x1.13598p+0"))):
        for j, want in enumerate(wants):
            k.numbers("26.4 %s %d" % (name, j), rows[j], want)
    for t, m, d, f, want in (("0x1.4p-10", 8, 8, "0x1.00377ap+0", 4197854), ("0x1.cp-10", 8, 8, "0x1.004daep+0", 4199276),
                             ("0x1p-1", 31, 31, "0x1.6a09e6p+0", 1), ("0x0p0", 31, 31, "0x1p0", 0),
                             ("-0x1p-30", 30, 31, "0x1p1", 1), ("-0x1p-30", 31, 32, "0x1p1", 0)):
        got = probability(float.fromhex(t), m)
        k.condition("26.4 units of a probability, t = %s, M = %d" % (t, m),
                    (got[1], got[0], got[3]) == (d, float.fromhex(f), want), got)


def far_score_example(k):
    """The range test takes the largest visible score, not the largest magnitude."""
    q, v = [[F("-1 0"), F("4096 0")]], [[F("1 2"), F("3 4")]]
    out, (_, _, _, saved) = attention_forward("p3", q, [[F("-4096 0"), F("0.5 0")]], v)
    k.numbers("26.4 a score far below the others, t", saved[0][1][0], "-0x1.0527dcp+24 0x1.0527dcp+11")
    k.numbers("26.4 a score far below the others, out", out[0][1], "0x1.7ffc66p+1 0x1.fffb34p+1")
    try:
        attention_forward("p3", q, [[F("-4096 0"), F("-4096 0")]], v)
        stopped = False
    except Stop:
        stopped = True
    k.condition("26.4 the largest score is out of range", stopped)


def properties(k):
    """Rules of sections 2, 14, 16, 17 and 18 that have no numbers in section 26, on small cases."""
    k.condition("2 fl32 of an integer is one rounding", int_to_fl32((1 << 62) + (1 << 38) + 1) == 2.0 ** 62 + 2.0 ** 39)
    k.condition("2 fp16 ends", (fp16(65519.0), fp16(65520.0), fp16(2.0 ** -24)) == (65504.0, INF, 2.0 ** -24))
    k.condition("3 ends of exp2_unit", (exp2_unit(0.0), exp2_unit(1.0)) == (1.0, 2.0))
    k.condition("3 ends of exp and sigmoid", (exp(-105.0), exp(90.0), sigmoid(0.0)) == (0.0, INF, 0.5))
    k.condition("16 schedule", [multiplier_by_steps(i, 4, 2) for i in range(6)] == [1.0, 1.0, 1.0, 0.5, 0.0, 0.0])
    k.condition("16 schedule by clock", multiplier_by_clock(10, 1000.0, 2.0, 20) == 0.5)
    k.condition("17 classes of tensors", [export_class(n, s, True) for n, s in (
        ("blocks.0.attn_scale", (8,)), ("blocks.0.x", (256, 256)), ("blocks.0.x", (257, 256)),
        ("tok_emb.weight", (1024, 512)))] == ["binary32", "fp16", 31, 127])
    q, s = export_row(F("0.75 -1.3 0.01 0.6"), 31)
    k.condition("17 restored values are exact", restore_row(q, s, False) == [v * fp16(s) for v in q])
    for method, p, expected in (("standard", 24, list(range(24))), ("sliding_a", 23, list(range(5, 23))),
                                ("sliding_b", 24, list(range(24))), ("sliding_b", 5, list(range(5))),
                                ("sliding_c", 23, list(range(20)) + [20, 20, 21, 21, 21, 22, 22, 22]),
                                ("sliding_d", 23, [0, 1, 2] + list(range(8, 23)))):
        seen = sorted(i for w in windows(method, p, 8, 3) for i in scored_positions(method, w, 3))
        k.condition("18 positions of %s, P = %d" % (method, p), seen == expected, seen)
    k.condition("18 totals", evaluation_totals(3 << 26, 2, 3) == (1.5, 3.0 / (LN2_64 * 3)))
    k.condition("18 bytes", [prediction_bytes(*p) for p in (
        (("normal", "a"), ("normal", "\u2581\u00e9")), (("boundary", ""), ("normal", "\u2581b")),
        (("normal", "a"), ("byte", "<0x41>")), (("normal", "a"), ("boundary", "</s>")))] == [3, 1, 1, 0])
    got = step_sequences(list(range(100)), 1, 8, 2, 2)
    k.condition("18 tokens of a step", got == [([10, 11], [11, 12]), ([12, 13], [13, 14]), ([15, 16], [16, 17]),
                                               ([17, 18], [18, 19])], got)


def main():
    if len(sys.argv) != 2:
        print("usage: second_implementation.py NUMERICS.md")
        return 2
    with open(sys.argv[1], encoding="utf-8") as f:
        checks = Checks(f.read())
    started = time.time()
    worked_examples(checks)
    properties(checks)
    expected = EXPECTED_RUNS.strip().splitlines()
    for letter in "CBDA":
        wanted = iter([line for line in expected if line.startswith(letter)])
        try:
            run(letter, lambda got: checks.line(got, next(wanted)))
        except Stop as stop:
            checks.condition("run %s stopped: %s" % (letter, stop), False)
    print("%.0f s" % (time.time() - started))
    print("%d passed, %d failed" % (checks.passed, checks.failed))
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
