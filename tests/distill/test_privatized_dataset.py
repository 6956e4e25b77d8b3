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


TABLE = torch.cat([FEATURES, torch.from_numpy(SECRETS).float()[:, None]], 1)
ROWS = TABLE.numpy()


def reachable(data: object) -> list[bytes]:
    """All memory behind tensors and arrays, in a data set and in a copy by pickle, and behind what they were made of."""
    found, seen, waiting = [], set(), [data, pickle.loads(pickle.dumps(data))]
    while waiting:
        at = waiting.pop()
        if id(at) in seen:
            continue
        seen.add(id(at))
        if isinstance(at, torch.Tensor):
            storage = at.untyped_storage()
            if storage.data_ptr() not in seen:
                found.append(torch.tensor([], dtype=torch.uint8).set_(storage).numpy().tobytes())
            seen.add(storage.data_ptr())
            waiting += [at.grad_fn, at._base, vars(at)]
        elif isinstance(at, np.ndarray):
            waiting += [at.base, *(at.ravel().tolist() if at.dtype == object else ())]
            found.append(b"" if at.dtype == object else at.tobytes())
        elif isinstance(at, list | tuple | dict):
            waiting += at.values() if isinstance(at, dict) else at
        elif isinstance(at, PrivatizedDataset | KeepsFeatures):
            waiting.append(at.features)
        elif type(at).__name__.endswith("Backward0"):
            waiting += [getattr(at, name) for name in dir(at) if name.startswith("_saved")]
            waiting += [one for one, _ in at.next_functions]
    return found


class KeepsFeatures:
    """The mistake: features are kept as they came."""

    def __init__(self, features, noisy=None) -> None:
        self.features = features


def check_labels_are_out_of_reach(data: object) -> None:
    for memory in reachable(data):
        for step in range(1, 6):  # labels as a block, or as a column of the table
            for start in range(step):
                values = np.frombuffer(memory[: len(memory) // 4 * 4], dtype=np.float32)[start::step]
                assert not np.array_equal(values, SECRETS)
        assert memory.count(np.float32(7).tobytes() + np.float32(3).tobytes()) == 0


def marked(tensor: torch.Tensor) -> torch.Tensor:
    tensor.labels = TABLE[:, -1]
    return tensor


def objects(items: list) -> np.ndarray:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


VIEWS = {
    "tensor": lambda: TABLE[:, :-1],
    "transposed": lambda: TABLE.T.contiguous()[:-1].T,
    "as large as what it is a part of": lambda: TABLE[:, :1].expand(200, 5),
    "of a graph": lambda: (TABLE[:, :-1] * TABLE[:, -1:].clone().requires_grad_()) * 0,
    "attributes": lambda: marked(FEATURES.clone()),
    "array": lambda: ROWS[:, :-1],
    "broadcast": lambda: np.broadcast_to(ROWS[:, :1], (200, 5)),
    "rows": lambda: [row[:-1] for row in TABLE],
    "arrays": lambda: [row[:-1] for row in ROWS],
    "tuple of arrays": lambda: tuple(row[:-1] for row in ROWS),
    "objects": lambda: objects([{"x": row[:-1]} for row in ROWS]),
    "dictionaries": lambda: [{"x": row[:-1], "more": [row[:2], {"z": row[1:3]}]} for row in TABLE],
    "arrays in dictionaries": lambda: [{"x": row[:-1], "more": [row[:2]]} for row in ROWS],
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_no_view_of_a_table_keeps_its_labels(view) -> None:
    with pytest.raises(AssertionError):
        check_labels_are_out_of_reach(KeepsFeatures(view()))
    data = PrivatizedDataset(view(), labeldp.privatize(RESPONSE, SECRETS))
    check_labels_are_out_of_reach(data)
    first, expected = data[0][0], view()[0]
    while isinstance(first, dict):
        first, expected = first["x"], expected["x"]
    np.testing.assert_array_equal(
        np.asarray(first), np.asarray(expected.detach() if isinstance(expected, torch.Tensor) else expected)
    )


@pytest.mark.parametrize("view", ["rows", "arrays", "dictionaries", "arrays in dictionaries"])
def test_pairs_are_read_without_what_they_were_cut_from(view: str) -> None:
    class Pairs(Dataset):
        def __len__(self) -> int:
            return len(SECRETS)

        def __getitem__(self, number: int):
            return VIEWS[view]()[number], int(SECRETS[number])

    check_labels_are_out_of_reach(PrivatizedDataset.of(Pairs(), RESPONSE))


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


PAIRS = {
    "lists": lambda x, label: [x, label],
    "dictionaries": lambda x, label: {"x": x, "answer": label},
    "by name": lambda x, label: {"age": 3.0, "Label": label},
    "by name, an array": lambda x, label: {"x": x, "target": np.array([label])},
    "tensors": lambda x, label: [x, torch.tensor(label)],
    "words": lambda x, label: [x, str(label)],
    "deeper": lambda x, label: {"both": [x, label]},
    "tuples, deeper": lambda x, label: {"both": (x, x)},
    "objects": lambda x, label: objects([x, label]),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_what_may_be_a_pair_is_refused_wherever_it_is(pair) -> None:
    noisy = labeldp.privatize(RESPONSE, SECRETS)
    items = [x.numpy() for x in FEATURES]
    assert len(PrivatizedDataset(items, noisy)) == 200  # the twin: features alone
    pairs = [pair(x, int(label)) for x, label in zip(items, SECRETS, strict=True)]
    for wrong in (pairs, [*items[:-1], pairs[-1]], tuple(pairs), objects(pairs)):
        with pytest.raises(TypeError, match="may hold labels"):
            PrivatizedDataset(wrong, noisy)


def test_columns_with_names_are_refused_and_numbers_alone_are_not() -> None:
    noisy = labeldp.privatize(RESPONSE, SECRETS)
    named = np.array(list(zip(range(200), SECRETS, strict=True)), dtype=[("x", float), ("label", int)])
    with pytest.raises(TypeError, match="may hold labels"):
        PrivatizedDataset(named[["x"]], noisy)
    for alone in ([[1.0, "red"]] * 200, [{"age": 3, "town": "Ulm"}] * 200, [{"x": FEATURES[0], "age": FEATURES[0, :1]}] * 200,
                  list(range(200)), ["a"] * 200):  # fmt: skip
        assert len(PrivatizedDataset(alone, noisy)) == 200


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
