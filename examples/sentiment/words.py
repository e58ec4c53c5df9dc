"""From a review's text to a bag of words. Used twice: to make the training data, and inside the function.

Plain Python without packages, so that the function's archive is three small files.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Sequence

VOCABULARY_SIZE = 5_000

_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u00b4": "'", "`": "'"})

# Words that hold a sentence together and say nothing about a film. Those that turn a sentence round (not, no, but,
# never, without, could have been …) are left in.
STOP_WORDS = frozenset(
    """
    a about after again all also am an and any are as at be because been before being between both by can did do does
    doing down during each for from further had has have having he her here hers herself him himself his how i i'd i'll
    i'm i've if in into is it it's its itself me more most my myself of off on once one or other our ours ourselves out
    over own s same she so some such t than that that's the their theirs them themselves then there there's these they
    they're this those through to under until up very was we we're were what when where which while who whom why will
    with you you're your yours yourself
    """.split()
)


def clean(text: str) -> str:
    """The text without markup: tags become spaces, entities become characters."""
    return html.unescape(_TAG.sub(" ", text))


def tokenise(text: str) -> list[str]:
    """The words of a text in order, in lower case, without stop words."""
    words = _WORD.findall(clean(text).lower().translate(_APOSTROPHES))
    return [word for word in words if word not in STOP_WORDS]


def learn_vocabulary(texts: Iterable[Sequence[str]], size: int = VOCABULARY_SIZE) -> list[str]:
    """The ``size`` words that occur in most of the tokenised texts, the commonest first; ties in alphabetical order."""
    seen_in: Counter[str] = Counter()
    for words in texts:
        seen_in.update(set(words))
    ordered = sorted(seen_in.items(), key=lambda entry: (-entry[1], entry[0]))
    return [word for word, _ in ordered[:size]]


def column_of(vocabulary: Sequence[str]) -> dict[str, int]:
    """Which column of the bag counts a word."""
    return {word: column for column, word in enumerate(vocabulary)}


def bag_of_words(words: Iterable[str], columns: dict[str, int]) -> dict[int, int]:
    """How often each known word occurs: column -> count, words outside the vocabulary left out."""
    counts: dict[int, int] = {}
    for word in words:
        column = columns.get(word)
        if column is not None:
            counts[column] = counts.get(column, 0) + 1
    return counts


def as_csv_row(bag: dict[int, int], size: int) -> str:
    """The bag as one ``text/csv`` row: ``size`` counts, most of them 0."""
    row = ["0"] * size
    for column, count in bag.items():
        row[column] = str(count)
    return ",".join(row)


def as_libsvm_row(bag: dict[int, int], label: int = 0) -> str:
    """The bag as one ``text/libsvm`` row: the label, then ``column:count`` of the words that occur."""
    return " ".join([str(label), *(f"{column}:{bag[column]}" for column in sorted(bag))])
