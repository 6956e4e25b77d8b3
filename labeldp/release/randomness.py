"""Sources of random words. Every release draws from one of them; none is global, none is seeded by accident."""

import hashlib
import os
from typing import NoReturn, Protocol

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from labeldp.mechanisms.parameters import checked_integer

_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):  # the process number alone may repeat, in another namespace
    os.register_at_fork(after_in_child=_count_fork)


class Source(Protocol):
    """Where the words of a sampler come from."""

    @property
    def secure(self) -> bool:
        """Whether a release made with it may leave the house."""
        ...

    def words(self, count: int, context: object = None) -> npt.NDArray[np.uint64]:
        """Uniform, independent 64-bit words, (count,). The context is for sources whose noise depends on what is released."""
        ...


class SystemSource:
    """Fresh secret randomness: the AES-256-CTR keystream of a key from the operating system.

    A forked process draws a key of its own; pickling and copying are refused, since two copies would emit the same noise.

    Privacy:
        The guarantee of a release is computational: it holds against everyone who cannot tell the AES keystream from uniform words.
    """

    secure = True

    def __init__(self) -> None:
        self._renew()

    def _renew(self) -> None:
        self._process = os.getpid(), _forks
        self._stream = _keystream(os.urandom(32))

    def words(self, count: int, context: object = None) -> npt.NDArray[np.uint64]:
        """Uniform, independent 64-bit words, (count,)."""
        if (os.getpid(), _forks) != self._process:
            self._renew()
        return _drawn(self._stream, count)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A SystemSource cannot be copied or pickled: the copy would repeat its noise. Make a new one."
        )


class SeededSource:
    """Reproducible words for experiments and tests; a release made with it is stamped not for release.

    Args:
        seed: an integer in 0 .. 2^64 - 1. The same seed gives the same words on every machine.

    Privacy:
        None: whoever knows or guesses the seed can undo the noise.
    """

    secure = False

    def __init__(self, seed: int) -> None:
        self.seed = checked_integer("seed", seed, least=0, most=2**64 - 1)
        self._stream = _keystream(hashlib.sha256(b"labeldp SeededSource %d" % self.seed).digest())

    def words(self, count: int, context: object = None) -> npt.NDArray[np.uint64]:
        """The next words of the stream, (count,)."""
        return _drawn(self._stream, count)

    def __reduce__(self) -> NoReturn:
        raise TypeError("A SeededSource cannot be copied or pickled: make a new one from its seed.")

    def __repr__(self) -> str:
        return f"SeededSource({self.seed})"


def _keystream(key: bytes) -> CipherContext:
    return Cipher(AES(key), CTR(bytes(16))).encryptor()


def _drawn(stream: CipherContext, count: int) -> npt.NDArray[np.uint64]:
    return np.frombuffer(stream.update(bytes(8 * count)), dtype="<u8").astype(np.uint64, copy=False)
