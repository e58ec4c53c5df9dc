import pytest

import scoring
from training import JobFailed, read_round


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
