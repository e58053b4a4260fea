"""The worker: one job at a time, in turn; stopping frees; nobody's mistake ends it."""

import threading

import pytest

from stitch.core.errors import RunError, VideoError
from stitch.core.events import Notice, Progress
from stitch.runtime.jobs import Again, Done, Job, Worker
from tests.stages import LONG_S, eventually


class Stage:
    """Tasks that a test holds in its hand: each goes on only when it is told to."""

    def __init__(self) -> None:
        self.closed: list[str] = []
        self.started: list[str] = []
        self.go = threading.Semaphore(0)
        self.ended: list[Job] = []
        self.worker = Worker(self.run, lambda job, _: self.ended.append(job))

    def run(self, task):
        self.started.append(task)
        try:
            if task == "wrong":
                raise VideoError("clip.mp4: it is empty")
            if task == "broken":
                raise ZeroDivisionError
            for step in range(3):
                assert self.go.acquire(timeout=LONG_S)
                yield Progress("tune", step + 1, 3)
            yield Notice("said once")
            yield Notice("said once")
            if task == "long" and self.started.count("long") < 3:
                yield Again()
                return
            yield Done(f"result of {task}")
        finally:
            self.closed.append(task)

    def submit(self, browser: str, run: str, task: str) -> Job:
        job = Job(browser, run, "render", task, {"tune": 3.0, "merge": 5.0})
        self.worker.submit(job)
        return job


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_worker_does_one_job_at_a_time_in_turn(stage) -> None:
    first, second = stage.submit("a", "1", "first"), stage.submit("b", "1", "second")
    eventually(lambda: first.state == "working")
    assert second.state == "waiting" and stage.started == ["first"]
    assert stage.worker.place(second) == (1, 2) and stage.worker.busy() == {("a", "1"), ("b", "1")}
    stage.go.release(6)
    eventually(lambda: second.state == "done")
    assert (first.record, second.record) == ("result of first", "result of second")
    assert first.notes == ["said once"] and stage.closed == ["first", "second"]


def test_stop_closes_the_work_and_lets_the_next_begin(stage) -> None:
    first, second = stage.submit("a", "1", "first"), stage.submit("a", "2", "second")
    eventually(lambda: first.state == "working")
    stage.worker.stop(first)
    stage.go.release(1)
    eventually(lambda: first.state == "stopped")
    assert stage.closed == ["first"] and first.done == 1
    eventually(lambda: second.state == "working")
    stage.go.release(3)
    eventually(lambda: second.state == "done")


def test_stop_takes_a_waiting_job_out_of_the_queue(stage) -> None:
    first, second = stage.submit("a", "1", "first"), stage.submit("a", "2", "second")
    stage.worker.stop(second)
    assert second.state == "stopped" and second in stage.ended
    stage.go.release(3)
    eventually(lambda: first.state == "done")
    assert stage.started == ["first"]


def test_submit_refuses_a_second_job_of_a_run_and_too_many_of_one_browser(stage) -> None:
    for run in "123":
        stage.submit("a", run, "first")
    with pytest.raises(RunError, match="being worked on"):
        stage.submit("a", "1", "second")
    with pytest.raises(RunError, match="already wait"):
        stage.submit("a", "4", "second")
    stage.submit("b", "1", "second")
    stage.go.release(100)


@pytest.mark.parametrize(("task", "words"), [("wrong", "clip.mp4: it is empty"), ("broken", "something went wrong")])
def test_worker_survives_what_fails_and_says_it_in_words(stage, task, words, caplog) -> None:
    job, next_one = stage.submit("a", "1", task), stage.submit("a", "2", "first")
    stage.go.release(3)
    eventually(lambda: next_one.state == "done")
    assert job.state == "failed" and words in job.error and "Traceback" not in job.error
    assert ("ZeroDivisionError" in caplog.text) == (task == "broken")


def test_worker_goes_on_in_the_next_slice(stage) -> None:
    job = stage.submit("a", "1", "long")
    stage.go.release(100)
    eventually(lambda: job.state == "done")
    assert stage.started == ["long"] * 3 and stage.closed == ["long"] * 3


def test_job_is_found_by_its_owner_alone(stage) -> None:
    job = stage.submit("a", "1", "first")
    assert stage.worker.of("a", "1") is job and stage.worker.of("b", "1") is None
    stage.go.release(3)


def test_left_s_adds_later_stages_to_the_pace_of_this_one() -> None:
    job = Job("a", "1", "render", None, {"track": 1.0, "tune": 9.0, "merge": 5.0}, state="working")
    assert job.left_s() is None
    job.hear(Progress("tune", 10, 100), now=100.0)
    job.hear(Progress("tune", 30, 100), now=110.0)
    assert job.rate == pytest.approx(2.0) and job.left_s() == pytest.approx(35.0 + 5.0)


@pytest.mark.parametrize("broken", ["ended", "freed"])
def test_worker_survives_what_fails_after_a_job(broken, caplog) -> None:
    def fail(*_) -> None:
        raise ZeroDivisionError

    def task(name):
        yield Done(name)

    worker = Worker(task, fail if broken == "ended" else lambda *_: None, fail if broken == "freed" else lambda: None)
    for run in "12":
        job = Job("a", run, "render", run)
        worker.submit(job)
        eventually(lambda job=job: not job.active)
        assert job.state == ("failed" if broken == "ended" else "done")
    assert "ZeroDivisionError" in caplog.text


def test_worker_survives_a_task_that_exits(caplog) -> None:
    def task(name):
        raise SystemExit
        yield

    worker = Worker(task, lambda *_: None)
    for run in "12":
        job = Job("a", run, "render", run)
        worker.submit(job)
        eventually(lambda job=job: not job.active)
        assert job.state == "failed" and "something went wrong" in job.error
    assert "Traceback" in caplog.text


def test_hear_keeps_what_every_stage_took() -> None:
    job = Job("a", "1", "render", None)
    for stage, done, now in (("align", 0, 1.0), ("align", 4, 3.0), ("tune", 0, 3.5), ("tune", 9, 13.5)):
        job.hear(Progress(stage, done, 10), now)
    assert job.took == {"align": 2.0, "tune": 10.0}


def test_survey_of_a_run_stands_beside_its_render(stage) -> None:
    first = stage.submit("a", "1", "first")
    survey = Job("a", "1", "survey", "second")
    stage.worker.submit(survey)
    assert stage.worker.of("a", "1") is first and stage.worker.of("a", "1", "survey") is survey
    stage.go.release(6)
    eventually(lambda: survey.state == "done")
