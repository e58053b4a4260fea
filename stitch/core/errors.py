"""What a user can cause. Every message names the frame, file or word, and the remedy; doors catch `StitchError`."""


from traceback import format_tb


class StitchError(Exception):
    """A problem that the person at the door can solve; its text is complete without a traceback."""


class VideoError(StitchError):
    """The clip cannot be read or written: missing, empty, cut short, not a video, disk full."""


class FaceError(StitchError):
    """No usable face: none found, too small, or no face with the chosen number."""


class EditError(StitchError):
    """An edit cannot be made: unknown name, strength out of range, empty or unknown text."""


class WeightsError(StitchError):
    """A weights file is missing, of another kind than expected, or not safe to load."""


class DeviceMemoryError(StitchError):
    """The smallest piece of the work needs more memory than the device has."""


class RunError(StitchError):
    """A run's folder cannot be used: of another clip, of other settings, or not writable."""


class TrustError(StitchError):
    """A result cannot be signed: no key, none that fits, an expired certificate."""


def without_words(error: BaseException) -> str:
    """Where an error that nobody expected came from, for logs: its kind and its way, without its text, which may name
    people's files and quote what they wrote."""
    return f"{type(error).__name__}. Traceback:\n{''.join(format_tb(error.__traceback__))}"
