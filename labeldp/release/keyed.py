"""Keyed noise: a rerun of the same release gives the same noisy labels, and costs once.

The words of an item are a pseudo-random function of the item's number, its true label and everything else that the answer
depends on. Were the label left out, two answers to one item under two epsilons, or before and after a correction of its
label, would share their words, and comparing them would reveal the label.
"""

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NoReturn, cast

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from labeldp.mechanisms import ALL, Mechanism, Plan

BLOCK = 16
SAMPLER = "labeldp keyed noise 1"
"""Names the code that turns words into answers. Whoever changes what any mechanism answers to given words gives it another number:
the same words under two laws would be one noise in two releases."""

_PLANS = "labeldp keyed plans 1"
_FINGERPRINT = b"labeldp key fingerprint 1"


@dataclass(frozen=True, eq=False, repr=False)
class Items:
    """Public numbers of items as blocks of 16 bytes, different for different items; (n, 16).

    Attributes:
        blocks: one block for each item.
        kind: "integer" or "text"; the two never share a block within one release.
    """

    blocks: npt.NDArray[np.uint8]
    kind: str

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, rows: slice | npt.NDArray[np.intp]) -> "Items":
        return Items(self.blocks[rows], self.kind)


@dataclass(frozen=True, eq=False, repr=False)
class Context:
    """What words are drawn for, inside the barrier; it holds true labels and is never stored.

    Attributes:
        mechanism: what answers.
        items: their numbers, or None where the caller gave none.
        labels: true labels as class numbers, (n,).
        plan: what was decided about these items beforehand.
        attempt: how often these items' words have been rejected.
    """

    mechanism: Mechanism
    items: Items | None
    labels: npt.NDArray[np.integer]
    plan: Plan
    attempt: int = 0

    def __getitem__(self, rows: slice | npt.NDArray[np.intp]) -> "Context":
        items = None if self.items is None else self.items[rows]
        return Context(self.mechanism, items, self.labels[rows], self.plan[rows], self.attempt)

    def again(self, rows: npt.NDArray[np.intp], attempt: int) -> "Context":
        """The context of the rows whose words were rejected."""
        return Context(self.mechanism, self[rows].items, self.labels[rows], self.plan[rows], attempt)


class KeyedSource:
    """Noise that survives retries: a function of a secret key, the item, its true label and all that its answer depends on.

    Releasing again with the same key, items, labels, mechanism, candidates and epoch gives the same noisy labels, in any order and in
    any number of parts, and costs nothing more. Any other release of an item (another epsilon, mechanism, candidate set or epoch) has
    noise of its own and is charged like a second release.

    An epoch is one column of labels of one table, with its classes in one order, and labels do not change within it: answers that repeat
    would show that two columns agree at an item, and answers that do not, that a label was corrected. Another table, another column,
    other classes or corrected labels go under another epoch, all items of them.

    Args:
        key: 32 secret bytes, independent of the data, for example `secrets.token_bytes(32)`.
        epoch: a public name for the table, the column and the version of its labels.

    Privacy:
        As for `SystemSource`, against everyone who does not hold the key and cannot tell AES-256 from random permutations: the words are
        CBC-MACs of messages of one length under a key for each context, so q blocks of l each add an advantage of the order of
        (l q)^2 / 2^128. Whoever holds the key can test guesses of a label against its answer: destroy it when no rerun is wanted.
        Text numbers enter by a 128-bit digest; n of them collide with a probability below n^2 / 2^129.

    Source: M. Bellare, J. Kilian, P. Rogaway, The security of the cipher block chaining message authentication code, 2000.
    """

    secure = True

    def __init__(self, key: bytes, *, epoch: str = "") -> None:
        if not isinstance(key, bytes | bytearray):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"Expected a key of 32 bytes, got {type(key).__name__}.")
        if len(key) != 32:
            raise ValueError(
                f"Expected a key of 32 bytes, got {len(key)}; make one with secrets.token_bytes(32)."
            )
        if not isinstance(epoch, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"Expected epoch to be a text, got {type(epoch).__name__}.")
        if not epoch.isascii():
            raise ValueError("Expected epoch to be a text of ASCII characters, got others.")
        self._key, self.epoch = bytes(key), epoch

    def within(self, name: str) -> "KeyedSource":
        """The source of a named part of this epoch, such as one column; parts have noise of their own."""
        return KeyedSource(self._key, epoch=json.dumps([self.epoch, name]))

    def words(self, count: int, context: object = None) -> npt.NDArray[np.uint64]:
        """The words of the context's items, item after item, (count,).

        Raises:
            TypeError: no items were given to the release.
        """
        if not isinstance(context, Context) or context.items is None:
            raise TypeError(
                "Expected items=... with a KeyedSource: a number or a text for each label that names its item in every rerun."
            )
        pairs = -(-count // (2 * max(1, len(context.items))))
        encrypt = self._cipher(context)
        state = encrypt(context.items.blocks)
        for block in _plan_blocks(context.plan):
            state = encrypt(state ^ block)
        last = np.zeros((len(state), 2), dtype="<u8")
        last[:, 0] = context.labels
        words = np.empty((len(state), pairs, 2), dtype=np.uint64)
        for pair in range(pairs):
            last[:, 1] = context.attempt * 2**32 + pair
            words[:, pair] = encrypt(state ^ last.view(np.uint8)).view("<u8")
        per_item = count // max(1, len(state))
        return words.reshape(len(state), -1)[:, :per_item].reshape(-1)

    @property
    def fingerprint(self) -> str:
        """The key's public name, see `key_fingerprint`."""
        return key_fingerprint(self._key)

    def release_digest(self, mechanism: Mechanism, items: Items, plan: Plan, plans: int | None = None) -> str:
        """The public name of a release, 64 hex digits: equal where nothing that noise depends on differs, but labels.

        Items are part of it where they have candidates of their own, or where `plans` lists them.

        Args:
            mechanism: what answers.
            items: the numbers of the items, or of some of them.
            plan: what was decided about these items.
            plans: the sum of `plan_digest` over all parts of the release; by default the release has this one part.

        Privacy: a function of public values and of the key's fingerprint.
        """
        context = described(mechanism, items, plan, self.epoch)
        if plans is None:
            plans = self.plan_digest(mechanism, items, plan)
        told = json.dumps([context, self.fingerprint, f"{plans % 2**128:032x}"], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    def plan_digest(self, mechanism: Mechanism, items: Items, plan: Plan, *, listed: bool = False) -> int:
        """A digest below 2^128 of which item has which candidates; 0 where every item has all classes, unless they are listed.

        It does not depend on the order of the items, and digests of parts add up to that of the whole, modulo 2^128.

        Args:
            listed: for a unit that other items cost something too, a record: items are then part of the digest in any case.
        """
        if plan.unrestricted and not listed:
            return 0
        encrypt = self._encryption({**described(mechanism, items, plan, self.epoch), "sampler": _PLANS})
        state = encrypt(items.blocks)
        for block in _plan_blocks(plan):
            state = encrypt(state ^ block)
        quarters = state.view("<u4").sum(axis=0, dtype=np.uint64).tolist()
        return sum(quarter << 32 * place for place, quarter in enumerate(quarters)) % 2**128

    def _cipher(self, context: Context) -> Any:
        """AES-256 under the subkey of everything that is the same for all items: every word of another context is independent."""
        assert context.items is not None
        return self._encryption(described(context.mechanism, context.items, context.plan, self.epoch))

    def _encryption(self, context: dict[str, Any]) -> Any:
        subkey = hmac.digest(self._key, json.dumps(context, sort_keys=True).encode(), "sha256")
        encryptor = Cipher(AES(subkey), ECB()).encryptor()

        def encrypt(blocks: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
            result = encryptor.update(np.ascontiguousarray(blocks).data)
            return np.frombuffer(result, dtype=np.uint8).reshape(-1, BLOCK)

        return encrypt

    def __repr__(self) -> str:
        return "KeyedSource(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A KeyedSource cannot be copied or pickled: it holds a secret key. Make another one from the key."
        )


def described(mechanism: Mechanism, items: Items, plan: Plan, epoch: str) -> dict[str, Any]:
    """Everything public that the noise of all items depends on alike; the subkey is made from it, and the name in a ledger.

    Raises:
        TypeError: the law is not told by name and parameters.
    """
    if type(mechanism) not in ALL:
        raise TypeError(
            f"Expected a mechanism of labeldp with a KeyedSource, got {type(mechanism).__name__}."
        )
    return {
        "sampler": SAMPLER,
        "mechanism": type(mechanism).__name__,
        "parameters": asdict(mechanism),  # pyright: ignore[reportArgumentType, reportCallIssue]
        "items": items.kind,
        "epoch": epoch,
        "planned": [plan.candidates is not None, plan.blocks is not None],
    }


def key_fingerprint(key: bytes) -> str:
    """The public name of a key: 32 hex digits, 128 bits of a pseudo-random function of a constant.

    Privacy: it says nothing of the key or of any noise; it tests no guess of a label, only of the key itself.
    """
    return hmac.digest(key, _FINGERPRINT, "sha256")[:16].hex()


def item_blocks(items: object, num_items: int) -> Items:
    """Checks and encodes the numbers or texts that name items; `Items` are taken to be checked.

    Raises:
        TypeError: neither integers nor texts.
        ValueError: another length than the labels, a missing name, or one name twice.
    """
    if isinstance(items, Items):
        if len(items) != num_items:
            raise ValueError(f"Expected items of {num_items} labels, got {len(items)}.")
        return items
    given = isinstance(items, list | tuple) and any(
        isinstance(item, str) for item in cast(Sequence[Any], items)
    )
    array = (
        np.array(items, dtype=object) if given else np.asarray(items)
    )  # texts as they are, with nothing made into one
    if array.shape != (num_items,):
        raise ValueError(
            f"Expected items of shape (n,) = ({num_items},), one for each label, got {array.shape}."
        )
    if array.dtype.kind in "iu" or not len(array):
        increasing = len(array) > 0 and bool((array[1:] > array[:-1]).all())  # then nothing has to be sorted
        distinct = num_items if increasing else len(np.unique(array))
        blocks = integer_items(array)
    else:
        texts: list[Any] = array.tolist()
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("Expected items to be all integers or all texts, none of them missing.")
        distinct = len(set(texts))
        blocks = text_items([text.encode("utf-8", "surrogatepass") for text in texts])
    if distinct != num_items:
        raise ValueError(
            f"Expected every item to be named once, got {num_items - distinct} repeated names; two labels of one item need "
            f"two names, and are two answers about it."
        )
    return blocks


def integer_items(numbers: npt.NDArray[Any]) -> Items:
    """The blocks of integers: 64 bits and a sign, so that different numbers have different blocks, whatever their types."""
    blocks = np.zeros((len(numbers), 2), dtype="<u8")
    if numbers.dtype.kind == "u" or not len(numbers):
        blocks[:, 0] = numbers
    else:
        blocks[:, 0] = numbers.astype("<i8", copy=False).view("<u8")
        blocks[:, 1] = numbers < 0
    return Items(blocks.view(np.uint8).reshape(len(numbers), BLOCK), "integer")


def text_items(texts: list[bytes]) -> Items:
    """The blocks of texts in UTF-8: their 128-bit digests."""
    digest = partial(hashlib.blake2b, digest_size=BLOCK)
    digests = b"".join([digest(text).digest() for text in texts])
    return Items(np.frombuffer(digests, dtype=np.uint8).reshape(len(texts), BLOCK), "text")


def _plan_blocks(plan: Plan) -> npt.NDArray[np.uint8]:
    """What was decided about each item, packed without loss into blocks; (b, n, 16), b the same for every item."""
    parts: list[npt.NDArray[np.uint8]] = []
    if plan.candidates is not None:
        parts.append(np.packbits(plan.candidates, axis=1))
    if plan.blocks is not None:
        parts.append(plan.blocks.astype("<u4").view(np.uint8).reshape(plan.num_items, -1))
    if not parts:
        return np.empty((0, plan.num_items, BLOCK), dtype=np.uint8)
    packed = np.concatenate(parts, axis=1)
    padded = np.pad(packed, ((0, 0), (0, -packed.shape[1] % BLOCK)))
    return padded.reshape(plan.num_items, padded.shape[1] // BLOCK, BLOCK).swapaxes(0, 1)
