"""Releases of labels that are tensors: the same law and thresholds, on the tensors' device.

The one file of labeldp that imports torch, and only when a tensor is passed. Words come from the source on the host; labels and prior
stay where they are. Torch has no unsigned 64-bit arithmetic: words are int64 with the same bits, compared with the sign bit flipped and divided as unsigned.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
import dataclasses
import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

import accounting
from labeldp.mechanisms import (
    Mechanism,
    Plan,
    RandomizedResponse,
    SelectiveRandomizedResponse,
    SubsetSelection,
    UnaryEncoding,
)
from labeldp.mechanisms.mechanism import outside_domain
from labeldp.mechanisms.prior import CHUNK_BYTES, bad_rows_error, weight_scale
from labeldp.mechanisms.selection import NAT, NOT_ALLOWED, Information, information_table
from labeldp.mechanisms.thresholds import exponential_below, thresholds
from labeldp.release.advice import teach
from labeldp.release.keyed import Context, Items, KeyedSource
from labeldp.release.noisy_labels import NoisyLabels
from labeldp.release.randomness import Source
from labeldp.release.sampling import answer_type, checked_words

Answer: TypeAlias = tuple[Tensor, Tensor]
SIGN = -(2**63)


def serves(mechanism: Mechanism) -> bool:
    """Whether the mechanism answers on the device; others answer on the host, and their answers are moved back."""
    kinds = (RandomizedResponse, SelectiveRandomizedResponse, SubsetSelection, UnaryEncoding)
    return type(mechanism) in kinds and mechanism.epsilon <= 40


def signed(word: int) -> int:
    """The int64 with the bits of a 64-bit word."""
    return word - 2**64 if word >= 2**63 else word


def below(words: Tensor, limit: Tensor | int) -> Tensor:
    """Unsigned words < limit."""
    return (words ^ SIGN) < (limit ^ SIGN)


def quotient(words: Tensor, divisor: Tensor) -> Tensor:
    """Unsigned words // divisor > 0: divide half of the word, then correct by at most one; divisors from 2^63 on go once at most."""
    half = ((words >> 1) & (2**63 - 1)) // divisor.clamp(min=1)
    estimate = torch.where(divisor < 0, 0, half * 2)
    return estimate + (~below(words - estimate * divisor, divisor)).long()


def plan(mechanism: Mechanism, prior: object, num_items: int, device: torch.device) -> Plan:
    """The plan of n items, its candidates a tensor on the device."""
    if not isinstance(mechanism, SelectiveRandomizedResponse):
        return Plan(num_items)
    rows = _prior_rows(prior, num_items, mechanism.num_classes, device)
    mask = torch.empty(rows.shape, dtype=torch.bool, device=device)
    size = max(1, CHUNK_BYTES // (8 * mechanism.num_classes))
    for start in range(0, num_items, size):
        chunk = slice(start, start + size)
        mask[chunk] = _select(mechanism, _integer_weights(rows[chunk], first_row=start))
    return Plan(num_items, mask)  # pyright: ignore[reportArgumentType]


def _prior_rows(prior: object, num_items: int, num_classes: int, device: torch.device) -> Tensor:
    if (
        not isinstance(prior, Tensor)
        or prior.device != device
        or prior.is_complex()
        or prior.dtype == torch.bool
    ):
        came = f"one on {prior.device}, {prior.dtype}" if isinstance(prior, Tensor) else type(prior).__name__
        raise TypeError(
            f"Expected the prior to be a tensor of real numbers on {device}, like the labels, got {came}."
        )
    rows = prior.expand(num_items, num_classes) if prior.shape == (num_classes,) else prior
    if rows.shape != (num_items, num_classes):
        raise ValueError(
            f"Expected prior of shape (n, K) = ({num_items}, {num_classes}), one row per label, got {tuple(rows.shape)}."
        )
    return rows.detach()


def _integer_weights(rows: Tensor, *, first_row: int) -> Tensor:
    """As `labeldp.mechanisms.prior.integer_weights`, number for number."""
    rows = rows.double()
    largest = rows.amax(dim=1)
    good = (rows.amin(dim=1) >= 0) & (largest > 0) & (largest < torch.inf)
    if not bool(good.all()):
        bad = torch.nonzero(~good)
        raise bad_rows_error(len(bad), len(rows), first_row + int(bad[0]))
    scaled = torch.round(rows / largest[:, None] * weight_scale(rows.shape[1])).long()
    return torch.maximum(scaled, (rows > 0).long())


def _select(mechanism: SelectiveRandomizedResponse, weights: Tensor) -> Tensor:
    match mechanism.size:
        case "accuracy":
            return _most_accurate(weights, mechanism.epsilon)
        case "information":
            return _most_informative(weights, mechanism.epsilon, other=mechanism.outside == "other")
        case int():
            return _largest(weights, torch.full_like(weights[:, 0], mechanism.size))


def _largest(weights: Tensor, sizes: Tensor) -> Tensor:
    """The largest classes of each row, ties by index."""
    order = torch.sort(weights, dim=1, descending=True, stable=True).indices
    chosen = torch.arange(weights.shape[1], device=weights.device) < sizes[:, None]
    return torch.zeros_like(chosen).scatter_(1, order, chosen)


def _most_accurate(weights: Tensor, epsilon: float) -> Tensor:
    """As `labeldp.mechanisms.selection.most_accurate`."""
    ratio = float(exponential_below(epsilon))
    mask = weights > (weights.amax(dim=1).double() / ratio).long()[:, None]
    count = mask.sum(dim=1)
    active = count > 1
    while bool(active.any()):
        level = ((weights * mask).sum(dim=1) / (ratio + (count - 1).double())).long()
        mask = torch.where(active[:, None], weights > level[:, None], mask)
        before, count = count, mask.sum(dim=1)
        active = active & (count < before) & (count > 1)
    return torch.where((count == 0)[:, None], _largest(weights, torch.ones_like(count)), mask)


def _most_informative(weights: Tensor, epsilon: float, *, other: bool) -> Tensor:
    """As `labeldp.mechanisms.selection.most_informative`, every size computed."""
    whole = weights.sort(dim=1, descending=True).values
    inside = whole.cumsum(dim=1)
    beyond = (inside[:, -1:] - inside).double()
    ordered, inside, total = whole.double(), inside.double(), inside[:, -1:].double()
    table = information_table(epsilon, weights.shape[1], other)
    if other:
        share = table.odds / total
        heat = _units(1 + ordered * share, table.heat).cumsum(dim=1)
        heat += _units(1 + beyond * share, table.heat)
        gain = torch.tensor(table.gain[1:-1].tolist(), dtype=torch.float64, device=weights.device)
        units = torch.round((table.all_heat - heat).double() * gain).long()
    else:
        share = 1 / total
        mass, outside = inside * share, beyond * share
        sizes = range(1, weights.shape[1] + 1)
        columns = [
            _information(ordered[:, :k], share, mass[:, k - 1 : k], outside[:, k - 1 : k], table)
            for k in sizes
        ]
        units = torch.cat(columns, dim=1)
    units[:, 0] = NOT_ALLOWED
    units = torch.where(whole > 0, units, NOT_ALLOWED)
    size = torch.arange(1, weights.shape[1] + 1, device=weights.device)
    best = torch.where(units == units.amax(dim=1, keepdim=True), size, weights.shape[1]).amin(dim=1)
    return _largest(weights, torch.where((whole > 0).sum(dim=1) > 1, best, 1))


def _information(ordered: Tensor, share: Tensor, mass: Tensor, outside: Tensor, table: Information) -> Tensor:
    k = ordered.shape[1]
    lie, lift, inverse = float(table.lie[k]), float(table.lift[k]), float(table.inverse[k])
    output = ordered * (lift * share) + (mass * lie + outside * inverse)
    answer = torch.round((mass * float(table.entropy[k]) + outside * float(table.log[k])) * NAT).long()
    return _units(output, -NAT).sum(dim=1, keepdim=True) - answer


def _units(x: Tensor, scale: float) -> Tensor:
    """x ln x in units, by the operations of `labeldp.mechanisms.selection.natural_log` in their order."""
    pattern = x.contiguous().view(torch.int64)
    exponent = (pattern - 0x3FE6A09E667F3BCD) >> 52
    m = (pattern - (exponent << 52)).view(torch.float64)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    series = z / 17
    for odd in (15, 13, 11, 9, 7, 5, 3):
        series = z * (1 / odd + series)
    log = exponent.double() * 0.6931471805599453 + 2.0 * s * (1.0 + series)
    return torch.round(x * log * scale).long()


def choose(mechanism: Mechanism, words: Tensor, labels: Tensor, plan: Plan) -> Answer:
    """As `mechanism.choose` at 64 bits."""
    match mechanism:
        case RandomizedResponse():
            size = torch.full_like(labels, mechanism.num_classes)
            return _randomized_rank(words[:, 0], labels, size, mechanism.epsilon)
        case SelectiveRandomizedResponse():
            return _selective(mechanism, words[:, 0], labels, plan)
        case SubsetSelection():
            return _subset(mechanism, words, labels)
        case UnaryEncoding():
            own = torch.arange(mechanism.num_classes, device=labels.device) == labels[:, None]
            likely, even = mechanism.ends(64)
            likely = below(words, signed(likely))
            mine = likely if mechanism.variant == "symmetric" else below(words, signed(even))
            return torch.where(own, mine, ~likely), torch.zeros_like(labels, dtype=torch.bool)
        case _:
            raise AssertionError(mechanism)


def _table(sizes: Tensor, entry: Callable[[int], tuple[int, ...]]) -> list[Tensor]:
    """Thresholds for every size that occurs, looked up for each item."""
    present: list[int] = torch.unique(sizes).tolist()
    columns = [[signed(v) for v in column] for column in zip(*map(entry, present), strict=True)]
    which = torch.searchsorted(torch.tensor(present, device=sizes.device), sizes.contiguous())
    return [torch.tensor(column, device=sizes.device)[which] for column in columns]


def _randomized_rank(words: Tensor, ranks: Tensor, alphabet: Tensor, epsilon: float) -> Answer:
    """As `labeldp.mechanisms.thresholds.randomized_rank`."""
    top, step = _table(alphabet, lambda a: thresholds(epsilon, 1, a - 1, 64))
    kept = below(words, top)
    lie = quotient(words - top, step)
    rejected = ~kept & ~below(lie, alphabet - 1)
    lie = lie + (~below(lie, ranks)).long()
    return torch.where(rejected, 0, torch.where(kept, ranks, lie)), rejected


def _selective(mechanism: SelectiveRandomizedResponse, words: Tensor, labels: Tensor, plan: Plan) -> Answer:
    mask: Tensor = plan.candidates  # pyright: ignore[reportAssignmentType]
    classes = torch.arange(mechanism.num_classes, device=labels.device)
    position = mask.cumsum(dim=1)
    size = position[:, -1]
    inside = mask.gather(1, labels[:, None])[:, 0]
    rank = torch.where(inside, position.gather(1, labels[:, None])[:, 0] - 1, size)
    alphabet = torch.clamp(size + int(mechanism.outside == "other"), max=mechanism.num_classes)
    answer, rejected = _randomized_rank(words, rank, alphabet, mechanism.epsilon)
    if mechanism.outside == "uniform":
        (stretch,) = _table(size, lambda k: (mechanism.accepted(k, 64) // k,))
        drawn = quotient(words, stretch)
        again = ~below(drawn, size)
        answer = torch.where(inside, answer, torch.where(again, 0, drawn))
        rejected = torch.where(inside, rejected, again)
    chosen = mask & (position == answer[:, None] + 1)
    return torch.where(answer == size, mechanism.num_classes, (chosen * classes).sum(dim=1)), rejected


def _subset(mechanism: SubsetSelection, words: Tensor, labels: Tensor) -> Answer:
    others, size = mechanism.num_classes - 1, mechanism.size
    yes, end = mechanism.ends(64)
    included, rejected = below(words[:, 0], signed(yes)), ~below(words[:, 0], signed(end))
    chosen = torch.zeros((len(labels), others), dtype=torch.bool, device=labels.device)
    for step in range(size):
        last = others - size + step
        stretch = torch.full_like(labels, signed((2**64 - 1) // (last + 1)))
        drawn = quotient(words[:, 1 + step], stretch)
        again = ~below(drawn, last + 1)
        drawn = torch.where(again, 0, drawn)[:, None]
        rejected = rejected | again
        member = torch.where(chosen.gather(1, drawn), last, drawn)
        chosen = chosen.scatter(1, member, torch.ones_like(member, dtype=torch.bool))
        if step == 0:
            chosen &= ~included[:, None]
    classes = torch.arange(mechanism.num_classes, device=labels.device)
    source = torch.clamp(classes - (classes > labels[:, None]).long(), max=others - 1)
    answer = chosen.gather(1, source)
    return torch.where(classes == labels[:, None], included[:, None], answer), rejected


def privatize(
    mechanism: Mechanism, labels: Tensor, *, prior: object, source: Source, items: Items | None
) -> NoisyLabels:
    """As `labeldp.privatize`, for labels and prior that are tensors on one device; values and candidates are tensors there."""
    decided = plan(mechanism, prior, len(labels), labels.device)
    event = mechanism.event(decided)
    teach(mechanism, event, source)
    checked = _checked_labels(labels, mechanism.num_classes)
    dtype = answer_type(mechanism, np.dtype(str(labels.dtype).removeprefix("torch.")))
    shape = (len(labels), *mechanism.answer_shape)
    values = torch.empty(shape, dtype=getattr(torch, dtype.name), device=labels.device)
    size = max(
        1,
        CHUNK_BYTES
        // (8 * mechanism.num_words + 32 * (mechanism.num_classes if decided.candidates is not None else 1)),
    )
    for chunk in decided.chunks(size):
        values[chunk] = _chunk(mechanism, checked[chunk], decided[chunk], source, items and items[chunk]).to(
            values.dtype
        )
    stamped = event if source.secure else accounting.Seeded(event)
    return NoisyLabels(mechanism=mechanism, values=values, plan=decided, event=stamped)  # pyright: ignore[reportArgumentType]


def _checked_labels(labels: Tensor, num_classes: int) -> Tensor:
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(
            f"Expected labels that are integers in 0 .. {num_classes - 1}, got a tensor of {labels.dtype}."
        )
    numbers = labels.detach().long()  # a class number that the labels' own type cannot hold would wrap
    if len(labels) and not bool(((numbers >= 0) & (numbers < num_classes)).all()):
        raise outside_domain(num_classes)
    return numbers


def _chunk(
    mechanism: Mechanism, labels: Tensor, decided: Plan, source: Source, items: Items | None
) -> Tensor:
    """Answers of a few items; rejected ones are drawn again."""
    context = _host_context(mechanism, labels, decided, items) if isinstance(source, KeyedSource) else None
    values, rejected = choose(
        mechanism, _words(mechanism, source, context, len(labels), labels.device), labels, decided
    )
    attempt = 1
    while bool(rejected.any()):
        again = torch.nonzero(rejected)[:, 0]
        retry = None if context is None else context.again(again.cpu().numpy(), attempt)
        words = _words(mechanism, source, retry, len(again), labels.device)
        values[again], rejected[again] = choose(mechanism, words, labels[again], decided[again])  # pyright: ignore[reportArgumentType]
        attempt += 1
    return values


def _words(
    mechanism: Mechanism, source: Source, context: Context | None, num_items: int, device: torch.device
) -> Tensor:
    """Words of the source as int64 of the same bits, (n, num_words), on the device."""
    words = checked_words(source, num_items * mechanism.num_words, context).view(np.int64)
    return torch.tensor(words.reshape(num_items, mechanism.num_words), device=device)


def _host_context(mechanism: Mechanism, labels: Tensor, decided: Plan, items: Items | None) -> Context:
    """What keyed noise is a function of, on the host."""
    decided = dataclasses.replace(decided, candidates=on_host(decided.candidates))
    return Context(mechanism, items, labels.cpu().numpy(), decided)


def likelihood(mechanism: Mechanism, values: Tensor, decided: Plan) -> Tensor:
    """As `mechanism.likelihood`, on the values' device, float64."""
    ratio = math.exp(mechanism.epsilon)
    classes = torch.arange(mechanism.num_classes, device=values.device)
    match mechanism:
        case RandomizedResponse():
            lie = 1 / (ratio + mechanism.num_classes - 1)
            return _either(values[:, None] == classes, ratio * lie, lie)
        case SelectiveRandomizedResponse():
            mask: Tensor = decided.candidates  # pyright: ignore[reportAssignmentType]
            size = mask.sum(dim=1, keepdim=True).double()
            same = values[:, None] == classes
            if mechanism.outside == "other":
                lie = 1 / (ratio + (size + 1).clamp(max=mechanism.num_classes) - 1)
                return torch.where(
                    same | (~mask & (values == mechanism.num_classes)[:, None]), ratio * lie, lie
                )
            lie = 1 / (ratio + size - 1)
            return torch.where(mask, torch.where(same, ratio * lie, lie), 1 / size)
        case SubsetSelection():
            inside, outside = mechanism.probabilities()
            return _either(values, inside, outside)
        case UnaryEncoding():
            own, other = (_either(values, *logs) for logs in mechanism.log_probabilities())
            rows = other.sum(dim=1, keepdim=True) - other + own
            return torch.exp(rows - rows.amax(dim=1, keepdim=True) if mechanism.num_classes > 12 else rows)
        case _:
            host = mechanism.likelihood(values.cpu().numpy(), decided)
            return torch.from_numpy(host).to(values.device)


def _either(condition: Tensor, yes: float, no: float) -> Tensor:
    """One of two numbers, as float64, where torch would take the default type of floats."""
    numbers = torch.tensor([no, yes], dtype=torch.float64, device=condition.device)
    return numbers[condition.long()]


def posterior(mechanism: Mechanism, values: Tensor, decided: Plan, prior: object) -> Tensor:
    """As `NoisyLabels.posterior`, for a prior on the values' device."""
    rows = _prior_rows(prior, len(values), mechanism.num_classes, values.device)
    _integer_weights(rows, first_row=0)  # refuses what is no distribution up to scale
    joint = likelihood(mechanism, values, decided) * (rows.double() / rows.double().amax(dim=1, keepdim=True))
    return joint / joint.sum(dim=1, keepdim=True)


def on_host(values: object) -> object:
    """A tensor as an array; anything else as it is."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values


def moved(noisy: NoisyLabels, device: torch.device | None) -> NoisyLabels:
    """The release with its values on the device, or, with None, all of it on the host."""
    if device is not None:
        return dataclasses.replace(noisy, values=torch.from_numpy(noisy.values).to(device))
    decided = dataclasses.replace(noisy.plan, candidates=on_host(noisy.plan.candidates))
    return dataclasses.replace(noisy, values=on_host(noisy.values), plan=decided)
