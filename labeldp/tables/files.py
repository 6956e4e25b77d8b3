# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false
"""Files and folders of tables: surveyed, charged, then released in a stream; the output appears whole, a killed job goes on."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from io import BufferedRandom
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

import accounting
from labeldp.release import Source, SystemSource
from labeldp.tables.arrow_job import check_schema, output_schema, released, source_for, with_answers
from labeldp.tables.job import Job
from labeldp.tables.ledger import Ledger
from labeldp.tables.manifest import Manifest, OutputFile, manifest_of
from labeldp.tables.surveys import Survey, survey, survey_of, whole
from labeldp.tables.table_files import TableFile, table_file
from labeldp.tables.whole_file import sha256, whole_file

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with what goes on, the rows that are done, and all rows; 0 where that is not known."""

FOLDER_MANIFEST = "_manifest.json"
UNFINISHED = "_unfinished.json"
SURVEYING, RELEASING = "reading what is public", "releasing"


@dataclass(frozen=True)
class Piece:
    """One file, where its output goes, and what told it from another when it was first read."""

    table: TableFile
    out: Path
    identity: tuple[int, ...]


def manifest_path(out: str | PathLike[str]) -> Path:
    """Where the manifest of an output lies: beside a file, within a folder."""
    path = Path(out)
    if path.is_dir():
        return path / FOLDER_MANIFEST
    return path.with_name(f"{path.name}.manifest.json")


def privatize_file(
    path: str | PathLike[str],
    out: str | PathLike[str],
    job: Job,
    *,
    source: Source | None = None,
    ledger: Ledger | None = None,
    dataset: str | None = None,
    part: str = "",
    progress: Progress | None = None,
) -> Manifest:
    """Releases the labels of a Parquet or CSV file, or of a folder of them, in bounded memory.

    The table is read twice: first its public columns, to know what the release is and to charge it; then all of it. Items that are
    integers and increase are not kept; others take 8 bytes a row, texts 16, until all are known to differ. CSV cells are texts, and
    classes are as they are written there. The manifest goes beside the file as OUT.manifest.json, or into the folder as _manifest.json.

    A job that was killed is started again with the same arguments. With a key it goes on: it costs nothing more, files of a folder
    that are finished are kept, and all bytes are those of a job that was not killed. Without a key it is another release and is
    charged again, for its first noise may have been seen.

    Args:
        path: the table. A folder's files have one schema; names that begin with _ or . are left out.
        out: a new file of the same kind, or a folder.
        job: what is to be done.
        source, ledger, dataset, part: as for `privatize`.
        progress: told how far it is.

    Raises:
        BudgetSpent: the ledger refused.
        FileNotFoundError, FileExistsError, BlockingIOError, OSError: files that are not there, are already, or are being written.
        TypeError, ValueError: tables or labels that do not fit. No message holds a label.

    Privacy: as for `privatize`. Until the output has its name it is the owner's alone, and no true label is in it at any time.
    """
    source = SystemSource() if source is None else source
    pieces = _pieces(Path(path), Path(out))
    label_type = _label_type(pieces, job)
    inside = source_for(job, label_type, source)
    surveyed = survey(lambda: _public(pieces, job, progress), job, label_type, source)
    folder = Path(out) if Path(path).is_dir() else None
    kept = _kept(folder, surveyed.release(job, inside))
    receipt = surveyed.charge(ledger, dataset, job, inside, part=part)
    run = _Run(job, source, surveyed, progress, [], [])

    def manifest() -> Manifest:
        files = tuple(run.files)
        return manifest_of(surveyed, job, inside, receipt, dataset=dataset, part=part, files=files)

    if folder is None:
        with whole_file(pieces[0].out) as file:
            run.release(pieces[0], file)
            run.refuse_changes()
            _save(manifest().to_dict(), manifest_path(out))
        return manifest()
    for piece in pieces:
        finished = kept.get(piece.out.name)
        if finished and piece.out.is_file() and sha256(piece.out) == finished.sha256:
            run.keep(piece, finished)
            continue
        with whole_file(piece.out) as file:
            run.release(piece, file)
            _note(folder, surveyed.release(job, inside), run.files)
    run.refuse_changes()
    _save(manifest().to_dict(), folder / FOLDER_MANIFEST)
    (folder / UNFINISHED).unlink(missing_ok=True)
    return manifest()


@dataclass(frozen=True)
class _Run:
    """The second reading of a table, and what was seen in it."""

    job: Job
    source: Source
    surveyed: Survey
    progress: Progress | None
    files: list[OutputFile]
    parts: list[Survey]

    def release(self, piece: Piece, file: BufferedRandom) -> None:
        """Writes the noisy labels of one file."""
        before = len(self.parts)
        piece.table.write(file, output_schema(piece.table.schema, self.job), self._batches(piece))
        if piece.identity != _identity(piece.table.path):
            raise ValueError(
                f"Expected {piece.table.path} to stay as it is, it was written while it was read."
            )
        rows = sum(part.rows for part in self.parts[before:])
        file.flush()
        file.seek(0)
        self.files.append(OutputFile(piece.out.name, rows, hashlib.file_digest(file, "sha256").hexdigest()))

    def _batches(self, piece: Piece) -> Iterator[pa.RecordBatch]:
        for batch in piece.table.batches(encoded=self.job.columns.label):
            noisy = released(batch, self.job, self.source)
            event = noisy.event.event if isinstance(noisy.event, accounting.Seeded) else noisy.event
            assert isinstance(event, accounting.Disjoint)
            self.parts.append(Survey(batch.num_rows, event, 0, None, noisy.plan[:0]))
            yield with_answers(batch, noisy, self.job)
            self._show()

    def keep(self, piece: Piece, file: OutputFile) -> None:
        """Counts a file that was finished by a job that was killed."""
        self.files.append(file)
        for batch in piece.table.batches(self.job.columns.public):
            self.parts.append(survey_of(batch, self.job, SystemSource()))
        self._show()

    def refuse_changes(self) -> None:
        """Refuses to finish where the table was not the one that was surveyed and charged."""
        seen = whole(self.parts)
        if (seen.rows, seen.event) != (self.surveyed.rows, self.surveyed.event):
            raise ValueError(
                "Expected the table to stay as it is, it was another one when it was read again."
            )

    def _show(self) -> None:
        if self.progress is not None:
            self.progress(RELEASING, sum(part.rows for part in self.parts), self.surveyed.rows)


def _pieces(path: Path, out: Path) -> list[Piece]:
    """The files of a table and where their outputs go.

    Raises:
        FileNotFoundError, FileExistsError, ValueError: nothing to read, something in the way, or several formats.
    """
    if not path.is_dir():
        table = table_file(path)
        if out.suffix.lower() != path.suffix.lower():
            raise ValueError(f"Expected an output that ends in {path.suffix}, as the table does, got {out}.")
        if out.exists():
            raise FileExistsError(
                f"Expected a new file, {out} is already there; a second release of the labels pays again."
            )
        _require_place(out)
        return [Piece(table, out, _identity(path))]
    shown = sorted(file for file in path.iterdir() if not file.name.startswith(("_", ".")))
    if not shown or any(file.is_dir() for file in shown):
        raise ValueError(
            f"Expected a folder of Parquet or CSV files at {path}, got {'folders within it' if shown else 'an empty one'}; the name of "
            f"a folder may tell labels, and is not copied."
        )
    if out.resolve() == path.resolve():
        raise FileExistsError(f"Expected another folder for the output, got {out} itself.")
    _require_place(out)
    tables = [table_file(file) for file in shown]
    if len({type(table) for table in tables}) > 1:
        raise ValueError(f"Expected files of one format in {path}, got Parquet and CSV.")
    return [Piece(table, out / table.path.name, _identity(table.path)) for table in tables]


def _require_place(out: Path) -> None:
    """Refuses an output that could not be written, before anything is charged for it."""
    if not out.parent.is_dir():
        raise FileNotFoundError(
            f"Expected a directory for {out.name}, found none at {out.parent}; make it first."
        )


def _label_type(pieces: list[Piece], job: Job) -> pa.DataType:
    """The type of the column of labels, the same in every file."""
    first = pieces[0].table.schema
    for piece in pieces:
        check_schema(piece.table.schema, job)
        if not piece.table.schema.equals(first):
            raise ValueError(f"Expected files of one schema, {piece.table.path} has another than the first.")
    return first.field(job.columns.label).type


def _public(pieces: list[Piece], job: Job, progress: Progress | None) -> Iterator[pa.RecordBatch]:
    """Reads the public columns of all files; the column of labels is not touched."""
    known = [piece.table.rows for piece in pieces]
    done, total = 0, 0 if min(known) < 0 else sum(known)
    for piece in pieces:
        for batch in piece.table.batches(job.columns.public):
            yield batch
            done += batch.num_rows
            if progress is not None:
                progress(SURVEYING, done, total)


def _kept(folder: Path | None, release: str | None) -> dict[str, OutputFile]:
    """The files that a killed job of the same release finished.

    Raises:
        FileExistsError: the folder holds something else.
    """
    if folder is None:
        return {}
    folder.mkdir(exist_ok=True)
    note = folder / UNFINISHED
    told: dict[str, Any] = {"release": None, "files": []}
    if note.is_file():
        told = json.loads(note.read_text())
    files = {file["name"]: OutputFile(**file) for file in told["files"]}
    ours = {UNFINISHED, *files, *(file.name for file in folder.glob(".*.partial"))}
    others = [file.name for file in folder.iterdir() if file.name not in ours]
    if others or (files and (release is None or told["release"] != release)):
        raise FileExistsError(
            f"Expected a new or empty folder, {folder} holds files; with the same key and arguments a job that was killed goes on, "
            f"anything else is another release and pays again. Name another folder."
        )
    return files


def _note(folder: Path, release: str | None, files: list[OutputFile]) -> None:
    """Notes what is finished, just before the last of it takes its name."""
    _save({"release": release, "files": [asdict(file) for file in files]}, folder / UNFINISHED)


def _save(data: dict[str, Any], place: Path) -> None:
    with whole_file(place) as file:
        file.write((json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode())


def _identity(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
