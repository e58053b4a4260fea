"""Numbers as people say them."""

_UNITS = (("GB", 1e9), ("MB", 1e6))


def spoken(seconds: float) -> str:
    """A length of time as people say it: "40 s", "3 min", "1 h 20 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def size_text(count: int) -> str:
    """Bytes for people."""
    unit, factor = next(((unit, factor) for unit, factor in _UNITS if count >= factor), ("kB", 1e3))
    return f"{count / factor:.3g} {unit}"
