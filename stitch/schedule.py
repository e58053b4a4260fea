"""How the learning rate of pivotal tuning falls."""


def rate_share(step: int, steps: int, settle: float) -> float:
    """Share of the learning rate that a step takes: all of it, then linearly down to nothing.

    Adam at a constant rate keeps every weight trembling by about one rate; small networks need large rates, and their
    pictures tremble visibly unless the last steps settle them (ours; the paper's rate is constant).

    Args:
        step: counted from 0.
        steps: of the whole tuning.
        settle: share of the steps over which the rate falls, 0 to 1; 0 keeps it constant.
    Returns:
        In (0, 1].
    """
    return min(1.0, (steps - step) / (settle * steps)) if settle > 0 else 1.0
