"""scikit-learn estimators for noisy labels: what they keep of labels (nothing), what they cost, and how well they learn."""

import contextlib
import pickle
import threading
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import check_estimator

import accounting
import labeldp
from labeldp.learning import sklearn as classifiers
from labeldp.learning import sklearn_release
from labeldp.learning.sklearn import mean_log_likelihood
from labeldp.learning.sklearn_regressor import unbiased
from labeldp.learning.stages import Stage, privatize

DIGITS, NUMBERS = load_digits(return_X_y=True)
DIGITS = DIGITS / 16
X, Y, X_TEST, Y_TEST = DIGITS[:1200], NUMBERS[:1200], DIGITS[1200:], NUMBERS[1200:]
SUBSET = labeldp.SubsetSelection(2.0, 10)
FEW, SECRETS = DIGITS[:40], np.array(["nine", "two"] * 20)
NAMES = ("two", "nine", "red", "four")


def classifier(model=None, epsilon=None, **options) -> labeldp.LabelDPClassifier:
    options = {"classes": range(10), "random_state": 0, **options}
    return labeldp.LabelDPClassifier(model or GaussianNB(var_smoothing=0.05), epsilon, **options)


def named(model=None, epsilon=1.0, **options) -> labeldp.LabelDPClassifier:
    return classifier(model, epsilon, classes=NAMES, rounds=2, **options)


def released(mechanism=SUBSET, seed: int = 0) -> labeldp.NoisyLabels:
    prior = np.full((len(Y), 10), 0.1)
    return labeldp.privatize(mechanism, Y, prior=prior, source=labeldp.SeededSource(seed))


class TakesClassesFromLabels(ClassifierMixin, BaseEstimator):
    """The mistake: the domain is what the labels happen to hold."""

    def __init__(self, epsilon: float = 1.0) -> None:
        self.epsilon = epsilon

    def fit(self, X, y):
        self.classes_, numbers = np.unique(y, return_inverse=True)
        mechanism = labeldp.RandomizedResponse(self.epsilon, len(self.classes_))
        self.model_ = LogisticRegression().fit(X, labeldp.privatize(mechanism, numbers).values)
        return self

    def predict(self, X):
        return self.classes_[self.model_.predict(X)]


class KeepsLabels(labeldp.LabelDPClassifier):
    """The mistake: a fitted attribute that is the training labels."""

    def fit(self, X, y, **options):
        super().fit(X, y, **options)
        self.y_ = np.asarray(y)
        return self


# The domain.


def check_domain_is_not_from_labels(estimator) -> None:
    first = clone(estimator).fit(FEW, SECRETS)
    other = clone(estimator).fit(FEW, np.where(np.arange(40) == 0, "red", SECRETS))
    assert list(first.classes_) == list(other.classes_)


def test_classes_are_never_taken_from_labels() -> None:
    check_domain_is_not_from_labels(named(max_releases=2))
    with pytest.raises(AssertionError):
        check_domain_is_not_from_labels(TakesClassesFromLabels())
    with pytest.raises(TypeError, match="classes"):
        labeldp.LabelDPClassifier(LogisticRegression(), 1.0)  # type: ignore[call-arg]


def test_bounds_are_never_taken_from_labels() -> None:
    with pytest.raises(TypeError, match="bounds"):
        labeldp.LabelDPRegressor(Ridge(), 1.0)  # type: ignore[call-arg]
    values = [
        labeldp.LabelDPRegressor(Ridge(), 1.0, bounds=(0, 10)).fit(FEW, y).noisy_labels_.mechanism
        for y in (np.arange(40) / 10, np.arange(40) * 10)
    ]
    assert values[0] == values[1]


def test_predictions_have_the_names_and_the_order_of_classes() -> None:
    fitted = named(epsilon=30.0, mechanism=labeldp.RandomizedResponse).fit(FEW, SECRETS)
    assert fitted.classes_.tolist() == list(NAMES)
    assert set(fitted.predict(FEW)) <= set(NAMES)
    assert fitted.predict_proba(FEW).shape == (40, 4)
    np.testing.assert_array_equal(fitted.classes_[fitted.predict_proba(FEW).argmax(1)], fitted.predict(FEW))


# What is kept of labels.


def check_nothing_keeps_labels(estimator) -> None:
    secrets = np.random.default_rng(0).choice(NAMES[:2], 40)
    fitted = estimator.fit(FEW, secrets, source=labeldp.SeededSource(0))
    copied, numbers = pickle.dumps(fitted), labeldp.encode(secrets, NAMES)
    forms = [secrets, secrets.astype(object), *(numbers.astype(kind) for kind in (np.uint8, np.int64))]
    assert not any(form.tobytes() in copied for form in forms if form.dtype != object)
    assert not any(pickle.dumps(form.tolist())[2:-1] in copied for form in forms)
    seen = pickle.loads(copied)
    assert not any(_is_labels(value, secrets, numbers) for value in vars(seen).values())


def _is_labels(value, secrets, numbers) -> bool:
    if not isinstance(value, np.ndarray) or value.shape != (40,):
        return False
    return bool((value == secrets).all() or (value == numbers).all())


@pytest.mark.parametrize(
    "model", [LogisticRegression(), KNeighborsClassifier()], ids=lambda it: type(it).__name__
)
def test_a_fitted_estimator_holds_no_label(model) -> None:
    check_nothing_keeps_labels(named(model))
    with pytest.raises(AssertionError):
        check_nothing_keeps_labels(KeepsLabels(model, 1.0, classes=NAMES))


def test_repr_shows_parameters_only() -> None:
    fitted = named().fit(FEW, SECRETS)
    assert repr(fitted) == repr(named())


def test_errors_tell_no_label() -> None:
    with pytest.raises(ValueError, match="among the 4 classes") as caught:
        named().fit(FEW, np.where(np.arange(40) == 7, "hidden", SECRETS))
    assert "hidden" not in "".join(traceback.format_exception_only(caught.value))
    for bad in ({"hidden"}, ["hidden"], "hidden", np.array("hidden"), [["hidden"]]):
        for estimator in (named(), labeldp.LabelDPRegressor(Ridge(), 1.0, bounds=(0, 1))):
            with pytest.raises((TypeError, ValueError)) as caught:
                estimator.fit(FEW[: 6 if isinstance(bad, str) else len(bad) if np.ndim(bad) else 1], bad)
            assert "hidden" not in "".join(traceback.format_exception_only(caught.value))
    for bad in (["1.5", "hidden"] * 20, [1.0, np.nan] * 20, np.ma.masked_array(np.arange(40.0), [True] * 40)):
        with pytest.raises((TypeError, ValueError)) as caught:
            labeldp.LabelDPRegressor(Ridge(), 1.0, bounds=(0, 1)).fit(FEW, bad)
        assert not any(text in str(caught.value) for text in ("hidden", "1.5", "nan"))


def test_what_is_public_is_refused_before_labels_are_read() -> None:
    class Unreadable:
        def __len__(self) -> int:
            return 40

        def __getitem__(self, *rows):
            raise AssertionError("labels were read")

        __array__ = __iter__ = __getitem__

    for estimator in (
        classifier(epsilon=1.0, classes=NAMES, rounds=0),
        classifier(epsilon=1.0, classes=("a", "a")),
        classifier(epsilon=-1.0, classes=NAMES),
        classifier(epsilon=1.0, classes=NAMES, max_releases=0),
        classifier(epsilon=1.0, classes=NAMES, mechanism=labeldp.SelectiveRandomizedResponse),
        classifier(classes=NAMES),
    ):
        with pytest.raises((TypeError, ValueError), match="Expected"):
            estimator.fit(FEW, Unreadable())
    with pytest.raises(AssertionError, match="labels were read"):
        classifier(epsilon=1.0, classes=NAMES).fit(FEW, Unreadable())


# What labels cost.


def test_raw_labels_need_an_epsilon() -> None:
    with pytest.raises(TypeError, match="labeldp.privatize"):
        classifier().fit(X, Y)


def test_a_second_release_is_refused() -> None:
    estimator = named()
    assert estimator.fit(FEW, SECRETS).guarantee_.epsilon == 1.0
    with pytest.raises(ValueError, match="max_releases=1"):
        estimator.fit(FEW, SECRETS)
    estimator.fit(FEW, estimator.noisy_labels_)  # what was released may be learnt from again
    assert estimator.guarantee_.epsilon == 1.0


def test_clones_share_what_may_be_spent() -> None:
    estimator = named()
    clone(make_pipeline(StandardScaler(), estimator)).fit(FEW, SECRETS)
    for spent in (estimator, clone(estimator), clone(clone(estimator))):
        with pytest.raises(ValueError, match="max_releases=1"):
            spent.fit(FEW, SECRETS)


def test_a_label_outside_the_domain_costs_nothing() -> None:
    estimator = named()
    with pytest.raises(ValueError, match="among"):
        estimator.fit(FEW, ["hidden"] * 40)
    assert estimator.fit(FEW, SECRETS).guarantee_.epsilon == 1.0


class ChecksThenCounts(labeldp.LabelDPClassifier):
    """The mistake: between the check and the count there is time for another thread."""

    def _reserve(self, event):
        past = self._past_releases()
        if len(past) >= self.max_releases:
            raise ValueError("Expected noisy labels")
        classifiers.encode(SECRETS, NAMES)
        past.append(event)
        return past


def releases_in_threads(estimator, monkeypatch) -> int:
    """How many of four clones release raw labels at once, all of them waiting for one another on the way from check to draw."""
    all_here, encode = threading.Barrier(4), classifiers.encode

    def slow(labels, classes):
        if len(labels):
            with contextlib.suppress(threading.BrokenBarrierError):
                all_here.wait(timeout=0.5)
        return encode(labels, classes)

    monkeypatch.setattr(classifiers, "encode", slow)
    clones = [clone(estimator) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        fits = [threads.submit(one.fit, FEW, SECRETS) for one in clones]
    assert all(isinstance(fit.exception(), ValueError | None) for fit in fits)
    return sum(fit.exception() is None for fit in fits)


def test_threads_share_what_may_be_spent(monkeypatch) -> None:
    estimator = named()
    assert releases_in_threads(estimator, monkeypatch) == 1
    assert len(estimator._past_releases()) == 1
    monkeypatch.undo()
    assert releases_in_threads(named(max_releases=3), monkeypatch) == 3
    monkeypatch.undo()
    twin = ChecksThenCounts(GaussianNB(), 1.0, classes=NAMES, rounds=1)
    assert releases_in_threads(twin, monkeypatch) == 4


def test_cross_validation_on_raw_labels_is_refused_or_charged() -> None:
    grid = {"estimator__var_smoothing": [0.01, 0.1]}
    with pytest.raises(ValueError, match="max_releases"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of each fit that failed, then fails to fit again
        GridSearchCV(named(), grid, cv=3).fit(FEW, SECRETS)
    search = GridSearchCV(named(max_releases=7), grid, cv=3).fit(FEW, SECRETS)
    assert search.best_estimator_.guarantee_.epsilon == 7.0  # 2 candidates in 3 folds, and one more fit


@pytest.mark.parametrize("copied", [lambda it: pickle.loads(pickle.dumps(it)), __import__("copy").deepcopy])
def test_a_copy_that_cannot_count_takes_no_raw_labels(copied) -> None:
    with pytest.raises(ValueError, match="another process"):
        copied(named()).fit(FEW, SECRETS)
    fitted = named().fit(FEW, SECRETS)
    assert copied(fitted).guarantee_ == fitted.guarantee_
    np.testing.assert_array_equal(copied(fitted).predict(FEW), fitted.predict(FEW))
    assert copied(named()).fit(FEW, fitted.noisy_labels_).guarantee_.epsilon == 1.0


def test_noisy_labels_cost_nothing_more() -> None:
    noisy = released()
    scores = cross_val_score(classifier(rounds=1), X, noisy, cv=3)
    assert scores.mean() > 0.5
    search = GridSearchCV(classifier(rounds=1), {"estimator__var_smoothing": [1e-9, 0.1]}, cv=3)
    search.fit(X, noisy)
    assert search.best_params_ == {"estimator__var_smoothing": 0.1}  # chosen by noisy labels alone
    assert search.best_estimator_.event_ == noisy.event
    assert search.score(X_TEST, Y_TEST) > 0.75


def test_more_epsilon_than_promised_is_refused() -> None:
    with pytest.raises(ValueError, match="epsilon 1 at most"):
        classifier(epsilon=1.0).fit(X, released())
    with pytest.raises(ValueError, match="4 classes"):
        named().fit(X, released())
    with pytest.raises(TypeError, match="LabelDPClassifier"):
        labeldp.LabelDPRegressor(Ridge(), bounds=(0, 1)).fit(X, released())


# Noise.


def test_random_state_never_decides_noise() -> None:
    answers = [named().fit(FEW, SECRETS).noisy_labels_.values for _ in range(2)]
    assert not np.array_equal(*answers)
    seeded = [
        named().fit(FEW, SECRETS, source=labeldp.SeededSource(3)).noisy_labels_.values for _ in range(2)
    ]
    np.testing.assert_array_equal(*seeded)


def test_keyed_noise_wants_names_and_costs_nothing_here() -> None:
    estimator = named()
    with pytest.raises(TypeError, match="items="):
        estimator.fit(FEW, SECRETS, source=labeldp.KeyedSource(bytes(range(32))))
    assert estimator.fit(FEW, SECRETS).guarantee_.epsilon == 1.0


def test_seeded_noise_is_stamped() -> None:
    fitted = named().fit(FEW, SECRETS, source=labeldp.SeededSource(3))
    assert not fitted.guarantee_.holds
    assert not fitted.guarantee_.releasable
    assert isinstance(fitted.event_, accounting.Seeded)


def test_random_state_decides_the_rest() -> None:
    noisy = released()
    for model in (GaussianNB(), KNeighborsClassifier()):
        first, second = (classifier(model, rounds=2).fit(X, noisy).predict(X_TEST) for _ in range(2))
        np.testing.assert_array_equal(first, second)


# Learning.


def test_the_likelihood_beats_taking_answers_for_labels() -> None:
    answers, sets = released(labeldp.RandomizedResponse(1.0, 10)), released(labeldp.SubsetSelection(1.0, 10))
    model = LogisticRegression(C=0.2)
    naive = model.fit(X, answers.values).score(X_TEST, Y_TEST)
    learnt = classifier(model, rounds=4).fit(X, sets).score(X_TEST, Y_TEST)
    assert learnt > naive + 0.1


def test_beliefs_of_items_that_were_seen_are_worse() -> None:
    """Twin of the held-out beliefs: a tree that has seen an answer believes it."""
    tree, noisy = DecisionTreeClassifier(min_samples_leaf=8, random_state=0), released()
    weights = noisy.posterior(np.full(10, 0.1))
    for _ in range(3):
        rows = np.repeat(X, 10, axis=0)
        seen = clone(tree).fit(rows, np.tile(np.arange(10), len(X)), sample_weight=weights.ravel())
        weights = noisy.posterior(np.maximum(seen.predict_proba(X), 1e-6))
    assert classifier(tree, rounds=4).fit(X, noisy).score(X_TEST, Y_TEST) > seen.score(X_TEST, Y_TEST) + 0.03


@pytest.mark.parametrize(
    "model",
    [
        LinearSVC(max_iter=200, tol=0.01),
        KNeighborsClassifier(15),
        make_pipeline(StandardScaler(), GaussianNB(var_smoothing=0.1)),
    ],
    ids=["no probabilities", "no weights", "pipeline"],
)
def test_any_classifier_learns(model) -> None:
    fitted = classifier(model, rounds=3).fit(X, released())
    assert fitted.score(X_TEST, Y_TEST) > 0.6
    for method in ("predict_proba", "decision_function"):
        assert hasattr(fitted, method) == hasattr(model, method)
        if hasattr(model, method):
            assert getattr(fitted, method)(X_TEST).shape == (len(X_TEST), 10)


def test_every_mechanism_is_learnt_from() -> None:
    for mechanism in (
        labeldp.SelectiveRandomizedResponse(2.0, 10, size="information", outside="other"),
        labeldp.PartitionedRandomizedResponse(2.0, 10),
        labeldp.UnaryEncoding(2.0, 10),
        labeldp.NoisyOneHot(2.0, 10),
    ):
        assert classifier(rounds=3).fit(X, released(mechanism)).score(X_TEST, Y_TEST) > 0.7, mechanism


def test_stages_are_learnt_from() -> None:
    stages = (
        Stage(SUBSET, 0.5),
        Stage(labeldp.SelectiveRandomizedResponse(2.0, 10, size="information"), 0.5),
    )

    def prior(earlier, items):
        if not earlier.parts:
            return None
        return classifier(rounds=2).fit(X[earlier.numbers], earlier).predict_proba(X[items]) + 1e-3

    staged = privatize(Y, stages, prior=prior, seed=0)
    fitted = classifier(rounds=2).fit(X[staged.numbers], staged)
    assert fitted.score(X_TEST, Y_TEST) > 0.7
    assert fitted.guarantee_.epsilon == 2.0
    with pytest.raises(ValueError, match="epsilon 1 at most"):
        classifier(epsilon=1.0).fit(X[staged.numbers], staged)


def test_a_prior_is_believed_at_first() -> None:
    noisy, prior = released(labeldp.RandomizedResponse(0.0, 10)), np.eye(10)[Y] + 0.01
    assert classifier(rounds=1).fit(X, noisy, prior=prior).score(X_TEST, Y_TEST) > 0.7
    assert classifier(rounds=1).fit(X, noisy).score(X_TEST, Y_TEST) < 0.3


def test_scores_from_noisy_labels_estimate_the_accuracy() -> None:
    noisy = labeldp.privatize(SUBSET, Y_TEST, source=labeldp.SeededSource(1))
    fitted = classifier(rounds=2).fit(X, released())
    truth = fitted.score(X_TEST, Y_TEST)
    assert fitted.score(X_TEST, noisy) == pytest.approx(truth, abs=0.15)
    assert fitted.score(X_TEST, noisy) == labeldp.estimate.accuracy(noisy, fitted.predict(X_TEST)).value
    worse = classifier(GaussianNB(var_smoothing=10), rounds=1).fit(X, released())
    assert mean_log_likelihood(fitted, X_TEST, noisy) > mean_log_likelihood(worse, X_TEST, noisy)


def test_regressors_learn_what_labels_are_on_average() -> None:
    features, labels = load_diabetes(return_X_y=True)
    train, test = np.arange(0, 442, 2), np.arange(1, 442, 2)
    model = make_pipeline(StandardScaler(), Ridge(10.0))
    for mechanism in (labeldp.RandomizedResponseOnBins, labeldp.UnbiasedRandomizer):
        options = dict(bounds=(0, 350), bins=15, mechanism=mechanism, rounds=3, random_state=0)
        estimator = labeldp.LabelDPRegressor(model, 4.0, **options)
        estimator.fit(features[train], labels[train], source=labeldp.SeededSource(0))
        assert estimator.score(features[test], labels[test]) > 0.3
        noisy = labeldp.privatize(estimator.noisy_labels_.mechanism, labels[test])
        assert estimator.score(features[test], noisy) < estimator.score(features[test], labels[test]) + 0.1


def test_unbiased_answers_are_the_bin_on_average() -> None:
    mechanism = labeldp.RandomizedResponseOnBins(1.0, tuple(range(8)), (1,) * 8)
    outputs, channel = mechanism.outputs(), mechanism.channel()
    plan = mechanism.plan(None, len(outputs))
    answers = unbiased(labeldp.NoisyLabels(mechanism, outputs, plan, mechanism.event(plan)))
    np.testing.assert_allclose(channel @ answers, outputs[mechanism.bins], atol=1e-12)
    assert np.abs(channel @ outputs - outputs[mechanism.bins]).max() > 0.4  # the answers as they are


# scikit-learn's own checks.

CONTRADICT = {
    "check_classifiers_classes": "gives labels of other domains and wants classes_ to be what they hold: classes are given, not found",
    "check_classifiers_train": "wants the shape of two classes where two of the given ones are among the labels: that would tell which",
    "check_decision_proba_consistency": "the same, for decision_function",
    "check_classifiers_regression_target": "wants an error that says what kind of labels there are: the one error tells nothing of them",
}


@pytest.mark.parametrize(
    ("estimator", "contradict"),
    [
        (
            labeldp.LabelDPClassifier(LogisticRegression(C=10), 60.0, classes=range(4), max_releases=10**6),
            CONTRADICT,
        ),
        (labeldp.LabelDPRegressor(Ridge(), 60.0, bounds=(-4, 4), bins=64, rounds=2, max_releases=10**6), {}),
    ],
    ids=["classifier", "regressor"],
)
def test_estimator_checks(estimator, contradict: dict[str, str]) -> None:
    options = dict(expected_failed_checks=contradict, on_fail=None, on_skip=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, **options)
    assert not [result["check_name"] for result in results if result["status"] == "failed"]
    assert {result["check_name"] for result in results if result["status"] == "xfail"} == set(contradict)
    assert sum(result["status"] == "passed" for result in results) >= 40


def test_estimator_checks_see_a_release_that_is_refused() -> None:
    """Twin: the same checks on an estimator that may release once."""
    estimator = named()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, on_fail=None, on_skip=None)
    assert sum(result["status"] == "failed" for result in results) > 10


def test_feature_names_pass_through() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=[f"pixel{number}" for number in range(64)])
    fitted = classifier(rounds=2).fit(frame, released())
    assert fitted.n_features_in_ == 64
    assert fitted.feature_names_in_.tolist() == frame.columns.tolist()
    assert not hasattr(fitted.fit(X, released()), "feature_names_in_")


def test_the_list_of_releases_is_what_clones_share(monkeypatch) -> None:
    """Twin: a clone that starts afresh spends twice without a word."""
    monkeypatch.setattr(
        sklearn_release.LearnsFromReleases, "__sklearn_clone__", BaseEstimator.__sklearn_clone__
    )
    estimator = named()
    clone(estimator).fit(FEW, SECRETS)
    clone(estimator).fit(FEW, SECRETS)
