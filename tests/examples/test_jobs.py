import pytest
from botocore.exceptions import ClientError

import jobs
import scoring
from jobs import JobFailed
from training import read_round


@pytest.mark.parametrize("tab", ["\t", "#011"])
def test_a_round_in_the_log_gives_its_number_and_metrics(tab: str) -> None:
    found = read_round(f"[41]{tab}train-error:0.1025{tab}train-logloss:0.31{tab}validation-error:1.5e-01")
    assert found is not None
    assert found.number == 41
    assert found.metrics == {"train-error": 0.1025, "train-logloss": 0.31, "validation-error": 0.15}


@pytest.mark.parametrize(
    "line",
    ["", "Training job started", "[2026-11-22:10:00:00:INFO] Determined delimiter", "[12] nothing measured"],
)
def test_other_lines_of_the_log_are_no_rounds(line: str) -> None:
    assert read_round(line) is None


def test_accuracy_counts_verdicts_on_the_right_side_of_one_half() -> None:
    score = scoring.compare([0.9, 0.5, 0.2, 0.51], [True, True, False, False])
    assert (score.right, score.of, score.accuracy) == (3, 4, 0.75)


def test_a_missing_score_is_an_error_not_a_wrong_accuracy() -> None:
    with pytest.raises(JobFailed, match="2 reviews were sent to be scored, 1 scores came back"):
        scoring.compare([0.9], [True, False])


def test_a_job_is_used_again_when_under_way_or_complete_with_its_output() -> None:
    statuses = {"a": "Failed", "a-2": "Completed", "a-3": "Stopped", "a-4": "InProgress"}
    assert jobs.find("a", statuses.__getitem__, lambda job: job == "a-2") == ("a-2", True)
    assert jobs.find("a", statuses.__getitem__, lambda job: False) == ("a-4", True)


def test_names_of_jobs_that_ended_badly_are_not_used_again() -> None:
    def status_of(job: str) -> str:
        if job == "a":
            return "Failed"
        details = {
            "Error": {"Code": "ValidationException", "Message": f"Requested resource not found: {job}"}
        }
        raise ClientError(details, "DescribeTrainingJob")  # pyright: ignore[reportArgumentType]

    assert jobs.find("a", status_of, lambda job: True) == ("a-2", False)
