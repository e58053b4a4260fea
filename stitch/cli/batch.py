"""`stitch batch`: many clips with the same edit, each in a process of its own, one a device or where Ray puts it."""

import argparse
import json
import os
import subprocess  # nosec B404  # this Python itself, without a shell
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from stitch.cli.console import Console
from stitch.core.errors import StitchError
from stitch.runtime.disk import PICTURE_SUFFIXES

PURPOSE = "edit many clips and photos, each in a process of its own"
_PROGRAM = (sys.executable, "-m", "stitch", "edit")
_RETRIES = 3
_KNOWN = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", *PICTURE_SUFFIXES, ".heic")


@dataclass(frozen=True)
class Job:
    """One clip to be edited.

    Attributes:
        source, output: files.
        options: of `stitch edit` beside these.
        program: what is started, with the three above behind it.
    """

    source: Path
    output: Path
    options: tuple[str, ...] = ()
    program: tuple[str, ...] = field(default=_PROGRAM, repr=False)

    @property
    def arguments(self) -> list[str]:
        """Of `stitch edit`."""
        return [str(self.source), "-o", str(self.output), *self.options]

    def run(self, device: str | None = None) -> str | None:
        """Edits the clip; what an earlier process left of it is used.

        Args:
            device: number of the CUDA device that alone is seen; None leaves that open.
        Returns:
            None, or what went wrong, in a sentence.
        """
        seen = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
        done = subprocess.run(  # nosec B603  # as above
            [*self.program, *self.arguments, "--json"], env={**os.environ, **seen}, capture_output=True, text=True
        )
        if done.returncode == 0:
            return None
        for line in done.stdout.splitlines()[::-1]:
            if line.startswith("{") and (event := json.loads(line)).get("event") == "error":
                return str(event["message"])
        return f"the process ended with code {done.returncode}: {done.stderr.strip()[-400:] or 'it said nothing'}"


def add_arguments(command: argparse.ArgumentParser, count: Callable[[str], int]) -> None:
    """What may be said.

    Args:
        command: the command's parser.
        count: reads a whole number from 1 on.
    """
    command.add_argument("clips", type=Path, metavar="FOLDER|LIST.json",
                         help='a folder of clips and photos, or a list such as [{"clip": "a.mp4", "options": '
                              '["--edit", "smile=2"]}], paths from where the list lies')
    command.add_argument("-o", "--output", type=Path, required=True, metavar="DIR",
                         help="folder of the results, each named as its clip; what is there already is left out")
    command.add_argument("--workers", type=count, metavar="N", help="clips at once (one, or one a GPU)")
    command.add_argument("--ray", metavar="ADDRESS", help="give the clips to a Ray cluster (pip install ray), such as "
                         "auto; clips, results and the cache folder must be on storage that all of it shares")
    command.epilog = "Behind -- stand options of 'stitch edit' for every clip: batch DIR -o OUT -- --edit smile=2"


def split(said: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments of `stitch batch`, and those behind -- for `stitch edit`; of other commands all stay in the first.

    Args:
        said: the whole command line without the program's name.
    """
    at = said.index("--") if said[:1] == ["batch"] and "--" in said else len(said)
    return list(said[:at]), list(said[at + 1 :])


def run(arguments: argparse.Namespace, console: Console, check: Callable[[list[str]], object]) -> None:
    """Edit all clips; one that fails does not stop the others.

    Args:
        arguments: of `add_arguments`, with the second part of `split` as `options`.
        console: is told about every clip that is done.
        check: refuses arguments of `stitch edit` that cannot be meant, before anything runs.
    Raises:
        StitchError: there is nothing to edit, or some clip failed.
    """
    jobs = asked(arguments.clips, arguments.output, arguments.options)
    for job in jobs:
        check(job.arguments)
    waiting = [job for job in jobs if not job.output.exists()]
    if left_out := len(jobs) - len(waiting):
        console.say(f"{left_out} of {len(jobs)} results are there already", there=left_out, clips=len(jobs))
    failed = 0
    for done, (job, problem) in enumerate(_edited(waiting, arguments.workers, arguments.ray), 1):
        failed += problem is not None
        console.say(f"[{done}/{len(waiting)}] {job.source.name}: {problem or job.output}",
                    clip=str(job.source), output=str(job.output), problem=problem)
    if failed:
        raise StitchError(f"{failed} of {len(waiting)} clips failed, see above; the same command tries these again")


def asked(clips: Path, folder: Path, common: Sequence[str] = ()) -> list[Job]:
    """The clips of a folder, by name, or of a list.

    Args:
        clips: the folder, or a JSON file.
        folder: of the results; it is made.
        common: options of all of them.
    Raises:
        StitchError: there is none, the list is none, or two results would have one name.
    """
    if clips.is_dir():
        clips_in_it = (path for path in sorted(clips.iterdir()) if path.suffix.lower() in _KNOWN)
        named: list[tuple[Path, tuple[str, ...]]] = [(path, ()) for path in clips_in_it]
    else:
        named = list(_listed(clips))
    if not named:
        raise StitchError(f"{clips}: no clip or photo in it")
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [Job(path, folder / _result(path), (*common, *options)) for path, options in named]
    names = [job.output.name for job in jobs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise StitchError(f"{clips}: two clips would both become {twice[0]}; rename one")
    return jobs


def _listed(file: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        for entry in entries:
            path, options = entry["clip"], entry.get("options", [])
            if not isinstance(path, str) or not all(isinstance(option, str) for option in options):
                raise TypeError
            yield file.parent / path, tuple(options)
    except OSError as error:
        raise StitchError(f"{file}: cannot be read ({error.strerror}); name a folder of clips, or a list") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StitchError(f'{file}: not a list such as [{{"clip": "a.mp4", "options": ["--edit", "smile=2"]}}]'
                          ) from error


def _result(source: Path) -> str:
    ending = source.suffix.lower()
    return f"{source.stem}{ending if ending in PICTURE_SUFFIXES else '.mp4'}"


def _edited(jobs: Sequence[Job], workers: int | None, ray: str | None) -> Iterable[tuple[Job, str | None]]:
    """Each clip as it is done, with what went wrong."""
    if not jobs:
        return ()
    return with_ray(jobs, ray) if ray is not None else here(jobs, workers)


def here(jobs: Sequence[Job], workers: int | None) -> Iterator[tuple[Job, str | None]]:
    """Edit clips on this machine, each GPU one at a time.

    Args:
        jobs: at least one.
        workers: at once; None takes one a GPU, or one.
    Yields:
        A job that is done, and what went wrong.
    """
    from stitch.runtime.device import cuda_devices

    gpus = cuda_devices()
    free: SimpleQueue[str | None] = SimpleQueue()
    slots = workers or max(1, gpus)
    for slot in range(slots):
        free.put(str(slot % gpus) if gpus else None)

    def one(job: Job) -> str | None:
        device = free.get()
        try:
            return job.run(device)
        finally:
            free.put(device)

    with ThreadPoolExecutor(slots) as pool:
        running = {pool.submit(one, job): job for job in jobs}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def with_ray(jobs: Sequence[Job], address: str) -> Iterator[tuple[Job, str | None]]:
    """Edit clips on a Ray cluster; one whose worker died is given to another, which goes on with the run's folder.

    Args:
        jobs: at least one.
        address: of the cluster; "local" starts one here, as large as this machine.
    Yields:
        A job that is done, and what went wrong.
    Raises:
        StitchError: Ray is not installed, or there is no such cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise StitchError("--ray needs the package ray: pip install ray") from error
    try:
        ray.init(address=address, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise StitchError(f"--ray {address}: no such cluster ({error})") from error
    try:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        edit = ray.remote(num_gpus=gpus, max_retries=_RETRIES)(Job.run)
        running = {edit.remote(job): job for job in jobs}
        while running:
            (done, *_), _ = ray.wait(list(running))
            job = running.pop(done)
            try:
                yield job, ray.get(done)
            except ray.exceptions.RayError as error:
                yield job, f"no worker finished it ({type(error).__name__})"
    finally:
        ray.shutdown()
