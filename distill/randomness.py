"""Public randomness of a run: one independent stream of draws for each phase."""

import hashlib

import torch


def stream(seed: int, phase: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Returns the generator of one phase, so that a change in one phase moves no draw of another.

    On the CPU the same seed gives the same draws everywhere; another device is for images drawn where they are used,
    and has draws of its own.
    Nothing secret may be drawn from it; noise on labels comes from `labeldp`.
    """
    digest = hashlib.sha256(f"{seed}/{phase}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)
