# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false
"""The manifest of a release: all that is public about it, enough to learn from the noisy labels and to check them."""

import json
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import accounting
from labeldp import __version__
from labeldp.release import KeyedSource, NoisyLabels, Source
from labeldp.tables.job import Job
from labeldp.tables.ledger import Receipt
from labeldp.tables.read_back import noisy_labels
from labeldp.tables.surveys import Survey

FORMAT = "labeldp tables 1"


@dataclass(frozen=True)
class OutputFile:
    """One file of the output: its name, its rows, and the SHA-256 of its content."""

    name: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What was done to a table. It says nothing of the labels, and no digest of the input: that would test guesses of them.

    Attributes:
        job: the mechanism and the columns.
        rows: how many.
        rows_of_one_person: the most rows of one person; 1 where no column of persons was named: then a row is a person.
        event: what the labels of one person went through, for the accountant.
        noise: where it came from: "system", "keyed" or "seeded"; the fingerprint of the key and the epoch.
        release: the name of a keyed release, as in the ledger.
        charge: data set, part, entry and head of the ledger; None where nothing was charged.
        files: the files that were written; none for a table in memory.
        version: the version of labeldp.
    """

    job: Job
    rows: int
    rows_of_one_person: int
    event: accounting.Event
    noise: dict[str, str]
    release: str | None = None
    charge: dict[str, Any] | None = None
    files: tuple[OutputFile, ...] = ()
    version: str = __version__

    def guarantee(self, *, delta: float | None = None) -> accounting.Guarantee:
        """What may be said about the label of a row, or about all labels of a person where persons were told apart."""
        transcript = accounting.Transcript([self.event], about="people")
        share = self._delta if delta is None else delta
        return accounting.guarantee(transcript, unit="label", delta=share)

    @property
    def _delta(self) -> float:
        own: float = getattr(self.job.mechanism, "delta", None) or 0.0
        return min(1.0, float(np.nextafter(own * self.rows_of_one_person, 1))) if own else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The manifest as JSON types."""
        return {
            "format": FORMAT,
            "labeldp": self.version,
            **self.job.to_dict(),
            "noisy_label": self.job.columns.noisy,
            "rows": self.rows,
            "rows_of_one_person": self.rows_of_one_person,
            "event": accounting.event_to_dict(self.event),
            "guarantee": self.guarantee().to_dict(),
            "noise": self.noise,
            "release": self.release,
            "charge": self.charge,
            "files": [asdict(file) for file in self.files],
        }

    @staticmethod
    def from_dict(data: dict[str, Any]) -> "Manifest":
        """The manifest that `to_dict` told of; the guarantee is computed again.

        Raises:
            ValueError: it tells of none, or its parts do not belong together.
        """
        try:
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']!r} instead of {FORMAT!r}")
            made = Manifest(
                job=Job.from_dict(data),
                rows=data["rows"],
                rows_of_one_person=data["rows_of_one_person"],
                event=accounting.event_from_dict(data["event"]),
                noise=data["noise"],
                release=data["release"],
                charge=data["charge"],
                files=tuple(OutputFile(**file) for file in data["files"]),
                version=data["labeldp"],
            )
            whole = isinstance(made.rows, int) and isinstance(made.rows_of_one_person, int)  # pyright: ignore
            if not whole or not _tells_the_same(json.loads(json.dumps(made.to_dict())), data):
                raise ValueError("its parts do not belong together")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"Expected a manifest of labeldp.tables, got another or a damaged one: {error}"
            ) from None
        return made

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the manifest as JSON."""
        Path(path).write_text(
            json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )

    @staticmethod
    def load(path: str | PathLike[str]) -> "Manifest":
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it is no manifest.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"Expected a manifest, found none at {path}; files, and folders of them, have one unless they were written as CSV "
                f"with .npz beside it, by labeldp privatize without --ledger and --person."
            )
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except (ValueError, UnicodeError):
            raise ValueError(f"Expected a manifest in JSON at {path}, got something else.") from None
        return Manifest.from_dict(data)


def _tells_the_same(made: dict[str, Any], told: dict[str, Any]) -> bool:
    """Whether two manifests agree, and the second promises no more than the first; wordings differ between versions."""
    own, other = made.pop("guarantee"), dict(told).pop("guarantee")
    if made != {name: value for name, value in told.items() if name != "guarantee"}:
        return False
    if [own[name] for name in ("unit", "holds", "delta")] != [
        other[name] for name in ("unit", "holds", "delta")
    ]:
        return False
    if own["epsilon"] is None or other["epsilon"] is None:
        return own["epsilon"] is other["epsilon"]
    return other["epsilon"] >= own["epsilon"] * (1 - 1e-9)


def manifest_of(
    survey: Survey,
    job: Job,
    source: Source,
    receipt: Receipt | None,
    *,
    dataset: str | None = None,
    part: str = "",
    files: tuple[OutputFile, ...] = (),
) -> Manifest:
    """The manifest of a release that was surveyed, charged and made.

    Args:
        source: as `source_for` gives it.
    """
    noise = {"kind": "system" if source.secure else "seeded"}
    if isinstance(source, KeyedSource):
        noise = {"kind": "keyed", "key": source.fingerprint, "epoch": json.loads(source.epoch)[0]}
    charge = None
    if receipt is not None:
        charge = {"dataset": dataset, "part": part, "entry": receipt.entry, "head": receipt.head}
    return Manifest(
        job=job,
        rows=survey.rows,
        rows_of_one_person=survey.rows_of_one_person,
        event=survey.charged_event(source),
        noise=noise,
        release=survey.release(job, source),
        charge=charge,
        files=files,
    )


def noisy_labels_of(table: object, manifest: Manifest) -> NoisyLabels:
    """The noisy labels of a released table, or of some of its rows, ready to learn from.

    Args:
        table: anything with the Arrow PyCapsule interface: the result of `privatize`, or a file that was read back.
        manifest: of its release.

    Raises:
        ValueError: the table is not what the manifest says.
    """
    arrow: Any = table if isinstance(table, pa.Table | pa.RecordBatch) else pa.table(table)
    return noisy_labels(arrow, manifest.job, manifest.event)


def likelihood(table: object, manifest: Manifest) -> npt.NDArray[np.float64]:
    """The probability of each row's noisy label if its label were c, for every class c; (n, K), what a learner trains on.

    From the output and its manifest alone; see `noisy_labels_of`.
    """
    return noisy_labels_of(table, manifest).likelihood()
