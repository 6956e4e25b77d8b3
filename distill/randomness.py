"""Public randomness of a run: one independent stream of draws for each phase."""

import hashlib

import torch


def stream(seed: int, phase: str) -> torch.Generator:
    """Returns the generator of one phase, so that a change in one phase moves no draw of another.

    It lives on the CPU: the same seed then gives the same draws whatever device trains.
    Nothing secret may be drawn from it; noise on labels comes from `labeldp`.
    """
    digest = hashlib.sha256(f"{seed}/{phase}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
