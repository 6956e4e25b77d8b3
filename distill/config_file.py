"""Reading a configuration: a TOML file, options that override it, and one clear line for whatever is wrong."""

import copy
import difflib
import tomllib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import tomli_w

from distill.config import Config
from distill.usage import UsageError
from labeldp import __version__

HEAD = (
    f"# Written by labeldp {__version__}: every value that decides the run, apart from the noise on the labels.\n"
    "# Paths in it tell of the machine it was written on.\n"
)


def load_config(path: str | PathLike[str], overrides: Mapping[str, str] | None = None) -> Config:
    """Reads a TOML file; each override is a dotted key with its value as text, e.g. {"privacy.epsilon": "2"}.

    Raises:
        UsageError: no such file, no TOML, an unknown key, or a value that does not fit.
    """
    try:
        raw = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"Expected a configuration file, found none at {path}.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"Expected a TOML file at {path}: {error}") from None
    return configuration(raw, overrides, source=str(path))


def configuration(
    raw: Mapping[str, Any], overrides: Mapping[str, str] | None = None, *, source: str = "the defaults"
) -> Config:
    """Builds a configuration from nested values and overrides, as `load_config` does."""
    for key in flat(raw):
        if not any(known == key or known.startswith(f"{key}.") for known in known_keys()):
            raise UsageError(f"{source}: Expected a known key instead of {key}; {_instead(key)}")
    values = _overridden(raw, overrides or {})
    try:
        return msgspec.convert(values, Config, strict=True)
    except (msgspec.ValidationError, ValueError) as error:
        blamed = _options_to_blame(raw, overrides or {})
        raise UsageError(f"{blamed or source}: {_explained(str(error))}") from None


def _options_to_blame(raw: Mapping[str, Any], overrides: Mapping[str, str]) -> str:
    """The options without which a configuration would do, each one that fails alone if there is one; none if it fails without any."""
    if not overrides or not _fits(raw, {}):
        return ""
    alone = [key for key, text in overrides.items() if not _fits(raw, {key: text})]
    return ", ".join(f"--{key}" for key in alone or overrides)


def _fits(raw: Mapping[str, Any], overrides: Mapping[str, str]) -> bool:
    try:
        msgspec.convert(_overridden(raw, overrides), Config, strict=True)
    except (msgspec.ValidationError, ValueError):
        return False
    return True


def to_toml(config: Config) -> str:
    """The resolved configuration, every value written out; `load_config` reads it back unchanged."""
    return f"{HEAD}{tomli_w.dumps(msgspec.to_builtins(config))}"


def known_keys(config: Config | None = None) -> dict[str, object]:
    """Every dotted key with its value, by default the default one."""
    return flat(msgspec.to_builtins(config or Config()))


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Nested values by their dotted keys."""
    keys: dict[str, object] = {}
    for name, value in values.items():
        keys |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return keys


def _overridden(raw: Mapping[str, Any], overrides: Mapping[str, str]) -> dict[str, Any]:
    """Nested values with overrides put in their places; the raw ones stay as they are."""
    values: dict[str, Any] = copy.deepcopy(dict(raw))
    for key, text in overrides.items():
        _override(values, key, text)
    return values


def _instead(key: str) -> str:
    """What may have been meant by a key that there is not, and which keys there are."""
    known = list(known_keys())
    near = difflib.get_close_matches(key, known, n=1)
    meant = f"did you mean {near[0]}?" if near else ""
    names = [name for name in known if name.split(".")[0] == key.split(".")[0]]
    if names:
        return f"{meant} There are {', '.join(names)}.".strip()
    sections = dict.fromkeys(name.split(".")[0] for name in known)
    return meant or f"there are the sections and keys {', '.join(sections)}."


def _override(values: dict[str, Any], key: str, text: str) -> None:
    """Sets one dotted key; the text is read as a TOML value of the default's kind."""
    known = known_keys()
    if key not in known:
        raise UsageError(f"Expected a known key instead of --{key}; {_instead(key)}")
    *sections, name = key.split(".")
    target = values
    for section in sections:
        target = target.setdefault(section, {})
    target[name] = text if isinstance(known[key], str) else _number(key, text)


def _number(key: str, text: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise UsageError(f"Expected a number for --{key}, got {text!r}.")


def _explained(message: str) -> str:
    """Turns msgspec's path `$.privacy.stages` into words, and says what a choice is between."""
    text, _, path = message.partition(" - at `$")
    where = path.rstrip("`").lstrip(".")
    if not where:
        return text
    if text.startswith("Invalid enum value"):
        text += f"; there are {', '.join(map(repr, _choices(where)))}"
    return f"[{where}] {text}"


def _choices(key: str) -> tuple[object, ...]:
    """The values that a key with named options may take."""
    kind: Any = Config
    for name in key.split("."):
        kind = get_type_hints(kind)[name]
    return get_args(kind)
