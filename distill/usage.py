"""The error of a wrong request, apart from whatever needs a package."""


class UsageError(ValueError):
    """What was asked for cannot be done as asked: a wrong key, a missing or damaged file. One line says what to do."""
