from pathlib import Path

import pytest

import reviews
from reviews import Review


def made_up(count: int) -> list[Review]:
    return [Review(f"review number {n}", positive=n % 2 == 0) for n in range(count)]


def test_the_package_holds_25000_imdb_reviews_half_of_them_positive() -> None:
    found = reviews.load(25_000)
    assert len(found) == 25_000
    assert sum(review.positive for review in found) == 12_500


def test_the_division_is_20000_to_5000_with_as_many_good_as_bad_in_each_part() -> None:
    division = reviews.divide(made_up(25_000))
    parts = (division.train, division.validation, division.held_out)
    assert [len(part) for part in parts] == [17_000, 3_000, 5_000]
    assert [sum(review.positive for review in part) for part in parts] == [8_500, 1_500, 2_500]
    texts = [{review.text for review in part} for part in parts]
    assert not texts[0] & texts[1]
    assert not texts[0] & texts[2]
    assert not texts[1] & texts[2]


def test_loading_and_dividing_twice_gives_the_same() -> None:
    assert reviews.divide(reviews.load(500)) == reviews.divide(reviews.load(500))


def test_an_unpacked_acl_imdb_folder_is_read_whatever_the_order_of_its_files(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for verdict in ("pos", "neg"):
            folder = tmp_path / part / verdict
            folder.mkdir(parents=True)
            for n in range(30):
                (folder / f"{n}_7.txt").write_text(f"{part} {verdict} {n} café", encoding="utf-8")
    found = reviews.load(100, tmp_path)
    assert len(found) == 100
    assert all(("pos" in review.text) is review.positive for review in found)
    assert all("café" in review.text for review in found)


def test_a_folder_without_reviews_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(reviews.ReviewsMissing, match=f"{tmp_path.name} is not an unpacked aclImdb"):
        reviews.load(100, tmp_path)


def test_more_reviews_than_there_are_is_refused_with_the_numbers() -> None:
    with pytest.raises(reviews.ReviewsMissing, match="asked for 50,000 reviews, found 12,500 positive"):
        reviews.load(50_000)
