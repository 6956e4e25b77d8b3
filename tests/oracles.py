"""Independent statements of the published laws, in exact rationals; nothing here is imported from the code under test."""

from fractions import Fraction
from itertools import combinations, pairwise
from math import comb, prod


def exponential_bracket(epsilon: float | Fraction, terms: int = 400) -> tuple[Fraction, Fraction]:
    """Rationals below and above e^epsilon, by the Taylor series of e^(epsilon / 2^s) and repeated squaring."""
    halvings = max(0, int(epsilon).bit_length())
    x = Fraction(epsilon) / 2**halvings  # below 1
    scale = 2**300
    low = high = Fraction(0)
    term = Fraction(1)
    for n in range(1, terms):
        low += Fraction(int(term * scale), scale)
        high += Fraction(int(term * scale) + 1, scale)
        term = term * x / n
        term = Fraction(int(term * 2**600) + 1, 2**600) if term.denominator > 2**600 else term
        if term < Fraction(1, 2**310):
            break
    low, high = low - Fraction(terms, 2**598), high + 2 * term
    for _ in range(halvings):
        low, high = low * low, high * high
    return max(Fraction(1), low), high


def randomized_response(ratio: Fraction, num_classes: int) -> list[list[Fraction]]:
    total = ratio + num_classes - 1
    return [[(ratio if o == y else 1) / total for o in range(num_classes)] for y in range(num_classes)]


def selective(ratio: Fraction, candidates: list[bool], outside: str) -> list[list[Fraction]]:
    """The law of selective randomized response on the given candidates, at the given ratio instead of e^epsilon."""
    num_classes, k = len(candidates), sum(candidates)
    rows = []
    for y in range(num_classes):
        if outside == "uniform":
            if candidates[y]:
                row = [
                    Fraction(c) * (ratio if o == y else 1) / (ratio + k - 1) for o, c in enumerate(candidates)
                ]
            else:
                row = [Fraction(c) / k for c in candidates]
        else:
            outputs = [*candidates, k < num_classes]
            truth = y if candidates[y] else num_classes
            row = [
                Fraction(c) * (ratio if o == truth else 1) / (ratio + sum(outputs) - 1)
                for o, c in enumerate(outputs)
            ]
        rows.append(row)
    return rows


def on_bins(ratio: Fraction, labels: list[Fraction], outputs: list[Fraction]) -> list[list[Fraction]]:
    """Randomized response on the outputs; the truth is the output nearest to the label, the lower one in a tie."""
    nearest = [min(range(len(outputs)), key=lambda o: (abs(outputs[o] - y), o)) for y in labels]
    return [randomized_response(ratio, len(outputs))[o] for o in nearest]


def partitioned(ratio: Fraction, blocks: list[int]) -> list[list[Fraction]]:
    """Randomized response on the blocks; one column for each class, zero where there is no block of that number."""
    count = max(blocks) + 1
    total = ratio + count - 1
    return [
        [Fraction(o < count) * (ratio if o == block else 1) / total for o in range(len(blocks))]
        for block in blocks
    ]


def rounded_laplace(epsilon: float, points: list[Fraction]) -> list[Fraction]:
    """Laplace noise of scale 2 / epsilon on 0, rounded to the nearest point and clamped to the first and last; to 1e-80."""

    def below(t: Fraction) -> Fraction:
        tail = 1 / exponential_bracket(abs(t) * Fraction(epsilon) / 2)[0] / 2
        return tail if t < 0 else 1 - tail

    edges = [Fraction(0), *(below((a + b) / 2) for a, b in pairwise(points)), Fraction(1)]
    return [b - a for a, b in pairwise(edges)]


def noisy_one_hot(zero: list[Fraction], num_classes: int) -> list[list[Fraction]]:
    """Independent coordinates: the law `zero` over the points where the input is 0, its mirror image where it is 1."""
    size = len(zero)
    return [
        [
            prod((zero[::-1] if j == y else zero)[number // size**j % size] for j in range(num_classes))
            for number in range(size**num_classes)
        ]
        for y in range(num_classes)
    ]


def unary_encoding(
    bit_ratio: Fraction, num_classes: int, own_bit: Fraction | None = None
) -> list[list[Fraction]]:
    """Bits that are kept at bit_ratio : 1; the label's own bit set with another probability if one is given."""
    keep = bit_ratio / (bit_ratio + 1)
    own = keep if own_bit is None else own_bit
    rows = []
    for y in range(num_classes):
        row = []
        for number in range(2**num_classes):
            bits = [number >> j & 1 for j in range(num_classes)]
            row.append(
                prod(
                    (own if b else 1 - own) if j == y else (1 - keep if b else keep)
                    for j, b in enumerate(bits)
                )
            )
        rows.append(row)
    return rows


def subset_selection(ratio: Fraction, num_classes: int, size: int) -> list[list[Fraction]]:
    total = ratio * comb(num_classes - 1, size - 1) + comb(num_classes - 1, size)
    sets = list(combinations(range(num_classes), size))
    return [[(ratio if y in s else Fraction(1)) / total for s in sets] for y in range(num_classes)]
