"""What a file says about itself: its credentials and theirs who made its source, its watermark, its metadata."""

import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import av
import c2pa
import numpy as np
from PIL import ExifTags

from stitch.core.errors import StitchError, TrustError, VideoError
from stitch.video import files
from stitch.video.kind import is_photo, open_photo
from stitch.video.trust import watermark
from stitch.video.trust.credentials import EDITED, OFFLINE, PROGRAM
from stitch.video.trust.keys import MADE_HERE
from stitch.video.trust.watermark import Mark

State = Literal["ours", "other", "broken", "lost", "none"]
"""Ours, valid; another program's, valid; changed after it was signed; ours, but without credentials; nothing."""

CODES: dict[State, int] = {"ours": 0, "none": 3, "other": 3, "broken": 4, "lost": 5}
"""What the command ends with. 1 and 2 are taken: a file that cannot be read, and wrong usage."""
ANCHORS = "STITCH_TRUSTED"
"""The variable that names a PEM file of authorities whose signatures count as trusted."""

_NOTE = "Edited with Stitch"
_UNTRUSTED = "signingCredential.untrusted"
_DEEPEST = 20
_LONGEST_S = 180


@dataclass(frozen=True)
class Step:
    """One link of the chain of credentials, the file itself first, then what it was made from.

    Attributes:
        title: of the file, as it is called there.
        program: that made it; empty where it has no credentials.
        signer: whose name stands under it; empty the same.
        actions: what was done, in C2PA's words, with a description where there is one.
    """

    title: str
    program: str = ""
    signer: str = ""
    actions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What was found in a file.

    Attributes:
        state: in a word.
        signer: whose name stands under it; empty if nobody's does.
        self_signed: that name was made by Stitch on somebody's machine and says nothing about who that is.
        trusted: an authority that is trusted here vouches for it.
        chain: the file and what it was made from.
        problems: why the credentials are broken, in C2PA's words.
        edit: what was asked for, as `credentials.Statement` has it; empty unless it is ours.
        mark: of the watermark; None where the pixels cannot be read.
        note: what the metadata says about an edit.
        unread: why the pixels cannot be read; empty if they can.
    """

    state: State
    signer: str
    self_signed: bool
    trusted: bool
    chain: tuple[Step, ...]
    problems: tuple[str, ...]
    edit: dict[str, Any]
    mark: Mark | None
    note: str
    unread: str = ""

    @property
    def title(self) -> str:
        """The state in a sentence."""
        return {
            "ours": "Edited with Stitch, and unchanged since it was signed",
            "other": "Signed by another program, and unchanged since",
            "broken": "The credentials are broken: the file was changed after it was signed, or was damaged",
            "lost": "Edited with Stitch, but without credentials: they were left out, or lost on the way",
            "none": "Nothing here says that Stitch edited it",
        }[self.state]

    @property
    def sentences(self) -> list[str]:
        """All that was found, for people, the title left out."""
        said = []
        if self.signer:
            whose = (
                "an authority that is trusted here vouches for that name" if self.trusted
                else "self-signed on the machine that made it, so the name proves nothing about who that was"
                if self.self_signed else "nobody who is trusted here vouches for that name"
            )
            said.append(f"signed by “{self.signer}”: {whose}")
        else:
            said.append("no content credentials")
        said += [f"problem: {one}" for one in self.problems]
        for one in self.chain[1:]:
            whence = f"made with {one.program}, signed by “{one.signer}”" if one.signer else "without credentials"
            said.append(f"made from “{one.title}”, {whence}")
        if self.edit:
            said.append(f"edited: {self.edit.get('told', '')}; family {self.edit.get('family', '')}, "
                        f"{self.edit.get('licence', '')}; Stitch {self.edit.get('version', '')}")
        if self.mark is not None:
            sure = f"{self.mark.score:.1f} standard deviations; {watermark.THRESHOLD:g} are asked for"
            said.append(f"watermark found ({sure})" if self.mark.found else f"no watermark found ({sure})")
        said += [f"the pixels cannot be read: {self.unread}"] if self.unread else []
        said += [f"its metadata: {self.note}"] if self.note else []
        return said

    def plain(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "state": self.state, "title": self.title, "signer": self.signer, "self_signed": self.self_signed,
            "trusted": self.trusted, "problems": list(self.problems), "edit": self.edit, "note": self.note,
            "chain": [{"title": one.title, "program": one.program, "signer": one.signer, "actions": list(one.actions)}
                      for one in self.chain],
            "watermark": None if self.mark is None else {"found": self.mark.found, "score": round(self.mark.score, 2),
                                                         "threshold": watermark.THRESHOLD},
            "unread": self.unread,
        }


def check(path: Path) -> Report:
    """Everything that a file says about itself, whoever made it.

    Args:
        path: a clip or a photo.
    Raises:
        VideoError: there is no such file.
        TrustError: the file that STITCH_TRUSTED names cannot be read.
    """
    if not path.is_file():
        raise VideoError(f"{path}: there is no such file; check the name")
    store, problems = _credentials(path)
    manifest = _active(store)
    mark, unread = None, ""
    try:
        mark = watermark.find(_spread(path))
    except StitchError as error:
        unread = str(error)
    note = _note(path)
    signature = manifest.get("signature_info", {})
    chain = tuple(_chain(store, path.name))
    ours = bool(chain) and chain[0].program.split("/")[0].split(" ")[0] == PROGRAM
    signer = signature.get("common_name") or signature.get("issuer") or ""
    state: State = (
        "broken" if problems else "ours" if ours else "other" if manifest
        else "lost" if (mark is not None and mark.found) or note.startswith(_NOTE) else "none"
    )
    said = (one["data"] for one in manifest.get("assertions", []) if one.get("label") == EDITED)
    trusted = store.get("validation_state") == "Trusted"
    return Report(state, signer, signer == MADE_HERE, trusted, chain, problems, next(said, {}), mark, note, unread)


def _credentials(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The manifests of a file as C2PA's library tells them, and what is wrong with them."""
    try:
        with c2pa.Context.from_dict(_settings()) as context:
            reader = c2pa.Reader.try_create(path, context=context)
            if reader is None:
                return {}, ()
            with reader:
                store = json.loads(reader.json())
    except c2pa.C2paError.NotSupported:
        return {}, ()
    except c2pa.C2paError as error:
        # A file of no kind that can hold any is not broken; one in which some were found and cannot be read is.
        return {}, (str(error),) if _holds_any(path) else ()
    results = store.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    wrong = [one for one in results if one.get("code") != _UNTRUSTED]
    return store, tuple(str(one.get("explanation") or one.get("code")) for one in wrong)


def _holds_any(path: Path) -> bool:
    """Whether a box of C2PA's lies in a file, however damaged the rest is."""
    with open(path, "rb") as file:
        before = b""
        while block := file.read(1 << 20):
            if b"jumb" in before + block and b"c2pa" in before + block:
                return True
            before = block[-8:]
    return False


def _settings() -> dict[str, Any]:
    named = os.environ.get(ANCHORS)
    if not named:
        return dict(OFFLINE)
    try:
        return {**OFFLINE, "trust": {"trust_anchors": Path(named).read_text()}}
    except (OSError, UnicodeDecodeError) as error:
        raise TrustError(f"{ANCHORS}={named}: cannot be read ({error}); name a PEM file of certificates") from error


def _active(store: dict[str, Any]) -> dict[str, Any]:
    return store.get("manifests", {}).get(store.get("active_manifest"), {})


def _chain(store: dict[str, Any], title: str) -> Iterator[Step]:
    """The file, what it was made from, what that was made from, and so on."""
    label = store.get("active_manifest")
    for _ in range(_DEEPEST):
        manifest = store.get("manifests", {}).get(label)
        if manifest is None:
            return
        program: dict[str, Any] = next(iter(manifest.get("claim_generator_info", [])), {})
        signature = manifest.get("signature_info", {})
        yield Step(
            title, f"{program.get('name', manifest.get('claim_generator', ''))} {program.get('version', '')}".strip(),
            signature.get("common_name") or signature.get("issuer") or "?", tuple(_actions(manifest)),
        )
        parents = [one for one in manifest.get("ingredients", []) if one.get("relationship") == "parentOf"]
        if not parents:
            return
        title, label = parents[0].get("title", "?"), parents[0].get("active_manifest")
        if label not in store["manifests"]:
            yield Step(title)


def _actions(manifest: dict[str, Any]) -> Iterator[str]:
    for one in manifest.get("assertions", []):
        if one.get("label", "").startswith("c2pa.actions"):
            for action in one["data"].get("actions", []):
                yield " ".join(filter(None, (action.get("action"), action.get("description"))))


def _spread(path: Path) -> Iterator[tuple[np.ndarray, bool]]:
    """Frames of a clip, evenly spread over its first minutes, and as many key frames; whether each is one."""
    info = files.probe(path)
    info = replace(info, frames=min(info.frames, math.ceil(_LONGEST_S * info.rate)))
    keys = files.key_frames(info)
    chosen = {*range(0, info.frames, max(1, info.frames // watermark.FRAMES_READ))}
    chosen |= {*np.flatnonzero(keys)[:: max(1, int(keys.sum()) // watermark.FRAMES_READ)].tolist()}
    with closing(files.frames(info)) as frames:
        for index, frame in enumerate(frames):
            if index in chosen:
                yield frame, bool(keys[index])


def _note(path: Path) -> str:
    """What a file's metadata says in its comment or description; empty if nothing, or if it cannot be opened."""
    try:
        if not is_photo(path):
            with av.open(str(path)) as container:
                return container.metadata.get("comment", "")
        with open_photo(path) as image:
            said: Sequence[Any] = (image.info.get("Comment"), image.getexif().get(ExifTags.Base.ImageDescription))
    except Exception:  # as in `stitch.video.kind.is_photo`
        return ""
    found = next((one for one in said if one), "")
    return found.decode(errors="replace") if isinstance(found, bytes) else str(found)
