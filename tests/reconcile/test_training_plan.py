"""The plan of jobs as properties: nothing is started twice, nothing beyond the slots, everything ends."""

from hypothesis import given
from hypothesis import strategies as st

from stagedoor.reconcile.jobs.plan import Job, Run, View, plan
from stagedoor.store.records import Key

keys = st.builds(Key, st.just("k"), st.just("a"), st.just("r"), st.sampled_from("abcdefgh"))
jobs = st.builds(
    Job, keys, st.booleans(), st.floats(0, 100), st.one_of(st.none(), st.floats(1, 50, allow_nan=False))
)
runs = st.dictionaries(
    keys,
    st.builds(Run, st.floats(0, 100), st.sampled_from([None, "Stopped", "MaxRuntimeExceeded"])),
    max_size=4,
)
views = st.builds(View, st.lists(jobs, unique_by=lambda job: job.key, max_size=8), runs, st.integers(-1, 4))


@given(views)
def test_what_is_started_had_no_run_and_a_slot(view: View) -> None:
    found = plan(view)
    jobs = {job.key: job for job in view.jobs}
    assert len(found.start) <= max(0, view.free_slots)
    for key in found.start:
        assert key not in view.runs
        assert not jobs[key].stopping
    assert len(set(found.start)) == len(found.start)


@given(views)
def test_slots_are_used_oldest_first(view: View) -> None:
    found = plan(view)
    idle = [job for job in view.jobs if job.key not in view.runs and not job.stopping]
    expected = sorted(idle, key=lambda job: (job.created_at, job.key))[: max(0, view.free_slots)]
    assert list(found.start) == [job.key for job in expected]
    assert found.waiting == (len(found.start) < len(idle))


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
            view.free_slots,
        )
        assert len(plan(later).stop) > len(found.stop)


@given(st.lists(jobs, unique_by=lambda job: job.key, max_size=8), st.integers(1, 3))
def test_carrying_plans_out_brings_every_job_to_its_end(waiting: list[Job], slots: int) -> None:
    left, running = list(waiting), dict[Key, Run]()
    for _ in range(100):
        found = plan(View(left, running, slots - len(running)))
        ended = {key for key, _ in found.stop} | set(found.end)
        running.update({key: Run(0) for key in found.start})
        ended |= set(list(running)[:1])  # one of them ends by itself
        assert len(running) <= slots
        left = [job for job in left if job.key not in ended]
        for key in ended:
            running.pop(key, None)
        if not left:
            return
    raise AssertionError(f"jobs never ended: {left}")
