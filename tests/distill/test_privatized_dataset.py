"""A data set for training loops: noise drawn once, the same in every epoch, worker and copy, and no true label in any of them."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

import labeldp
from distill import PrivatizedDataset
from distill.train import negative_log_likelihood

K = 10
SECRETS = np.array([7, 3, 3, 9, 0, 1, 8, 5] * 25)
FEATURES = torch.arange(200 * 4, dtype=torch.float32).reshape(200, 4)
RESPONSE = labeldp.RandomizedResponse(1.0, K)


def made(**options) -> PrivatizedDataset:
    return PrivatizedDataset.of(TensorDataset(FEATURES, torch.from_numpy(SECRETS)), RESPONSE, **options)


class DrawsPerEpoch(Dataset):
    """The mistake: a release for each time an item is read."""

    def __len__(self) -> int:
        return len(SECRETS)

    def __getitem__(self, number: int):
        noisy = labeldp.privatize(RESPONSE, SECRETS[number : number + 1])
        return FEATURES[number], torch.from_numpy(noisy.likelihood()[0]).log().float(), number


class KeepsLabels(PrivatizedDataset):
    """The mistake: the data set it was made of stays in it."""

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.origin = TensorDataset(FEATURES, torch.from_numpy(SECRETS))


def epoch(data: Dataset, **options) -> list[torch.Tensor]:
    """All targets by item number, from one pass in batches."""
    found: dict[int, torch.Tensor] = {}
    for _, targets, numbers in DataLoader(data, batch_size=64, shuffle=True, **options):
        found.update(zip(numbers.tolist(), targets, strict=True))
    return [found[number] for number in range(len(SECRETS))]


def check_same_every_epoch(data: Dataset, **options) -> None:
    first, second = epoch(data), epoch(data, **options)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def check_pickle_holds_no_label(data: object) -> None:
    copied = pickle.dumps(data)
    for kind in (np.int64, np.uint8, np.float32):
        assert SECRETS.astype(kind).tobytes() not in copied


def test_every_epoch_has_the_same_noise() -> None:
    check_same_every_epoch(made())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_have_the_same_noise(method: str) -> None:
    check_same_every_epoch(made(), num_workers=1, multiprocessing_context=method)


def test_noise_drawn_per_epoch_would_be_seen() -> None:
    with pytest.raises(AssertionError):
        check_same_every_epoch(DrawsPerEpoch())


def test_two_data_sets_have_noise_of_their_own() -> None:
    assert not np.array_equal(made().noisy.values, made().noisy.values)


def test_pickle_holds_no_label() -> None:
    check_pickle_holds_no_label(made())
    check_pickle_holds_no_label(made(target="class"))
    with pytest.raises(AssertionError):
        check_pickle_holds_no_label(KeepsLabels(FEATURES, labeldp.privatize(RESPONSE, SECRETS)))


def test_features_that_share_a_table_with_labels_are_taken_out_of_it() -> None:
    table = torch.cat([torch.from_numpy(SECRETS).float()[None], FEATURES.T]).contiguous()
    features = table[1:].T
    with pytest.raises(AssertionError):
        check_pickle_holds_no_label(features)  # torch pickles all that the slice is a part of
    data = PrivatizedDataset(features, labeldp.privatize(RESPONSE, SECRETS))
    check_pickle_holds_no_label(data)
    assert torch.equal(data.features, FEATURES)
    check_pickle_holds_no_label(
        PrivatizedDataset.of(TensorDataset(features, torch.from_numpy(SECRETS)), RESPONSE)
    )


def test_items_are_features_log_likelihood_and_number() -> None:
    data = made()
    features, row, number = data[-1]
    assert number == len(data) - 1 == 199
    assert torch.equal(features, FEATURES[-1])
    likelihood = data.noisy.likelihood()[-1]
    np.testing.assert_allclose(row.exp(), likelihood / likelihood.max(), rtol=1e-6)
    with pytest.raises(IndexError):
        data[200]
    assert sum(1 for _ in data) == 200


def test_a_class_can_be_the_target() -> None:
    data = made(target="class")
    assert [data[number][1] for number in range(200)] == data.noisy.values.tolist()
    sets = labeldp.privatize(labeldp.SubsetSelection(1.0, K), SECRETS)
    with pytest.raises(TypeError, match="likelihood"):
        PrivatizedDataset(FEATURES, sets, target="class")
    with pytest.raises(ValueError, match="'likelihood' or 'class'"):
        PrivatizedDataset(FEATURES, sets, target="label")  # type: ignore[arg-type]


def test_transforms_see_features_only() -> None:
    seen = []

    def double(features):
        seen.append(features)
        return 2 * features

    data = made(transform=double)
    assert torch.equal(data[3][0], 2 * FEATURES[3])
    assert all(isinstance(features, torch.Tensor) and features.shape == (4,) for features in seen)


def test_labels_are_read_once() -> None:
    reads = []

    class Counting(TensorDataset):
        def __getitem__(self, index):
            reads.append(index)
            return super().__getitem__(index)

    data = PrivatizedDataset.of(Counting(FEATURES, torch.from_numpy(SECRETS)), RESPONSE)
    epoch(data), epoch(data)
    assert reads == list(range(200))


def test_the_guarantee_is_that_of_the_release() -> None:
    assert made().guarantee().epsilon == 1.0
    assert made().guarantee().releasable
    assert not made(source=labeldp.SeededSource(0)).guarantee().holds
    assert made(source=labeldp.SeededSource(0)).guarantee().why == "seeded randomness: not for release"


def test_pairs_are_not_taken_for_features() -> None:
    with pytest.raises(TypeError, match="PrivatizedDataset.of"):
        PrivatizedDataset(
            TensorDataset(FEATURES, torch.from_numpy(SECRETS)), labeldp.privatize(RESPONSE, SECRETS)
        )
    with pytest.raises(TypeError, match="NoisyLabels"):
        PrivatizedDataset(FEATURES, SECRETS)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="200 items and 199"):
        PrivatizedDataset(FEATURES, labeldp.privatize(RESPONSE, SECRETS[1:]))


def test_errors_tell_no_label() -> None:
    for labels in (SECRETS + 0.25, SECRETS + 123456):
        with pytest.raises((TypeError, ValueError)) as caught:
            PrivatizedDataset.of(TensorDataset(FEATURES, torch.from_numpy(labels)), RESPONSE)
        assert not any(text in str(caught.value) for text in ("123463", "7.25"))


def test_the_three_lines_of_a_loop_learn() -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    features = torch.from_numpy(images / 16).float()
    noisy = labeldp.privatize(labeldp.SubsetSelection(2.0, K), labels[:1200], source=labeldp.SeededSource(0))
    data = PrivatizedDataset(features[:1200], noisy)
    generator = torch.Generator().manual_seed(0)
    model = torch.nn.Linear(64, K)
    torch.nn.init.zeros_(model.weight)
    for _ in range(6):
        for batch, log_likelihood, _ in DataLoader(data, batch_size=64, shuffle=True, generator=generator):
            loss = negative_log_likelihood(model(batch), log_likelihood)
            model.zero_grad()
            loss.backward()
            with torch.no_grad():
                for weights in model.parameters():
                    weights -= 0.5 * weights.grad
    found = model(features[1200:]).argmax(dim=1).numpy()
    assert (found == labels[1200:]).mean() > 0.75
