"""`labeldp key`: makes, names and destroys the keys of keyed noise."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

key = App(
    name="key",
    help="Keys of keyed noise: a key makes reruns cost nothing, and can test guesses of the labels it protected.",
    help_format="plaintext",
    result_action="return_value",
)

File = Annotated[Path, Parameter(help="The key file.")]


@key.command
def new(file: File) -> None:
    """Makes a new key in a file that only its owner may read."""
    from labeldp.tables import new_key

    print(
        f"Key {new_key(file)} in {file}; destroy it when no rerun is wanted any more: labeldp key destroy {file}"
    )


@key.command
def fingerprint(file: File) -> None:
    """Prints the key's public name, which says nothing of the key."""
    from labeldp.tables import fingerprint, read_key

    print(fingerprint(read_key(file)))


@key.command
def destroy(file: File) -> None:
    """Overwrites and removes a key file; reruns are new releases from then on, and are charged."""
    from labeldp.tables import destroy_key
    from labeldp.tables.key_file import NOT_PROMISED

    name = destroy_key(file)
    print(f"Key {name or '(damaged)'} in {file} is destroyed. {NOT_PROMISED}")
