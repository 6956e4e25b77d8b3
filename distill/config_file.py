"""Reading a configuration: a TOML file, options that override it, and one clear line for whatever is wrong."""

import tomllib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import tomli_w

from distill.config import Config
from distill.usage import UsageError


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
    values: dict[str, Any] = {key: dict(v) if isinstance(v, Mapping) else v for key, v in raw.items()}
    for key, text in (overrides or {}).items():
        _override(values, key, text)
    try:
        return msgspec.convert(values, Config, strict=True)
    except (msgspec.ValidationError, ValueError) as error:
        raise UsageError(f"{source}: {_explained(str(error))}") from None


def to_toml(config: Config) -> str:
    """The resolved configuration, every value written out; `load_config` reads it back unchanged."""
    return tomli_w.dumps(msgspec.to_builtins(config))


def known_keys(config: Config | None = None) -> dict[str, object]:
    """Every dotted key with its value, by default the default one."""
    return flat(msgspec.to_builtins(config or Config()))


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Nested values by their dotted keys."""
    keys: dict[str, object] = {}
    for name, value in values.items():
        keys |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return keys


def _override(values: dict[str, Any], key: str, text: str) -> None:
    """Sets one dotted key; the text is read as a TOML value of the default's kind."""
    known = known_keys()
    if key not in known:
        section = key.split(".")[0]
        near = [name for name in known if name.split(".")[0] == section] or list(known)
        raise UsageError(f"Expected a known key instead of --{key}; there are {', '.join(near)}.")
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
