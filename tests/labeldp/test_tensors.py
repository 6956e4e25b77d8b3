"""Labels that are tensors: the same answers as arrays for the same words, on the tensors' device."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import labeldp
from labeldp.mechanisms.thresholds import thresholds
from labeldp.release import torch_kernels
from tests.strategies import FULL_RANGE_EPSILONS, prior_rows

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
each_device = pytest.mark.parametrize("device", DEVICES)
RNG = np.random.default_rng(0)
K, N = 7, 3000
LABELS = RNG.integers(K, size=N)
PRIOR = np.round(RNG.dirichlet(np.full(K, 0.4), size=N), 3) + (RNG.random((N, K)) < 0.1) * 0.2 + 1e-6
SELECTIVE = [
    labeldp.SelectiveRandomizedResponse(epsilon, K, size=size, outside=outside)
    for epsilon in (0.0, 0.3, 2.0, 40.0)
    for size in ("accuracy", "information", 1, 3, 7)
    for outside in ("uniform", "other")
]
MECHANISMS = [
    *SELECTIVE,
    *(labeldp.RandomizedResponse(epsilon, K) for epsilon in (0.0, 1.0, 40.0, 60.0)),
    *(labeldp.SubsetSelection(epsilon, K, subset_size=w) for epsilon in (0.0, 1.0, 40.0) for w in (1, 3, 6)),
    *(labeldp.UnaryEncoding(1.0, K, variant=variant) for variant in ("symmetric", "optimized")),
    labeldp.UnaryEncoding(1.0, 2),
    labeldp.PartitionedRandomizedResponse(1.0, K),
    labeldp.NoisyOneHot(1.0, K),
]
each_mechanism = pytest.mark.parametrize("mechanism", MECHANISMS, ids=repr)


def both(
    mechanism, device="cpu", labels=LABELS, prior=PRIOR, source=lambda: labeldp.SeededSource(3), items=None
):
    """The release from arrays and the one from tensors, with the same words."""
    labels = np.minimum(labels, mechanism.num_classes - 1)
    prior = prior[:, : mechanism.num_classes]
    arrays = labeldp.privatize(mechanism, labels, prior=prior, source=source(), items=items)
    tensors = labeldp.privatize(
        mechanism,
        torch.from_numpy(labels).to(device),
        prior=torch.from_numpy(prior).to(device),
        source=source(),
        items=items,
    )
    return arrays, tensors


def check_equal(arrays, tensors, device="cpu") -> None:
    assert isinstance(tensors.values, torch.Tensor)
    assert tensors.values.device.type == device
    np.testing.assert_array_equal(tensors.values.cpu().numpy(), arrays.values)
    if arrays.candidates is not None:
        np.testing.assert_array_equal(tensors.candidates.cpu().numpy(), arrays.candidates)
    assert tensors.event == arrays.event
    likelihood = tensors.likelihood()
    assert likelihood.dtype == torch.float64
    assert likelihood.device.type == device
    np.testing.assert_allclose(likelihood.cpu().numpy(), arrays.likelihood(), rtol=1e-12)


@each_device
@each_mechanism
def test_tensors_are_answered_as_arrays_are(mechanism, device: str) -> None:
    check_equal(*both(mechanism, device), device)


def test_another_word_would_be_seen() -> None:
    """The twin."""
    arrays, _ = both(labeldp.RandomizedResponse(1.0, K))
    _, other = both(labeldp.RandomizedResponse(1.0, K), source=lambda: labeldp.SeededSource(4))
    with pytest.raises(AssertionError):
        check_equal(arrays, other)


@settings(deadline=None, max_examples=150)
@given(st.data(), FULL_RANGE_EPSILONS.filter(lambda e: e <= 40), st.integers(2, 9))
def test_candidates_of_any_prior_are_the_same(data, epsilon: float, num_classes: int) -> None:
    rows = np.stack([data.draw(prior_rows(num_classes)) for _ in range(3)])
    size = data.draw(st.sampled_from(["accuracy", "information", 1, num_classes]))
    outside = data.draw(st.sampled_from(["uniform", "other"]))
    mechanism = labeldp.SelectiveRandomizedResponse(epsilon, num_classes, size=size, outside=outside)
    plan = torch_kernels.plan(mechanism, torch.from_numpy(rows), 3, torch.device("cpu"))
    np.testing.assert_array_equal(plan.candidates.numpy(), mechanism.candidates(rows))


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 1]), min_size=1),
    st.integers(1, 2**64 - 1) | st.sampled_from([1, 2**63 - 1, 2**63, 2**64 - 1]),
)
def test_words_are_compared_and_divided_as_unsigned(words: list[int], divisor: int) -> None:
    signed = torch.tensor([torch_kernels.signed(word) for word in words])
    limit = torch.full_like(signed, torch_kernels.signed(divisor))
    assert torch_kernels.below(signed, limit).tolist() == [word < divisor for word in words]
    quotients = torch_kernels.quotient(signed, limit).tolist()
    assert quotients == [torch_kernels.signed(word // divisor) for word in words]


@pytest.mark.parametrize("mechanism", SELECTIVE[10:20], ids=repr)
def test_every_boundary_word_is_answered_alike(mechanism) -> None:
    """Words beside every threshold, where an error of one would show."""
    plan = mechanism.plan(PRIOR, N)
    edges = {0, 2**63, 2**64 - 1}
    for alphabet in range(1, K + 2):
        top, step = thresholds(mechanism.epsilon, 1, alphabet - 1, 64)
        edges |= {top + j * step for j in range(alphabet + 1)} | {
            j * (top // alphabet) for j in range(alphabet)
        }
    words = np.array([e + d for e in edges for d in (-1, 0, 1) if 0 <= e + d < 2**64], dtype=np.uint64)
    rows = np.arange(len(words)) % N
    expected = mechanism.choose(words[:, None], LABELS[rows], plan[rows], 64)
    decided = dataclasses.replace(plan, candidates=torch.from_numpy(plan.candidates))
    chosen = torch_kernels.choose(
        mechanism,
        torch.from_numpy(words.view(np.int64))[:, None],
        torch.from_numpy(LABELS[rows]),
        decided[torch.from_numpy(rows)],
    )
    for got, want in zip(chosen, expected, strict=True):
        np.testing.assert_array_equal(got.numpy(), want)


@each_device
def test_keyed_noise_is_the_same_for_tensors(device: str) -> None:
    for mechanism in (labeldp.RandomizedResponse(1.0, K), SELECTIVE[6], labeldp.SubsetSelection(1.0, K)):
        check_equal(
            *both(mechanism, device, source=lambda: labeldp.KeyedSource(bytes(32)), items=np.arange(N)),
            device,
        )


def test_a_keyed_release_of_tensors_draws_rejected_rows_again() -> None:
    mechanism = labeldp.RandomizedResponse(40.0, K)  # one word in some hundred is drawn again
    check_equal(*both(mechanism, source=lambda: labeldp.KeyedSource(bytes(32)), items=np.arange(N)))


@each_device
def test_posterior_and_saving(device: str, tmp_path) -> None:
    for mechanism in (
        SELECTIVE[6],
        SELECTIVE[13],
        labeldp.SubsetSelection(1.0, K),
        labeldp.NoisyOneHot(1.0, K),
    ):
        arrays, tensors = both(mechanism, device)
        posterior = tensors.posterior(torch.from_numpy(PRIOR).to(device))
        np.testing.assert_allclose(posterior.cpu().numpy(), arrays.posterior(PRIOR), rtol=1e-12)
        tensors.save(tmp_path / "noisy.npz")
        loaded = labeldp.NoisyLabels.load(tmp_path / "noisy.npz")
        np.testing.assert_array_equal(loaded.values, arrays.values)
        np.testing.assert_array_equal(loaded.likelihood(), arrays.likelihood())
        assert tensors.guarantee(unit="label").why == "seeded randomness: not for release"


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_answers_have_the_labels_type_or_the_next_wider(dtype) -> None:
    labels = torch.tensor([0, 1, 2, 0], dtype=dtype)
    assert labeldp.privatize(labeldp.RandomizedResponse(1.0, 3), labels).values.dtype == dtype
    wide = labeldp.privatize(labeldp.RandomizedResponse(1.0, 300), labels).values
    assert wide.dtype != torch.int8
    assert wide.dtype == (dtype if dtype not in (torch.uint8, torch.int8) else wide.dtype)


BAD = {
    "float labels": (torch.tensor([0.0, 1.0]), torch.ones(K), "integers"),
    "bool labels": (torch.tensor([True, False]), torch.ones(K), "integers"),
    "label outside": (torch.tensor([0, 3217]), torch.ones(K), "every label"),
    "negative label": (torch.tensor([0, -1]), torch.ones(K), "every label"),
    "two-dimensional": (torch.zeros((2, 2), dtype=torch.int64), torch.ones(K), "shape"),
    "array prior": (torch.tensor([0, 1]), np.ones(K), "tensor"),
    "no prior": (torch.tensor([0, 1]), None, "tensor"),
    "wrong shape": (torch.tensor([0, 1]), torch.ones(3, K), "shape"),
    "nan": (torch.tensor([0, 1]), torch.full((K,), torch.nan), "finite"),
    "infinite": (torch.tensor([0, 1]), torch.full((K,), torch.inf), "finite"),
    "negative prior": (torch.tensor([0, 1]), torch.tensor([1.0] * (K - 1) + [-1.0]), "finite"),
    "all zero": (torch.tensor([0, 1]), torch.zeros(K), "finite"),
    "complex prior": (torch.tensor([0, 1]), torch.ones(K, dtype=torch.complex64), "real"),
    "bool prior": (torch.tensor([0, 1]), torch.ones(K, dtype=torch.bool), "real"),
    "meta prior": (torch.tensor([0, 1]), torch.ones(K, device="meta"), "tensor"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tensors_are_refused(name: str) -> None:
    labels, prior, word = BAD[name]
    with pytest.raises((TypeError, ValueError), match=word) as caught:
        labeldp.privatize(labeldp.SelectiveRandomizedResponse(1.0, K), labels, prior=prior)
    assert "3217" not in str(caught.value)


def test_no_items_and_a_prior_that_needs_no_gradient() -> None:
    empty = labeldp.privatize(SELECTIVE[6], torch.zeros(0, dtype=torch.int64), prior=torch.ones(K))
    assert len(empty) == 0
    assert empty.likelihood().shape == (0, K)
    prior = torch.ones(2, K, requires_grad=True)
    noisy = labeldp.privatize(SELECTIVE[6], torch.tensor([0, 1]), prior=prior)
    assert not noisy.likelihood().requires_grad
    assert noisy.posterior(prior).shape == (2, K)


@pytest.mark.parametrize(
    ("dtype", "num_classes"), [(torch.uint8, 300), (torch.int8, 128), (torch.uint8, 256)]
)
def test_a_domain_beyond_the_labels_type_does_not_wrap(dtype, num_classes: int) -> None:
    labels = torch.tensor([0, 120, 127], dtype=dtype)
    assert len(labeldp.privatize(labeldp.RandomizedResponse(1.0, num_classes), labels)) == 3


def test_a_mechanism_that_only_looks_like_ours_answers_by_its_own_law() -> None:
    class Constant(labeldp.RandomizedResponse):
        def choose(self, words, labels, plan, bits):
            return np.zeros_like(labels), np.zeros(len(labels), dtype=bool)

    assert labeldp.privatize(Constant(1.0, 3), torch.tensor([1, 2, 1, 2])).values.tolist() == [0, 0, 0, 0]
