#!/usr/bin/env python3
"""Derives the polynomial coefficients of kernels/num/*.h.

Each polynomial is a Chebyshev fit in 40-digit arithmetic (near-minimax for the smooth functions here), its coefficients
rounded to binary32 from the lowest order up; what the headers contain is this script's output. The accuracy of the
evaluated functions, which is what matters, is measured by tests/kernels/functions_test.cc.

Needs mpmath (PyPI). Run: python3 kernels/num/derive_polynomials.py
"""
import struct
from mpmath import mp, mpf, chebyfit, log, exp, tanh, sin, cos, sqrt, pi, polyval, factorial

mp.dps = 40


def f32(x):
    return struct.unpack("f", struct.pack("f", float(x)))[0]


def hexf(x):
    m, e = float(x).hex().split("p")
    return f"{m}p{e}f"


def show(name, function, interval, degree, fixed=()):
    """Fits function on the interval; prints coefficients from the constant term up."""
    coefficients = chebyfit(function, interval, degree + 1)[::-1]
    worst = max(abs(polyval([f32(c) for c in coefficients[::-1]], x) - function(x))
                for x in [interval[0] + (interval[1] - interval[0]) * k / mpf(400) for k in range(1, 400)])
    print(f"{name}  (degree {degree}, absolute error {float(worst):.2e})")
    for c in coefficients:
        print("   ", hexf(f32(c)))


def split(value, bits_first):
    """value as a sum of three binary32 numbers, the first with bits_first significant bits."""
    parts, rest = [], mpf(value)
    for bits in (bits_first, 24, 24):
        m, e = mp.frexp(rest)
        part = mp.floor(m * mpf(2) ** bits) / mpf(2) ** bits * mpf(2) ** e if bits < 24 else mpf(f32(rest))
        parts.append(part)
        rest -= part
    return [hexf(p) for p in parts]


tiny = mpf(10) ** -12
print("log2(e)", hexf(f32(1 / log(2))), " 2/pi", hexf(f32(2 / pi)), " 2 pi", hexf(f32(2 * pi)))
print("ln2, first part 15 bits:", split(log(2), 15))
print("pi/2, first part 24 bits:", split(pi / 2, 24))
show("exp2_unit: (2^f - 1)/f on [0,1]", lambda f: (mpf(2) ** f - 1) / f if abs(f) > tiny else log(2), [0, 1], 6)
half = log(2) / 2 * mpf("1.001")
show("exp: (e^r - 1 - r)/r^2", lambda r: (exp(r) - 1 - r) / r ** 2 if abs(r) > tiny else mpf(1) / 2, [-half, half], 4)


def log_tail(z):
    """R(z)/z of log((1+s)/(1-s)) = 2 s + s R(z), z = s^2."""
    if z < tiny:
        return mpf(2) / 3
    s = sqrt(z)
    return (log((1 + s) / (1 - s)) / s - 2) / z


show("log: R(z)/z on [0, 0.0296]", log_tail, [0, mpf("0.0296")], 3)
show("tanh: (tanh(x)-x)/x^3 in z = x^2 on [0, 0.36]",
     lambda z: (tanh(sqrt(z)) - sqrt(z)) / sqrt(z) ** 3 if z > tiny else -mpf(1) / 3, [0, mpf("0.36")], 5)
q = pi / 4 * mpf("1.001")
show("sin: (sin(r)-r)/r^3 in z = r^2", lambda z: (sin(sqrt(z)) - sqrt(z)) / sqrt(z) ** 3 if z > tiny else -mpf(1) / 6,
     [0, q * q], 3)
show("cos: (cos(r)-1+r^2/2)/r^4 in z = r^2",
     lambda z: (cos(sqrt(z)) - 1 + z / 2) / z ** 2 if z > tiny else mpf(1) / 24, [0, q * q], 3)
print("binary64: ln2", float(log(2)).hex(), " log2(e)", float(1 / log(2)).hex(), " pi", float(pi).hex())
print("1/k!:", [float(1 / factorial(k)).hex() for k in range(2, 15)])
print("2/(2k+1)/ln2 for log2:", [float(mpf(2) / (2 * k + 1) / log(2)).hex() for k in range(0, 12)])
