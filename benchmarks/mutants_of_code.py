"""The mutants of a file: mutmut's operators, also in decorated functions and in module constants, and without those that are no faults."""

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libcst as cst
from libcst.metadata import MetadataWrapper
from mutmut.mutation.file_mutation import Mutation, MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode


@dataclass(frozen=True)
class Mutant:
    """One mistake in one place.

    Attributes:
        file: where, from the root.
        name: file, function, what was and what became of it; a number tells apart those of one text. No line, so that it outlives other changes.
        function: the function or class around it, with what is around that; nothing at the top of the file.
        message: whether it only changes what people read.
        number: its place among all mutants of the file.
    """

    file: str
    name: str
    function: str
    message: bool
    number: int

    def source(self, original: str) -> str:
        """The file with this mistake."""
        visitor, module = visited(original)
        mutation = visitor.mutations[self.number]
        return module.deep_replace(mutation.original_node, mutation.mutated_node).code  # pyright: ignore

    def drawn(self, seed: str) -> str:
        """Its place in the draw of a seed, whatever other mutants there are."""
        return hashlib.sha256(f"{seed}\n{self.name}".encode()).hexdigest()


class Visitor(MutationVisitor):
    """mutmut's visitor, which knows in addition where it is."""

    def __init__(self) -> None:
        super().__init__(mutation_operators, IgnoredCode(set(), set(), set()))
        self.path: list[cst.CSTNode] = []
        self.places: list[tuple[str, bool]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        self.path.append(node)
        return super().on_visit(node)

    def on_leave(self, original_node: cst.CSTNode) -> None:
        self.path.pop()

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if isinstance(
            node, cst.FunctionDef
        ):  # no trampolines here, so that decorated ones can be mutated too
            return False
        return no_fault(node, self.path) or super()._skip_node_and_children(node)

    def _create_mutations(self, node: cst.CSTNode) -> None:
        before = len(self.mutations)
        super()._create_mutations(node)
        if isinstance(node, cst.Call) and called(node) == "cast":  # not those that change the type alone
            self.mutations[before:] = [
                one for one in self.mutations[before:] if one.mutated_node.args[-1] is not node.args[-1]
            ]
        names = [one.name.value for one in self.path if isinstance(one, cst.FunctionDef | cst.ClassDef)]
        place = ".".join(names), is_message(node, self.path)
        self.places += [place] * (len(self.mutations) - before)


def called(node: cst.CSTNode) -> str:
    """The name of what is called, or nothing."""
    if not isinstance(node, cst.Call):
        return ""
    function = node.func.attr if isinstance(node.func, cst.Attribute) else node.func
    return function.value if isinstance(function, cst.Name) else ""


def no_fault(node: cst.CSTNode, path: list[cst.CSTNode]) -> bool:
    """What cannot be a fault whatever becomes of it: types, the first argument of `cast`, `__all__`, the text of a docstring."""
    parent = path[-2] if len(path) > 1 else None
    if isinstance(node, cst.Assign) and any(
        isinstance(one.target, cst.Name) and one.target.value == "__all__" for one in node.targets
    ):
        return True
    return isinstance(parent, cst.Call) and called(parent) == "cast" and node is parent.args[0]


def is_message(node: cst.CSTNode, path: list[cst.CSTNode]) -> bool:
    """Whether a mutation here changes only what people read: arguments of a raised exception or of a warning, the message of an assert,
    and any literal with a space in it."""
    inner: cst.CSTNode = node
    for outer in reversed(path[:-1]):
        if isinstance(outer, cst.Assert) and inner is outer.msg:
            return True
        if isinstance(outer, cst.Raise) or called(outer) == "warn":
            return True
        inner = outer
    return called(node) == "warn" or (isinstance(node, cst.SimpleString) and " " in node.raw_value)


def visited(source: str) -> tuple[Visitor, cst.Module]:
    wrapper, visitor = MetadataWrapper(cst.parse_module(source)), Visitor()
    wrapper.visit(visitor)
    return visitor, wrapper.module


def text(node: cst.CSTNode) -> str:
    return " ".join(cst.Module([]).code_for_node(node).split())


def changed(mutation: Mutation) -> str:
    return f"`{text(mutation.original_node)}` -> `{text(mutation.mutated_node)}`"


def mutants(root: Path, file: Path) -> Iterator[Mutant]:
    """All mutants of one file."""
    visitor, _ = visited(file.read_text())
    here, counts = str(file.relative_to(root)), dict[str, int]()
    for number, (mutation, place) in enumerate(zip(visitor.mutations, visitor.places, strict=True)):
        function, message = place
        name = f"{here} {function or '(module)'}: {changed(mutation)}"
        counts[name] = counts.get(name, 0) + 1
        yield Mutant(
            here, name if counts[name] == 1 else f"{name} #{counts[name]}", function, message, number
        )


def sample(all_mutants: list[Mutant], size: int, seed: str) -> list[Mutant]:
    """Draws from each module its share, by largest remainders."""
    by_file: dict[str, list[Mutant]] = {}
    for one in all_mutants:
        by_file.setdefault(one.file, []).append(one)
    shares: dict[str, Any] = {file: size * len(some) / len(all_mutants) for file, some in by_file.items()}
    counts = {file: int(share) for file, share in shares.items()}
    for file in sorted(shares, key=lambda file: counts[file] - shares[file])[: size - sum(counts.values())]:
        counts[file] += 1
    return [
        one
        for file, some in by_file.items()
        for one in sorted(some, key=lambda one: one.drawn(seed))[: counts[file]]
    ]


def noting_calls(file: str, source: str) -> str:
    """A file whose functions put their name into a set, `called_functions`, whenever they are called."""
    tree = ast.parse(source)

    def note(node: ast.AST, names: list[str]) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                note(child, [*names, child.name])
            else:
                note(child, names)
        if isinstance(node, ast.FunctionDef):
            name = f"{file} {'.'.join(names)}"
            has_text = ast.get_docstring(node, clean=False) is not None
            node.body.insert(has_text, ast.parse(f"called_functions.add({name!r})").body[0])

    note(tree, [])
    return ast.unparse(tree)
