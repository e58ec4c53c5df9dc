"""Random cut trees as arrays, and the anomaly scores of rows that are not in them.

Place in the flow: ``random_cut_forest_training`` grows and saves a forest, ``random_cut_forest_serving`` asks it.

A tree divides its sample by random cuts: the feature in proportion to its extent in the bounding box, the place uniform, until
each leaf holds equal rows (Guha, Mishra, Roy, Schrijvers: Robust random cut forest based anomaly detection on streams, 2016).
A row's score is what inserting it would give on average over all cuts that could set it apart: at a node whose box the row
leaves, the chance of being cut off right there, times a value that falls with the depth. So nothing is inserted and nothing
drawn, and the same row always gets the same score. Scores are scaled by the logarithm of the sample's size and averaged over
the trees: about 1 and less is ordinary, more is not.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAF = -1
_CELLS_AT_ONCE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RandomCutForest:
    """Trees side by side; node 0 is the root. The shape is (trees, nodes), boxes also have the features.

    ``feature`` is -1 for leaves; ``mass`` is how many rows of the sample are below. Rows with a value up to ``cut`` go left.
    """

    feature: "NDArray[np.int32]"
    cut: "NDArray[np.float32]"
    left: "NDArray[np.int32]"
    right: "NDArray[np.int32]"
    mass: "NDArray[np.int32]"
    low: "NDArray[np.float32]"
    high: "NDArray[np.float32]"

    @property
    def features(self) -> int:
        return self.low.shape[2]

    def scores(self, rows: "NDArray[np.float32]") -> "NDArray[np.float64]":
        """The anomaly score of each row."""
        trees = self.feature.shape[0]
        step = max(1, _CELLS_AT_ONCE // (trees * self.features))
        found = np.empty(len(rows))
        for first in range(0, len(rows), step):
            found[first : first + step] = self._scores(rows[first : first + step])
        return found

    def _scores(self, rows: "NDArray[np.float32]") -> "NDArray[np.float64]":
        trees, count = int(self.feature.shape[0]), len(rows)
        pairs = trees * count
        # One walk for each pair of a tree and a row; those that have ended are dropped.
        tree: NDArray[Any] = np.repeat(np.arange(trees), count)
        row: NDArray[Any] = np.tile(np.arange(count), trees)
        node: NDArray[Any] = np.zeros(pairs, dtype=np.intp)
        together: NDArray[Any] = np.ones(pairs)  # the chance that the row has not been cut off above
        score = np.zeros(pairs)
        walk: NDArray[Any] = np.arange(pairs)
        depth = 0
        while len(walk):
            value = rows[row]
            low, high = self.low[tree, node], self.high[tree, node]
            # In double precision: far outliers must not swallow the box's own extent.
            beyond = (np.maximum(low - value, 0) + np.maximum(value - high, 0)).sum(axis=1, dtype=np.float64)
            extent = (high - low).sum(axis=1, dtype=np.float64)
            apart = np.divide(beyond, beyond + extent, out=np.zeros(len(walk)), where=beyond > 0)
            score[walk] += together * apart / (depth + 1)
            together = together * (1 - apart)
            feature = self.feature[tree, node]
            leaf = feature == _LEAF
            # Where it ends, the row equals the leaf's: it is seen as one of them.
            ended = walk[leaf]
            score[ended] += together[leaf] / (depth + np.log2(1.0 + self.mass[tree, node][leaf]))
            inner: NDArray[np.bool_] = ~leaf & (together > 0)
            tree, row, walk, node = tree[inner], row[inner], walk[inner], node[inner]
            together = together[inner]
            goes_left = rows[row, feature[inner]] <= self.cut[tree, node]
            node = np.where(goes_left, self.left[tree, node], self.right[tree, node])
            depth += 1
        scale = np.log2(1.0 + self.mass[:, 0])[:, None]
        return (score.reshape(trees, count) * scale).mean(axis=0)

    def arrays(self) -> "dict[str, NDArray[Any]]":
        """What is stored. Boxes follow from cuts and leaves, but are as large as the sample, twice."""
        return {name: getattr(self, name) for name in ARRAYS}


ARRAYS = ("feature", "cut", "left", "right", "mass", "low", "high")


def grow(samples: "list[NDArray[np.float32]]", random: np.random.Generator) -> RandomCutForest:
    """A forest with one tree for each sample."""
    shape = (len(samples), max(2 * len(sample) - 1 for sample in samples))
    columns = samples[0].shape[1]
    forest = RandomCutForest(
        feature=np.full(shape, _LEAF, dtype=np.int32),
        cut=np.zeros(shape, dtype=np.float32),
        left=np.zeros(shape, dtype=np.int32),
        right=np.zeros(shape, dtype=np.int32),
        mass=np.zeros(shape, dtype=np.int32),
        low=np.zeros((*shape, columns), dtype=np.float32),
        high=np.zeros((*shape, columns), dtype=np.float32),
    )
    for tree, sample in enumerate(samples):
        _grow_tree(forest, tree, sample, random)
    return forest


def _grow_tree(
    forest: RandomCutForest, tree: int, sample: "NDArray[np.float32]", random: np.random.Generator
) -> None:
    waiting: list[tuple[int, NDArray[np.intp]]] = [(0, np.arange(len(sample)))]
    used = 1
    while waiting:
        node, members = waiting.pop()
        points = sample[members]
        low: NDArray[np.float32] = points.min(axis=0)
        high: NDArray[np.float32] = points.max(axis=0)
        forest.low[tree, node], forest.high[tree, node] = low, high
        forest.mass[tree, node] = len(members)
        extents = np.cumsum(high.astype(np.float64) - low)
        if extents[-1] <= 0:
            continue  # one row, or several equal ones
        place = random.random() * float(extents[-1])
        feature = int(np.searchsorted(extents, place, side="right"))
        feature = min(feature, len(extents) - 1)
        before = extents[feature - 1] if feature else 0.0
        cut = np.float32(float(low[feature]) + place - float(before))
        if not low[feature] <= cut < high[feature]:
            cut = low[feature]  # rounding; with an extent above zero this still divides
        left = points[:, feature] <= cut
        forest.feature[tree, node], forest.cut[tree, node] = feature, cut
        forest.left[tree, node], forest.right[tree, node] = used, used + 1
        waiting += [(used, members[left]), (used + 1, members[~left])]
        used += 2
