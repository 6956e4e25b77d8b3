"""No bound is ever violated: random compositions through every route, against 60 digits; 10^5 cases in the slow version."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import mpmath
import numpy as np
import pytest

from accounting import Gaussian, PrivacyLoss, RandomizedResponse
from accounting.numerics import brackets, lattice_line
from accounting.numerics.answers import Direction
from accounting.numerics.finite import Finite
from accounting.numerics.ladder import ladder
from tests.accounting import brute_force

ROOM = mpmath.mpf("1e-40")
Question = tuple[Callable[[float], tuple[float, float]], float]


class Curve:
    """Exact delta of a law, by sums of P and Q over the larger losses; 70 digits, so that differences keep 40."""

    def __init__(self, law):
        self.losses = sorted(law)
        above, below = [mpmath.mpf(0)], [mpmath.mpf(0)]
        for loss in reversed(self.losses):
            above.append(above[-1] + law[loss])
            below.append(below[-1] + law[loss] * mpmath.exp(-loss))
        self.above, self.below = above[::-1], below[::-1]

    def __call__(self, epsilon):
        at = bisect_right(self.losses, epsilon)
        return self.above[at] - mpmath.exp(epsilon) * self.below[at]


@dataclass
class Tally:
    """How many bounds were checked, and how many of them were no trivial ones."""

    cases: int = 0
    narrow: int = 0

    def delta(self, pair, truth):
        lower, upper = pair
        assert 0 <= lower <= upper <= 1
        assert mpmath.mpf(lower) <= truth * (1 + ROOM), (pair, truth)
        assert truth * (1 - ROOM) <= mpmath.mpf(upper), (pair, truth)
        self._count(lower, upper)

    def epsilon(self, pair, curve, delta):
        lower, upper = pair
        assert 0 <= lower <= upper
        assert upper == math.inf or curve(mpmath.mpf(upper)) <= mpmath.mpf(delta) * (1 + ROOM), (pair, delta)
        assert lower == 0 or curve(mpmath.mpf(lower)) >= mpmath.mpf(delta) * (1 - ROOM), (pair, delta)
        self._count(lower, upper)

    def _count(self, lower, upper):
        self.cases += 1
        self.narrow += upper - lower <= 1e-3 * upper


def composition(draw: random.Random, *, kinds: int):
    """Randomized responses of one or several epsilons, and their exact law."""
    loss, groups = PrivacyLoss(), []
    for _ in range(kinds):
        epsilon = draw.choice(
            [1e-6, 0.01, 0.1, 0.5, 1.0, 8.0, 30.0, draw.uniform(1e-3, 5), 10 ** draw.uniform(-8, 2)]
        )
        num_classes, count = draw.choice([2, 2, 3, 10, 1000, 10**6]), draw.randint(1, 4 if kinds > 1 else 40)
        loss = loss.compose(RandomizedResponse(epsilon, num_classes).privacy_loss().self_compose(count))
        groups.append((epsilon, brute_force.exact_middle("response", epsilon, num_classes), count))
    return loss, brute_force.law_of(groups)


def places(draw: random.Random, law, top: float) -> Iterator[float]:
    losses = list(law)
    for _ in range(12):
        yield abs(float(draw.choice(losses)))
        yield draw.uniform(0, 1) * top
        yield top * (1 - 10 ** draw.uniform(-13, -1))


def ask(
    tally: Tally, draw: random.Random, loss: PrivacyLoss, law, *, claimed: PrivacyLoss | None = None
) -> None:
    """Asks every route about one composition (the twin claims another one)."""
    told = claimed or loss
    direction, curve = Direction(told.groups, (), True), Curve(law)
    top = float(max(law))
    deltas = [10 ** draw.uniform(-300, 0), 10 ** draw.uniform(-20, 0), draw.random()]
    asked = list(places(draw, law, top))
    for epsilon in asked:
        bounds = told.delta(epsilon)
        tally.delta((bounds.lower, bounds.upper), curve(mpmath.mpf(epsilon)))
    for delta in deltas:
        bounds = told.epsilon(delta)
        tally.epsilon((bounds.lower, bounds.upper), curve, delta)
    with np.errstate(all="ignore"):
        for centre in (draw.random() * top, (1 - 10 ** draw.uniform(-4, -0.3)) * top):
            near = brackets.curve_near(direction.factors, centre, direction.top)
            for epsilon in asked:
                tally.delta(near(epsilon), curve(mpmath.mpf(epsilon)))
        for delta in deltas:
            pair = brackets.epsilon_bracket(direction.factors, delta, direction.top)
            tally.epsilon(pair, curve, delta)
        if len({group.epsilon for group in told.groups}) == 1:
            ask_the_lattice(tally, told, curve, asked, deltas)
    below, above = ladder(told.groups, (), True)
    for epsilon in asked:
        tally.delta((below.delta(epsilon)[0], above.delta(epsilon)[1]), curve(mpmath.mpf(epsilon)))
    for delta in deltas:
        tally.epsilon((below.epsilon(delta)[0], above.epsilon(delta)[1]), curve, delta)


def ask_the_lattice(tally, loss, curve, asked, deltas):
    finite = Finite.of(loss.groups)
    for epsilon in asked:
        near = lattice_line.delta_near(finite, epsilon)
        if near is not None and (pair := near(epsilon)) is not None:
            tally.delta(pair, curve(mpmath.mpf(epsilon)))
    for delta in deltas:
        if (pair := lattice_line.epsilon_bracket(finite, delta)) is not None:
            tally.epsilon(pair, curve, delta)


def ask_with_noise(tally, draw, loss, law):
    noise = 10 ** draw.uniform(-1, 2.5)
    mu = 1 / mpmath.mpf(noise)
    both = loss.compose(Gaussian(noise).privacy_loss())

    def curve(epsilon):
        return sum(p * brute_force.gaussian_delta(mu, mpmath.mpf(epsilon) - x) for x, p in law.items())

    for _ in range(4):
        epsilon = abs(draw.uniform(-0.5, 1.2) * float(max(law)) + draw.uniform(-3, 6) / noise)
        bounds = both.delta(epsilon)
        tally.delta((bounds.lower, bounds.upper), curve(epsilon))
    delta = 10 ** draw.uniform(-300, 0)
    bounds = both.epsilon(delta)
    tally.epsilon((bounds.lower, bounds.upper), curve, delta)


def check(seed: int, cases: int) -> Tally:
    draw, tally = random.Random(seed), Tally()
    with mpmath.workdps(75):
        while tally.cases < cases:
            loss, law = composition(draw, kinds=draw.choice([1, 2, 2, 3]))
            ask(tally, draw, loss, law)
            if len(law) < 200:
                ask_with_noise(tally, draw, loss, law)
    return tally


def test_never_a_violated_bound():
    tally = check(0, 2000)
    assert tally.narrow > tally.cases / 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 21))
def test_never_a_violated_bound_in_a_hundred_thousand_cases(seed):
    assert check(seed, 6000).narrow > 3000


def test_a_composition_that_forgets_one_use_is_caught():
    """Twin of the above, for each of the routes at once: a single class more, in one use of several."""
    draw = random.Random(3)
    more = RandomizedResponse(0.5, 3).privacy_loss().self_compose(3)
    less = (
        RandomizedResponse(0.5, 4)
        .privacy_loss()
        .compose(RandomizedResponse(0.5, 3).privacy_loss().self_compose(2))
    )
    middle = brute_force.exact_middle("response", 0.5, 3)
    law = brute_force.law_of([(0.5, middle, 3)])
    ask(Tally(), draw, more, law)
    with pytest.raises(AssertionError):
        ask(Tally(), draw, more, law, claimed=less)
