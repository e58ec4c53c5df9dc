"""A gradient-boosted tree ensemble as numpy arrays: the answer for a few rows without the booster's fixed cost per call.

Place in the flow: ``xgboost_serving`` builds one from the loaded booster, checks it against the booster, and asks it for
the margins of small batches. All trees of all rows take one step down together; the leaves are added one after another
in float32, in the booster's own order, so that the sums are the booster's to the last bit.

What numpy calls cost is their number, not the few hundred values in each. So for a few rows all splits of the trees' top
levels are decided in one comparison, whether or not a row comes by; the answers of a tree are the bits of a number, and a table tells
where such a number leads. Only the rest is walked step by step.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NODES_AT_MOST = 4_000_000
_DEPTH_AT_MOST = 64
_TOP_LEVELS = 4
_TOP_NODES = 1 << _TOP_LEVELS  # one more than there are: the bits of two bytes
_TOP_ROWS_AT_MOST = 16


class UnsupportedTreesError(ValueError):
    """The booster does something that these arrays cannot; let the booster answer."""


class TreeEnsemble:
    """Numeric splits with default directions, one output per tree, trees of equal weight.

    Nodes are numbered so that the right child follows the left one; a leaf is its own left child and no comparison ever
    leads away from it.
    """

    _feature: "NDArray[np.intp]"
    _threshold: "NDArray[np.float32]"
    _left: "NDArray[np.intp]"
    _default_right: "NDArray[np.bool_]"
    _value: "NDArray[np.float32]"
    _roots: "NDArray[np.intp]"

    def __init__(self, trees: Sequence[Mapping[str, Any]], groups: Sequence[int]) -> None:
        """``trees`` as XGBoost's JSON model has them, ``groups`` the output (class) that each belongs to."""
        total = sum(len(tree["left_children"]) for tree in trees)
        if not trees or total > _NODES_AT_MOST:
            raise UnsupportedTreesError(f"{len(trees)} trees with {total} nodes")
        self._feature = np.zeros(total, dtype=np.intp)
        self._threshold = np.full(total, np.nan, dtype=np.float32)
        self._left = np.arange(total, dtype=np.intp)
        self._default_right = np.zeros(total, dtype=bool)
        self._value = np.zeros(total, dtype=np.float32)
        roots: list[int] = []
        offset = self._steps = 0
        for tree in trees:
            roots.append(offset)
            self._steps = max(self._steps, self._lay_out(tree, offset))
            offset += len(tree["left_children"])
        self._roots = np.array(roots, dtype=np.intp)
        self._groups = max(groups) + 1
        of_group = np.array(groups)
        self._group_trees = [np.nonzero(of_group == group)[0] for group in range(self._groups)]
        self._top = _Top(self._roots, self._left, min(_TOP_LEVELS, self._steps))
        self._top_feature = self._feature[self._top.nodes]
        self._top_threshold = self._threshold[self._top.nodes]
        self._top_threshold[~self._top.is_node] = np.nan
        self._top_default_right = self._default_right[self._top.nodes] & self._top.is_node

    def _lay_out(self, tree: Mapping[str, Any], offset: int) -> int:
        left, right = tree["left_children"], tree["right_children"]
        if any(tree.get("split_type", ())) or int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
            raise UnsupportedTreesError("categorical splits or vector leaves")
        depth, free, level = 0, offset + 1, [(0, offset)]
        while level:
            below: list[tuple[int, int]] = []
            for node, place in level:
                condition = tree["split_conditions"][node]
                if left[node] == -1:
                    self._value[place] = condition
                    continue
                self._feature[place] = tree["split_indices"][node]
                self._threshold[place] = condition
                self._default_right[place] = not tree["default_left"][node]
                self._left[place] = free
                below += [(left[node], free), (right[node], free + 1)]
                free += 2
            depth += bool(below)
            if depth > _DEPTH_AT_MOST:
                raise UnsupportedTreesError(f"trees deeper than {_DEPTH_AT_MOST}")
            level = below
        return depth

    def margins(self, matrix: "NDArray[np.float32]", base: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Sums of leaves on top of ``base`` (one per output): shape (rows, outputs)."""
        rows, width = matrix.shape
        cells = matrix.reshape(-1)
        missing = bool(np.isnan(cells.min()))  # NaN when any of them is, without an array of answers
        row_start = (np.arange(rows, dtype=np.intp) * width)[:, None] if rows > 1 else None
        if rows <= _TOP_ROWS_AT_MOST:
            node = self._below_top(matrix, missing)
            steps = self._steps - self._top.levels
        else:
            node = np.broadcast_to(self._roots, (rows, len(self._roots)))
            steps = self._steps
        for _ in range(steps):
            cell: NDArray[np.intp] = self._feature.take(node)
            if row_start is not None:
                cell = np.add(cell, row_start)
            value: NDArray[np.float32] = cells.take(cell)
            goes_right: NDArray[np.bool_] = np.greater_equal(value, self._threshold.take(node))
            if missing:
                # A leaf has no default direction to the right, so nothing moves away from it.
                goes_right |= np.logical_and(np.isnan(value), self._default_right.take(node))
            node = np.add(self._left.take(node), goes_right)
        leaves = self._value.take(node)
        if self._groups == 1:
            return _sums(leaves, base[0])
        sums = [_sums(leaves[:, trees], base[group]) for group, trees in enumerate(self._group_trees)]
        return np.concatenate(sums, axis=1)

    def _below_top(self, matrix: "NDArray[np.float32]", missing: bool) -> "NDArray[np.intp]":
        """Where each row is in each tree below the top levels: shape (rows, trees)."""
        # Every index is within: "wrap" has nothing to do, and spares a look at each.
        value: NDArray[np.float32] = matrix.take(self._top_feature, axis=1, mode="wrap")
        goes_right: NDArray[np.bool_] = np.greater_equal(value, self._top_threshold)
        if missing:
            goes_right |= np.logical_and(np.isnan(value), self._top_default_right)
        return self._top.below(goes_right)


def _sums(terms: "NDArray[np.float32]", base: np.float32) -> "NDArray[np.float32]":
    """Of each row, on top of ``base``: shape (rows, 1). Added from left to right (sum would add in pairs): the booster's order and rounding."""
    terms[:, 0] += base
    return np.add.accumulate(terms, axis=1)[:, -1:]


class _Top:
    """The first ``levels`` of all trees as complete binary trees; below a leaf stands the leaf again.

    ``nodes`` has 16 places for each tree, level by level, ``is_node`` says which of them are used. In a level the way leads from
    place p to 2p (left) or 2p + 1 of the next.
    """

    def __init__(self, roots: "NDArray[np.intp]", left: "NDArray[np.intp]", levels: int) -> None:
        self.levels = levels
        trees = len(roots)
        nodes = np.zeros((trees, _TOP_NODES), dtype=np.intp)
        at = roots[:, None]
        for level in range(levels):
            nodes[:, (1 << level) - 1 : (2 << level) - 1] = at
            at = np.stack([left[at], left[at] + (left[at] != at)], axis=2).reshape(trees, -1)
        self.nodes = nodes.reshape(-1)
        self.is_node = np.tile(np.arange(_TOP_NODES) < (1 << levels) - 1, trees)
        self._ways = _ways(levels)
        self._first = np.arange(trees, dtype=np.intp) << levels
        self._below = at.reshape(-1)

    def below(self, goes_right: "NDArray[np.bool_]") -> "NDArray[np.intp]":
        """The node of each tree where each row is after these levels; ``goes_right`` for each of ``nodes``."""
        answers = np.packbits(goes_right).view("<u2")
        place = np.add(self._ways.take(answers).reshape(-1, len(self._first)), self._first)
        return self._below.take(place)


@cache
def _ways(levels: int) -> "NDArray[np.uint8]":
    """Where each number leads whose bits are the answers of a tree's top nodes, as ``packbits`` packs them."""
    numbers = np.arange(1 << _TOP_NODES, dtype="<u2").view(np.uint8).reshape(-1, 2)
    answers = np.unpackbits(numbers, axis=1)
    place = np.zeros(len(answers), dtype=np.intp)
    for level in range(levels):
        place = 2 * place + answers[np.arange(len(answers)), (1 << level) - 1 + place]
    return place.astype(np.uint8)
