"""What the contour has to know of one independent part of a privacy loss."""

from __future__ import annotations

from typing import Protocol

from accounting.numerics.trinomial import Floats


class Factor(Protocol):
    """A part X of a privacy loss, seen through its moment function `M(z) = E e^(z X)` under P.

    M is finite on `Re z >= -1`, and `M(0) = M(-1) = 1`. A tilt is a real point `theta`, a time the height of
    a point `z = theta + i time` above it, and `phi(time) = M(z) / M(theta)` the characteristic function of
    the tilted loss, so that `|phi| <= 1`.
    """

    @property
    def highest(self) -> float:
        """The largest tilt that may be asked for."""
        ...

    def log_moment(self, tilts: Floats) -> tuple[Floats, Floats]:
        """Returns `log M` at tilts >= -1, and a bound on the absolute error of each."""
        ...

    def slopes(self, tilts: Floats) -> tuple[Floats, Floats]:
        """Returns first and second derivative of `log M`, to some digits; they steer, and prove nothing."""
        ...

    def turned(self, tilt: float, times: Floats) -> tuple[Floats, Floats, Floats]:
        """Returns `log |phi|`, an angle of phi, and a bound on the error of `log phi`, at each time >= 0.

        Where the error is large, the first is still an upper bound up to its rounding.
        """
        ...

    def fading(self, tilt: float, time: float) -> float:
        """Returns a bound on `log |phi|` that holds at this time and at all later ones, at most 0."""
        ...

    def work(self, tilt: float, time: float) -> float:
        """Returns about how many exponentials one time costs, near `time`."""
        ...
