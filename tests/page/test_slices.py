"""Time dealt out in slices, as ZeroGPU does: another process, pickled values, an end whenever it likes."""

import copy
import itertools
import json
import pickle
from dataclasses import dataclass, replace

import gradio as gr
import pytest
import torch

from stitch.core.errors import StitchError, VideoError
from stitch.core.events import Preview, Progress
from stitch.core.settings import Settings
from stitch.families.family import Family
from stitch.page.api import endpoints
from stitch.page.page import Page
from stitch.page.shared import Shared
from stitch.runtime import slices
from stitch.runtime.jobs import Again, Done, Job, Worker
from stitch.service import tasks
from stitch.service.families import Families
from stitch.service.sessions import About, Entry, Store
from stitch.video import files
from tests.conftest import tiny_family
from tests.pages import LIMITS, short_settings, visit
from tests.stages import eventually


class Dealt:
    """ZeroGPU's decorator: values cross into another process and back; after so many events a slice is cut off.

    As in the `spaces` package (0.51), only the decorated function sees real tensors and may reach CUDA: `zero/torch`
    leaves zero-filled stand-ins in the main process, works on them in its main thread alone, and raises in all others.
    """

    def __init__(self, *allowed: int) -> None:
        self.allowed, self.durations, self.decorated, self.inside = list(allowed), [], 0, False

    def families(self, *loaded: Family) -> Families:
        """Families as the page knows them there."""
        dealt = self

        class Guarded(Families):
            def __call__(self, name: str) -> Family:
                if not dealt.inside:
                    raise RuntimeError("Low-level CUDA init (`torch._C._cuda_init`) reached.")
                known = {family.name: family for family in loaded}
                return known[name]

        return Guarded(torch.device("cpu"), *map(zeroed, loaded))

    def __call__(self, duration):
        def decorate(fn):
            self.decorated += 1

            def started(task):
                self.durations.append(duration(task))
                work = fn(pickle.loads(pickle.dumps(task)))
                left = self.allowed.pop(0) if self.allowed else None
                try:
                    for count in itertools.count():
                        if count == left:
                            raise gr.Error("GPU task aborted")
                        self.inside = True
                        try:
                            event = next(work, None)
                        finally:
                            self.inside = False
                        if event is None:
                            return
                        yield pickle.loads(pickle.dumps(event))
                except gr.Error:
                    raise
                except Exception as error:
                    raise gr.Error(type(error).__name__) from error
                finally:
                    work.close()

            return started

        return decorate


def zeroed(family: Family) -> Family:
    """What the main process holds of a family: all of its shape, nothing of its numbers."""
    fake = copy.deepcopy(family)
    for network in (fake.generator, fake.encoder, fake.perceptual, fake.identity):
        for tensor in network.state_dict().values():
            tensor.zero_()
    directions = {name: replace(one, vector=torch.zeros_like(one.vector)) for name, one in fake.directions.items()}
    return replace(fake, directions=directions, relevance=torch.zeros_like(fake.relevance))


@dataclass(frozen=True)
class Count:
    """Counts to five, or fails on the way."""

    family: str = "miniature"
    slice_s: float = 30.5
    fails: bool = False

    def run(self, family):
        for done in range(1, 6):
            yield Progress("tune", done, 5)
        if self.fails:
            raise VideoError("clip.mp4: it is empty; choose another")
        yield Done(family)


def finished(run, task) -> Job:
    """A job of this task, after its end."""
    job = Job("a", "1", "render", task)
    Worker(run, lambda job, state: None).submit(job)
    eventually(lambda: not job.active)
    return job


@pytest.fixture
def choice(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(Settings, "preset", staticmethod(short_settings))

    def made(name: str) -> tuple[Entry, About]:
        entry, _ = Store(tmp_path / name, LIMITS).session("a" * 32).add(clip, "miniature")
        return entry, entry.change(quality="draft", look={"sliders": {"smile": 2.0}})

    return made


def rendering(entry: Entry, about: About) -> slices.Task:
    return slices.Task(about.family, tasks.render, (entry, about), slices.LONGEST_S)


def test_owner_has_one_decorated_function_whose_slice_is_the_tasks(family) -> None:
    device = Dealt()
    run = slices.owner(lambda name: name, device)
    assert device.decorated == 1
    *_, last = run(Count(slice_s=30.5))
    assert last.record == "miniature" and device.durations == [31]


def test_owner_without_slices_lets_a_task_work_to_its_end() -> None:
    *events, last = slices.owner(lambda name: name)(Count(slice_s=0.0))
    assert len(events) == 5 and isinstance(last, Done)


def test_owner_asks_for_another_slice_before_this_one_is_over(monkeypatch) -> None:
    seconds = iter(range(100))
    monkeypatch.setattr(slices.time, "monotonic", lambda: next(seconds))
    events = list(slices.owner(lambda name: name, Dealt())(Count(slice_s=8 + 2)))
    assert [type(event) for event in events] == [Progress, Progress, Progress, Again] and not events[-1].cut


def test_owner_brings_problems_out_of_the_other_process_in_words() -> None:
    with pytest.raises(VideoError, match="it is empty; choose another"):
        list(slices.owner(lambda name: name, Dealt())(Count(fails=True)))


def test_owner_says_what_the_device_refuses() -> None:
    def refuse(duration):
        def started(task):
            raise gr.Error("You have no time left today")
            yield

        return lambda fn: started

    with pytest.raises(StitchError, match="no time left today"):
        list(slices.owner(lambda name: name, refuse)(Count()))


def test_worker_ends_a_job_that_is_cut_off_again_and_again() -> None:
    job = finished(slices.owner(lambda name: name, Dealt(*[2] * 50)), Count())
    assert job.state == "failed" and "cut off again and again" in job.error


@pytest.mark.parametrize("allowed", [(11, 14, 9), (26, 21)])
def test_render_cut_off_in_slices_ends_as_one_without(family, choice, allowed) -> None:
    whole, sliced = choice("whole"), choice("sliced")
    first = finished(slices.owner(lambda name: family), rendering(*whole))
    device = Dealt(*allowed)
    second = finished(slices.owner(lambda name: family, device), rendering(*sliced))
    assert (first.state, second.state) == ("done", "done") and len(device.durations) == len(allowed) + 1
    folders = whole[0].shown / first.record, sliced[0].shown / second.record
    clips = [list(files.frames(files.probe(folder / "edited.mp4"))) for folder in folders]
    assert len(clips[0]) == len(clips[1]) == 8
    assert all((ours == theirs).all() for ours, theirs in zip(*clips, strict=True))
    records = [without_times(json.loads((folder / "result.json").read_text())) for folder in folders]
    assert records[0] == records[1]


def without_times(record: dict) -> dict:
    return {name: value for name, value in record.items() if name not in ("took_s", "made")}


def test_render_of_many_slices_goes_on_where_the_last_one_ended(family, choice, monkeypatch) -> None:
    seconds = iter(range(10_000))
    monkeypatch.setattr(slices, "time", type("", (), {"monotonic": staticmethod(lambda: next(seconds))}))
    device = Dealt()
    job = finished(slices.owner(lambda name: family, device), replace(rendering(*choice("many")), slice_s=8 + 20.0))
    assert job.state == "done" and len(device.durations) > 2 and set(device.durations) == {28}


def test_render_shows_a_finished_frame_early(family, choice) -> None:
    shares, shown = [], []
    for event in tasks.render(family, *choice("early")):
        if isinstance(event, Progress) and event.stage == "stitching":
            shares.append(event.done / event.total)
        if isinstance(event, Preview) and event.stage == "stitching":
            shown.append(shares[-1])
    assert shown[0] == 0 < shown[1] <= 0.5, "first as it is edited, then stitched"


def test_page_on_zero_gpu_touches_no_tensor_outside_a_slice(clip, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Settings, "preset", staticmethod(short_settings))
    family, other = tiny_family(), replace(tiny_family(1), name="ffhq")
    frames = []
    for number, device in enumerate((None, Dealt())):
        families = Families(torch.device("cpu"), family, other) if device is None else device.families(family, other)
        store = Store(tmp_path / str(number), LIMITS)
        page = Page(Shared(families, "miniature", store, slices.owner(families, device), clip))
        page.build(endpoints)
        words = {page.edits.words: "a face with glasses"}
        taken = page.take(visit(page, "", "", words, smile=2.0), str(clip))
        here = visit(page, taken[page.shared.secret], taken[page.shared.name], words, smile=2.0)
        entry = here.entry
        eventually(lambda entry=entry: entry.about.people == 1)
        shown = page.preview.look(here)
        used = page.which.choose(replace(here, said={**here.said, page.which.choice: "ffhq"}))
        assert used[page.shared.family] == "ffhq", used
        eventually(lambda entry=entry: entry.about.people == 1)
        page.use(here, "miniature")
        entry.change(consent={"1": 1.0})
        page.render.begin(here)
        eventually(lambda page=page, entry=entry: not page.shared.desk.jobs(entry)["render"].active)
        assert entry.about.state == "done", page.shared.desk.jobs(entry)["render"].error
        edited = list(files.frames(files.probe(entry.shown / entry.about.result / "edited.mp4")))
        frames.append((shown[page.preview.frame]["views"], edited))
    assert frames[0][0] == frames[1][0]
    assert all((ours == theirs).all() for ours, theirs in zip(frames[0][1], frames[1][1], strict=True))

