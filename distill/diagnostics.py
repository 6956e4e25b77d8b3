"""How good predictions are on images whose classes are known: counts, intervals and calibration."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
BINS = 10


def accuracy_interval(accuracy: float, num_images: int) -> tuple[float, float]:
    """Returns Wilson's interval of 95 % for the accuracy on all images of this kind, from that on a sample of them.

    It covers the sampling of the test images, not the seeds of training.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    shrunk = 1 + z**2 / num_images
    middle = (accuracy + z**2 / (2 * num_images)) / shrunk
    half = z / shrunk * math.sqrt(accuracy * (1 - accuracy) / num_images + z**2 / (4 * num_images**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def confusion(
    predicted: npt.NDArray[Any], labels: npt.NDArray[Any], num_classes: int
) -> npt.NDArray[np.int64]:
    """Returns counts (K, K): row c are the images of class c, column j those that were predicted to be j."""
    return np.bincount(labels * num_classes + predicted, minlength=num_classes**2).reshape(
        num_classes, num_classes
    )


def calibration(probabilities: npt.NDArray[Any], labels: npt.NDArray[Any]) -> dict[str, Any]:
    """Compares how sure predictions are with how often they are right.

    Returns:
        `bins`: for each of 10 equal ranges of confidence (the largest probability of an image) that is not empty, its ends, the
        number of images in it, their mean confidence and their accuracy. `expected_error`: the mean of |confidence - accuracy|
        over bins, weighted by images (expected calibration error).
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    bins = [
        {
            "from": index / BINS,
            "to": (index + 1) / BINS,
            "images": int(inside.sum()),
            "confidence": float(confidence[inside].mean()),
            "accuracy": float(right[inside].mean()),
        }
        for index in range(BINS)
        if (inside := place == index).any()
    ]
    error = sum(each["images"] * abs(each["confidence"] - each["accuracy"]) for each in bins) / len(labels)
    return {"bins": bins, "expected_error": error}
