"""What the contour is told of each part of a loss, against its moment function in forty digits; and the smoothing against its integrals."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy import integrate

from accounting.numerics.factor import Factor
from accounting.numerics.finite import Finite
from accounting.numerics.gaussian import Normal
from accounting.numerics.kernel import Kernel
from accounting.numerics.laplace import DoubleExponential

mp = mpmath.mp.clone()
mp.dps = 40


def finite(z):
    total = mp.mpf(0)
    for epsilon, middle, count in GROUPS:
        plus = 1 / (1 + mp.mpf(middle) + mp.exp(-epsilon))
        total += count * mp.log(plus * (mp.exp(z * epsilon) + middle + mp.exp(-(z + 1) * epsilon)))
    return total


def normal(z):
    return z * (z + 1) * mp.mpf(0.7) / 2


def laplace(reach: float, count: int):
    def log_moment(z):
        r, k = mp.mpf(reach), 2 * z + 1
        between = r if k == 0 else -mp.expm1(-k * r) / k
        return count * (z * r + mp.log((1 + mp.exp(-k * r) + between) / 2))

    return log_moment


GROUPS = [(1.0, 3.0, 5), (0.25, 0.0, 40), (3.0, 900.0, 2)]
ROWS = np.array([(e, m, float(1 / (1 + mp.mpf(m) + mp.exp(-e))), c) for e, m, c in GROUPS])
FACTORS = {
    "finite": (Finite(*ROWS.T.copy()), finite),
    "normal": (Normal(0.7), normal),
    "laplace": (DoubleExponential(0.8, 3), laplace(0.8, 3)),
    "laplace, little noise": (DoubleExponential(12.0, 1), laplace(12.0, 1)),
}
each_factor = pytest.mark.parametrize(("factor", "exact"), FACTORS.values(), ids=FACTORS)
TILTS = np.array([-0.97, -0.75, -0.5 + 1e-6, -0.2, 1e-9, 0.1, 1.0, 4.0])


@each_factor
def test_moments_are_within_their_error(factor: Factor, exact) -> None:
    for tilt, moment, error in zip(TILTS, *factor.log_moment(TILTS), strict=True):
        assert abs(mp.mpf(moment) - exact(mp.mpf(tilt))) <= error <= 1e-11


@each_factor
def test_slopes_are_derivatives(factor: Factor, exact) -> None:
    tilts = np.append(TILTS, -0.5)
    for tilt, first, second in zip(tilts, *factor.slopes(tilts), strict=True):
        assert first == pytest.approx(float(mp.diff(exact, tilt)), rel=1e-5, abs=1e-6)
        assert second == pytest.approx(float(mp.diff(exact, tilt, 2)), rel=1e-4, abs=1e-6)


@each_factor
@pytest.mark.parametrize("tilt", [-0.4, 0.3, 2.0])
def test_characteristic_functions_are_within_their_error(factor: Factor, exact, tilt: float) -> None:
    times = np.array([0.0, 0.3, 1.7, 6.0, 25.0])
    for time, size, angle, error in zip(times, *factor.turned(tilt, times), strict=True):
        meant = mp.exp(exact(mp.mpc(tilt, time)) - exact(mp.mpf(tilt)))
        told = mp.exp(mp.mpc(size, angle))
        assert abs(told - meant) <= max(mp.expm1(error), 1e-30) * abs(meant) + mp.mpf(10) ** -35
        assert factor.fading(tilt, time) <= 0
        assert (
            factor.turned(tilt, time * np.array([1, 1.1, 2, 7]))[0] <= factor.fading(tilt, time) + 1e-9
        ).all()
        assert error > 5 or error < 1e-9


@pytest.mark.parametrize("tilt", [0.2, 3.0])
@pytest.mark.parametrize("width", [0.02, 0.3])
def test_what_is_cut_off_is_the_integral_of_the_envelope(width: float, tilt: float) -> None:
    """The envelope bounds the transforms, and its integral is the tail: neither below it nor far above."""
    kernel = Kernel.of_width(width)
    time = 3 * kernel.start(tilt)

    def envelope(at: float) -> float:
        fading = (np.cosh(tilt * width / 2) / (at * width / 2)) ** 16 * np.exp(tilt * kernel.shift)
        return fading * (1 / at**2 + kernel.lift)

    for at in np.geomspace(time, 50 * time, 40):
        plain, lifted, _ = kernel.transforms(tilt, np.array([at]))
        assert abs(plain[0]) + abs(lifted[0]) <= envelope(at) * (1 + 1e-9)
    exact = integrate.quad(lambda x: envelope(time / x) * time / x**2, 0, 1)[0]
    assert exact * (1 - 1e-8) <= kernel.tail(tilt, time) <= exact * (1 + 1e-6)
