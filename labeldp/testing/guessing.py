"""Guesses of a secret label from its answer, by rules that were learnt from earlier batches only, and the trials they make.

How often every feature of an answer came with every label is all that is remembered. Three rules compete: the classes that the answer
names, the answer's own frequencies, and those of its features taken as independent. The one that predicted best of late is
used for the next batch, so every guess is fixed, as a function of the answer, before the labels of its batch are drawn.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from labeldp.testing.answers import Batch, Counts, Floats
from labeldp.testing.evidence import Bets

MAX_SLOTS = 2**12
MAX_CELLS = 2**14
MAX_PAIRED = 20
"""With more classes than this, pairs of labels are too many: cells set one label against all others, and pairs are pooled."""

Trials = tuple[Any, Any, Any]


class Column(NamedTuple):
    """One feature of the m answers of a batch: its d values, the first answer with each, and which of them every answer has."""

    values: npt.NDArray[np.int64]
    first: npt.NDArray[np.intp]
    which: npt.NDArray[np.intp]

    def summed(self, counts: Counts) -> Counts:
        """The counts of the answers (m, K), added up for each value; (d, K)."""
        size = counts.shape[1]
        cell = cast(Any, np.add.outer)(size * self.which, np.arange(size))
        total = np.bincount(cell.ravel(), counts.ravel(), minlength=len(self.values) * size)
        return total.astype(np.int64).reshape(-1, size)


class Memory:
    """How often each feature came with each label, and the stakes on single cells of that table.

    A feature gets a slot when it is first seen; from the next batch on, its cells are bets. The features of the first batch share
    half of the cells' capital, later ones an eighth of what is left each time.
    """

    def __init__(self, num_labels: int, *, share: float) -> None:
        self.num_labels = num_labels
        self.slots: dict[tuple[int, int], int] = {}
        self.examples: list[tuple[str, Any]] = []
        """For each slot the part of an answer that it is about, "" for all of it, and such an answer."""
        self.labels = np.zeros(num_labels, dtype=np.int64)
        self.counts = np.zeros((0, num_labels), dtype=np.int64)
        self._unstaked = self.counts
        self._share = share
        self._log_weight = np.zeros(0)
        cells = num_labels * (num_labels if num_labels <= MAX_PAIRED else 1)
        self._staked = max(1, MAX_CELLS // cells)

    def find(self, columns: list[Column]) -> npt.NDArray[np.intp]:
        """The slot of every feature of every answer, -1 where it is new; (m, F)."""
        return np.stack([self._slots(i, column.values)[column.which] for i, column in enumerate(columns)], 1)

    def _slots(self, number: int, values: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        return np.array([self.slots.get((number, value), -1) for value in values.tolist()], dtype=np.intp)

    def learn(self, batch: Batch, columns: list[Column]) -> None:
        """Counts a batch; features that are new get a slot while there is room, parts of answers first."""
        before, parts = len(self.slots), ("", *batch.parts)
        for number in (*range(1, len(columns)), 0):
            for value, i in zip(columns[number].values.tolist(), columns[number].first.tolist(), strict=True):
                if len(self.slots) == MAX_SLOTS:
                    break
                if (number, value) not in self.slots:
                    self.slots[number, value] = len(self.slots)
                    self.examples.append((parts[number], batch.outputs[i]))
        new = len(self.slots) - before
        self.counts = np.concatenate([self.counts, np.zeros((new, self.num_labels), np.int64)])
        self.labels += batch.counts.sum(axis=0)
        for number, column in enumerate(columns):
            slots = self._slots(number, column.values)
            self.counts[slots[slots >= 0]] += column.summed(batch.counts)[slots >= 0]
        self._stake(new)

    def _stake(self, new: int) -> None:
        """Shares capital among the cells of new slots; what was counted so far is not betted on."""
        self._unstaked = np.concatenate([self._unstaked, self.counts[len(self.counts) - new :]])
        room = min(new, self._staked - len(self._log_weight))
        if room > 0:
            spent = self._share * (0.125 if len(self._log_weight) else 0.5)
            self._log_weight = np.append(self._log_weight, np.full(room, np.log(spent / room)))
            self._share -= spent

    def cells(self) -> list[Bets]:
        """Bets that the answers with one feature come from one label: against each other one, and against all others together."""
        counts = (self.counts - self._unstaked)[: len(self._log_weight)]
        others = counts.sum(axis=1, keepdims=True) - counts
        alone = self._cells("one label of an answer", 1 / (self.num_labels - 1), counts, others)
        if self.num_labels > MAX_PAIRED:
            return [alone]
        one, other = np.nonzero(~np.eye(self.num_labels, dtype=np.bool_))
        paired = self._cells("one pair of labels of an answer", 1.0, counts[:, one], counts[:, other])
        return [alone, paired]

    def _cells(self, name: str, odds: float, wins: Counts, losses: Counts) -> Bets:
        """One family of such bets; those that went alike are added up."""
        families = 1 if self.num_labels > MAX_PAIRED else 2
        weight = np.repeat(np.exp(self._log_weight) / (families * wins.shape[1]), wins.shape[1])
        _, first, which = np.unique(wins * 2**31 + losses, return_index=True, return_inverse=True)
        won, lost = wins.reshape(-1, 1)[first], losses.reshape(-1, 1)[first]
        log_weight = np.log(np.bincount(which.ravel(), weight))
        return Bets(name, np.array([odds]), log_weight, won, lost, np.zeros_like(won))

    def clearest(self, epsilon: float, delta: float) -> tuple[int, int, int]:
        """The slot and the two labels whose counts speak loudest against the claim; whole answers before parts of them."""
        high, low = self.counts.argmax(axis=1), self.counts.argmin(axis=1)
        more, less = self.counts.max(axis=1).astype(np.float64), self.counts.min(axis=1).astype(np.float64)
        ratio = math.exp(epsilon)
        if delta > 0:
            loudness = np.divide(more - ratio * less, np.sqrt(more + (ratio * ratio) * less + 1))
        else:  # the log-likelihood ratio of the odds found against those of the claim, e^epsilon : 1
            odds, fair = np.log(more + 0.5) - np.log(less + 0.5), math.log1p(1 / ratio)
            won, lost = fair - np.log1p(np.exp(-odds)), epsilon + fair - np.log1p(np.exp(odds))
            loudness = np.where(odds > epsilon, 1.0, -1.0) * (more * won + less * lost)
        whole = np.array([part == "" for part, _ in self.examples])
        scale: Floats = np.where(whole | (loudness < 0), 1.0, 0.5)
        slot = int((scale * loudness).argmax())
        return slot, int(high[slot]), int(low[slot])


@dataclass
class Rules:
    """The competing rules, by how badly each predicted the labels of late."""

    memory: Memory
    epsilon: float
    losses: Floats

    @staticmethod
    def untried(memory: Memory, epsilon: float) -> "Rules":
        """Rules before the first batch; the first of equals is used."""
        return Rules(memory, epsilon, np.zeros(3))

    def scores(self, batch: Batch) -> Floats:
        """Log-likelihood of each label by the rule that is best of late, up to a constant for each answer; (m, K). Then learns."""
        columns = [Column(*np.unique(f, return_index=True, return_inverse=True)) for f in batch.features.T]
        slots = self.memory.find(columns)
        rules = (
            batch.named * (self.epsilon + 0.1),
            self._frequency(slots[:, :1]),
            self._frequency(slots[:, 1:]),
        )
        best = rules[int(self.losses.argmin())]
        lost = np.array([-float((batch.counts * _log_share(rule)).sum()) for rule in rules])
        self.losses = 0.7 * self.losses + lost  # rules learn: how they began is soon forgotten
        self.memory.learn(batch, columns)
        return best

    def _frequency(self, slots: npt.NDArray[np.intp]) -> Floats:
        """The sum over features of the logarithm of their smoothed frequency with each label; features that are new say nothing."""
        memory = self.memory
        table = np.log((memory.counts + 1) / (memory.labels + len(memory.counts) + 1))
        table = np.concatenate([table, np.zeros((1, memory.num_labels))])  # the row of slot -1
        total = np.zeros((len(slots), memory.num_labels))
        for column in slots.T:
            total += table[column]
        return total


def _log_share(scores: Floats) -> Floats:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def opened(num_labels: int, delta: float) -> list[Bets]:
    """The families besides the cells before the first batch: half of the capital on guesses, a quarter (with delta, half) on pairs."""
    pairs = num_labels * (num_labels - 1) // 2 if num_labels <= MAX_PAIRED else 0
    alone, sizes = 1 / (num_labels - 1), np.arange(1, num_labels)
    if delta > 0:
        families = [Bets.opened("guesses of the label", alone, np.full(3, 1 / 6))]
        names = ["guesses between two labels"] * (3 if pairs else 0)
        return families + [Bets.opened(name, 1.0, np.full(pairs, 1 / 6 / pairs)) for name in names]
    families = [
        Bets.opened("guesses of the label", alone, [1 / 4, 1 / 4, 1 / 32]),
        Bets.opened("guesses of a set of labels", sizes / (num_labels - sizes), 1 / 16),
        Bets.opened("guesses between the likeliest label and the unlikeliest", 1.0, 1 / 32),
    ]
    if pairs:
        families.append(Bets.opened("guesses between two labels", 1.0, np.full(pairs, 1 / 8 / pairs)))
    return families


def trials(scores: Floats, counts: Counts, *, epsilon: float, delta: float) -> list[Trials]:
    """What happened to the guesses of each family in a batch, in the order of `opened`.

    Args:
        scores: log-likelihood of each label by the rule in use, (m, K).
        counts: how often each answer came with each label, (m, K).
        epsilon: the claim; a guess is made where the rule expects odds well above even, or, with delta, above e^epsilon.
        delta: the claim.
    """
    num_labels = scores.shape[1]
    middle = epsilon if delta > 0 else epsilon / 2
    levels = tuple(max(level, 1e-9) for level in (epsilon / 2 if delta > 0 else 0, middle, epsilon + 1))
    families = [_guesses(scores, counts, levels)]
    if delta == 0:
        families += [_sets(scores, counts, levels[1]), _extremes(scores, counts, levels[1])]
    if num_labels <= MAX_PAIRED:
        families += [_pairs(scores, counts, level) for level in (levels if delta > 0 else levels[1:2])]
    return families


def _guesses(scores: Floats, counts: Counts, levels: tuple[float, ...]) -> Trials:
    """The likeliest label of each answer, where its odds against the average of the others exceed a level; one bet a level."""
    guess = scores.argmax(axis=1)
    share = _log_share(scores)[np.arange(len(scores)), guess]
    odds = share - np.log(-np.expm1(np.minimum(share, -1e-300))) + np.log(scores.shape[1] - 1)
    right, all_of = counts[np.arange(len(counts)), guess], counts.sum(axis=1)
    made = np.stack([odds > level for level in levels]).astype(np.int64)
    wins, tried = made @ right, made @ all_of
    return wins[:, None], (tried - wins)[:, None], (all_of.sum() - tried)[:, None]


def _sets(scores: Floats, counts: Counts, level: float) -> Trials:
    """The labels nearer to the likeliest than to the unlikeliest; one kind for each size of the set."""
    high, low = scores.max(axis=1, keepdims=True), scores.min(axis=1, keepdims=True)
    inside = scores > (high + low) / 2
    made = (high - low)[:, 0] > level
    size = inside.sum(axis=1)[made] - 1
    right, all_of = (counts * inside).sum(axis=1)[made], counts.sum(axis=1)[made]
    wins = np.bincount(size, right, minlength=scores.shape[1] - 1).astype(np.int64)
    tried = np.bincount(size, all_of, minlength=scores.shape[1] - 1).astype(np.int64)
    return wins[None], (tried - wins)[None], 0


def _extremes(scores: Floats, counts: Counts, level: float) -> Trials:
    """The likeliest label of each answer against its unlikeliest, all answers pooled."""
    rows = np.arange(len(scores))
    high, low = scores.argmax(axis=1), scores.argmin(axis=1)
    made = scores[rows, high] - scores[rows, low] > level
    return counts[rows, high][made].sum(), counts[rows, low][made].sum(), 0


def _pairs(scores: Floats, counts: Counts, level: float) -> Trials:
    """The likelier label of each pair, where it is likelier by more than the level; one bet a pair."""
    num_labels = scores.shape[1]
    wins = np.zeros((num_labels, num_labels), dtype=np.int64)  # [a, b]: a was guessed and right
    losses = np.zeros((num_labels, num_labels), dtype=np.int64)  # [a, b]: a was guessed, b was right
    for label in range(num_labels):
        guessed = (scores[:, label, None] - scores > level).astype(np.float64)
        wins[label] = np.rint(counts[:, label].astype(np.float64) @ guessed)
        losses[label] = np.rint((guessed * counts).sum(axis=0))
    one, other = np.triu_indices(num_labels, 1)
    won, lost = (wins + wins.T)[one, other], (losses + losses.T)[one, other]
    of_label = counts.sum(axis=0)
    return won[:, None], lost[:, None], (of_label[one] + of_label[other] - won - lost)[:, None]
