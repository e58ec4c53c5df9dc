from rich.console import Console

import bags
import words
from reviews import Division, Review
from steps import Steps

DIVISION = Division(
    train=[Review("good good film", True), Review("bad film", False)],
    validation=[Review("good acting", True)],
    held_out=[Review("bad bad plot", False), Review("film", True)],
)


def make() -> bags.Bags:
    with Steps(Console(quiet=True)).step("counting") as step:
        return bags.make(DIVISION, step)


def test_the_vocabulary_comes_from_the_training_part_alone() -> None:
    assert make().vocabulary == ["film", "bad", "good"]


def test_training_rows_carry_the_verdict_and_held_out_rows_do_not() -> None:
    made = make()
    assert made.train == b"1 0:1 2:2\n0 0:1 1:1\n"
    assert made.validation == b"1 2:1\n"
    assert made.held_out == b"0 1:2\n0 0:1\n"
    assert made.held_out_verdicts == [False, True]


def test_every_column_of_the_vocabulary_occurs_in_training() -> None:
    made = make()
    seen = {int(cell.split(":")[0]) for row in made.train.decode().splitlines() for cell in row.split()[1:]}
    assert seen == set(words.column_of(made.vocabulary).values())


def test_the_digest_depends_on_the_data_and_on_nothing_else() -> None:
    assert make().digest() == make().digest()
    other = bags.Bags(["film"], b"", b"", b"", [])
    assert other.digest() != make().digest()
