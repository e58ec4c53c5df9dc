from hypothesis import given
from hypothesis import strategies as st

import words

VOCABULARY = ["film", "good", "don't", "bad"]
COLUMNS = words.column_of(VOCABULARY)


def test_markup_and_entities_are_not_words() -> None:
    assert words.tokenise("Great fun!<br /><br />Tom &amp; Jerry<i>rule</i>") == [
        "great",
        "fun",
        "tom",
        "jerry",
        "rule",
    ]


def test_a_lone_less_than_sign_is_not_the_start_of_markup() -> None:
    assert words.tokenise("budget < 5 and talent > 3") == ["budget", "talent"]


def test_negations_stay_and_curly_apostrophes_are_straightened() -> None:
    assert words.tokenise("I don\u2019t think it's not GOOD") == ["don't", "think", "not", "good"]


def test_the_vocabulary_counts_reviews_not_occurrences_and_breaks_ties_alphabetically() -> None:
    tokenised = [["zoo", "zoo", "zoo"], ["film", "bad"], ["film", "art"]]
    assert words.learn_vocabulary(tokenised, size=3) == ["film", "art", "bad"]


def test_words_outside_the_vocabulary_are_left_out_of_the_bag() -> None:
    assert words.bag_of_words(["film", "good", "film", "unheard"], COLUMNS) == {0: 2, 1: 1}


def test_the_csv_row_has_a_count_for_every_word_of_the_vocabulary() -> None:
    assert words.as_csv_row({0: 2, 3: 1}, size=len(VOCABULARY)) == "2,0,0,1"


def test_the_libsvm_row_has_the_label_and_only_words_that_occur_in_column_order() -> None:
    assert words.as_libsvm_row({3: 1, 0: 2}, label=1) == "1 0:2 3:1"
    assert words.as_libsvm_row({}) == "0"


@given(st.text())
def test_any_text_gives_clean_words(text: str) -> None:
    for word in words.tokenise(text):
        assert word
        assert word not in words.STOP_WORDS
        assert set(word) <= set("abcdefghijklmnopqrstuvwxyz'")


@given(st.lists(st.sampled_from(VOCABULARY)))
def test_the_bag_counts_every_known_word(known: list[str]) -> None:
    bag = words.bag_of_words(known, COLUMNS)
    assert sum(bag.values()) == len(known)
    assert words.as_csv_row(bag, len(VOCABULARY)).split(",") == [
        str(known.count(word)) for word in VOCABULARY
    ]
