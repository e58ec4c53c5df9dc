"""The plan of jobs as properties: nothing is started twice, nothing beyond the cores, everything ends."""

from hypothesis import given
from hypothesis import strategies as st

from stagedoor.reconcile.jobs.plan import Job, Run, View, plan
from stagedoor.store.records import Key

keys = st.builds(Key, st.just("k"), st.just("a"), st.just("r"), st.sampled_from("abcdefgh"))
limits = st.one_of(st.none(), st.floats(1, 50, allow_nan=False))
jobs = st.builds(Job, keys, st.booleans(), st.floats(0, 100), limits, st.integers(1, 3), limits)
causes = st.sampled_from([None, "Stopped", "MaxRuntimeExceeded", "MaxWaitTimeExceeded"])
runs = st.dictionaries(keys, st.builds(Run, st.floats(0, 100), causes), max_size=4)
views = st.builds(
    View,
    st.lists(jobs, unique_by=lambda job: job.key, max_size=8),
    runs,
    st.integers(-1, 6),
    st.floats(0, 150),
    st.none() | st.floats(0, 100),
)


def waits_too_long(job: Job, now: float) -> bool:
    return job.max_wait_s is not None and job.created_at + job.max_wait_s - now <= 0


@given(views)
def test_what_is_started_had_no_run_and_its_cores(view: View) -> None:
    found = plan(view)
    jobs = {job.key: job for job in view.jobs}
    assert sum(jobs[key].cores for key in found.start) <= max(0, view.free_cores)
    for key in found.start:
        assert key not in view.runs
        assert not jobs[key].stopping
    assert len(set(found.start)) == len(found.start)


@given(views)
def test_nobody_is_overtaken(view: View) -> None:
    found = plan(view)
    idle = sorted(
        (
            job
            for job in view.jobs
            if job.key not in view.runs and not job.stopping and not waits_too_long(job, view.now)
        ),
        key=lambda job: (job.created_at, job.key),
    )
    assert list(found.start) == [job.key for job in idle[: len(found.start)]]
    left = idle[len(found.start) :]
    assert found.waiting_since == (left[0].created_at if left else None)
    if left:
        free = view.free_cores - sum(job.cores for job in idle[: len(found.start)])
        others = view.others_wait_since
        assert left[0].cores > free or (others is not None and others < left[0].created_at)


@given(views)
def test_waiting_has_an_end(view: View) -> None:
    idle = [job for job in view.jobs if job.key not in view.runs and not job.stopping]
    assert set(plan(view).give_up) == {job.key for job in idle if waits_too_long(job, view.now)}


@given(views)
def test_runs_are_told_to_end_once_and_for_a_reason(view: View) -> None:
    jobs = {job.key: job for job in view.jobs}
    stops = dict(plan(view).stop)
    for key, run in view.runs.items():
        job = jobs.get(key)
        over = job is not None and job.max_runtime_s is not None and run.elapsed_s >= job.max_runtime_s
        asked = job is None or job.stopping
        if run.stop_cause is not None:
            assert key not in stops
        elif asked:
            assert stops[key] == "Stopped"
        elif over:
            assert stops[key] == "MaxRuntimeExceeded"
        elif job is not None and waits_too_long(job, view.now):
            assert stops[key] == "MaxWaitTimeExceeded"
        else:
            assert key not in stops


@given(views)
def test_jobs_stopped_before_they_ran_end_at_once(view: View) -> None:
    assert set(plan(view).end) == {job.key for job in view.jobs if job.stopping and job.key not in view.runs}


@given(views)
def test_it_looks_again_when_the_next_limit_is_reached(view: View) -> None:
    found = plan(view)
    if found.due_s is not None:
        assert found.due_s > 0
        later = View(
            view.jobs,
            {
                key: Run(run.elapsed_s + found.due_s * 1.0001, run.stop_cause)
                for key, run in view.runs.items()
            },
            view.free_cores,
            view.now + found.due_s * 1.0001,
            view.others_wait_since,
        )
        then = plan(later)
        assert len(then.stop) + len(then.give_up) > len(found.stop) + len(found.give_up)


@given(st.lists(jobs, unique_by=lambda job: job.key, max_size=8), st.integers(3, 5))
def test_carrying_plans_out_brings_every_job_to_its_end(waiting: list[Job], cores: int) -> None:
    left, running = list(waiting), dict[Key, Run]()
    needs = {job.key: job.cores for job in waiting}
    for _ in range(100):
        found = plan(View(left, running, cores - sum(needs[key] for key in running)))
        ended = {key for key, _ in found.stop} | set(found.end) | set(found.give_up)
        running.update({key: Run(0) for key in found.start})
        assert sum(needs[key] for key in running) <= cores
        ended |= set(list(running)[:1])  # one of them ends by itself
        left = [job for job in left if job.key not in ended]
        for key in ended:
            running.pop(key, None)
        if not left:
            return
    raise AssertionError(f"jobs never ended: {left}")
