"""Agreement and intervals against published examples and numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jaxreco.annotate.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha, wilson

# Joint diagnoses of 200 patients by two psychiatrists (personality disorder, neurosis, psychosis): the example of Cohen
# 1968, "Weighted kappa" (Psychological Bulletin 70), who reports .492 without weights.
TWO_PSYCHIATRISTS = [[88, 14, 18], [10, 40, 10], [2, 6, 12]]
# Diagnoses of 30 patients by six psychiatrists each (depression, personality disorder, schizophrenia, neurosis, other):
# Fleiss 1971, table 1, who reports .430; the R package irr prints 0.4302445.
SIX_PSYCHIATRISTS = """
0 0 0 6 0  0 3 0 0 3  0 1 4 0 1  0 0 0 0 6  0 3 0 3 0  2 0 4 0 0  0 0 4 0 2  2 0 3 1 0  2 0 0 4 0  0 0 0 0 6
1 0 0 5 0  1 1 0 4 0  0 3 3 0 0  1 0 0 5 0  0 2 0 3 1  0 0 5 0 1  3 0 0 1 2  5 1 0 0 0  0 2 0 4 0  1 0 2 0 3
0 0 0 0 6  0 1 0 5 0  0 2 0 1 3  2 0 0 4 0  1 0 0 4 1  0 5 0 1 0  4 0 0 0 2  0 2 0 4 0  1 0 5 0 0  0 0 0 0 6
"""
# Fourteen raters put ten subjects into five classes: the worked example of many textbooks, 0.210.
FOURTEEN_RATERS = """
0 0 0 0 14  0 2 6 4 2  0 0 3 5 6  0 3 9 2 0  2 2 8 1 1  7 7 0 0 0  3 2 6 3 0  2 5 3 2 2  6 5 2 1 0  0 2 2 3 7
"""
# Four observers, twelve units, a dot is missing: Krippendorff 2011, section C, who reports 0.743.
FOUR_OBSERVERS = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")


def rows(text: str, labels: int) -> np.ndarray:
    return np.array(text.split(), int).reshape(-1, labels)


def count(observers: tuple[str, ...]) -> np.ndarray:
    """i[units, labels] of strings, one an observer, a digit a unit."""
    labels = sorted(set("".join(observers)) - {"."})
    return np.array([[[seen[u] for seen in observers].count(x) for x in labels] for u in range(len(observers[0]))])


def test_cohen_by_hand():
    # Of 50, both say y 20 times, both n 15 times: seen 0.7, by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5.
    assert cohen_kappa("y" * 25 + "n" * 25, "y" * 20 + "n" * 5 + "y" * 10 + "n" * 15) == pytest.approx(0.4)


def test_cohen_as_published():
    judged = [(i, j) for i in range(3) for j in range(3) for _ in range(TWO_PSYCHIATRISTS[i][j])]
    first, second = zip(*judged, strict=True)
    assert len(first) == 200
    assert cohen_kappa(first, second) == pytest.approx(0.492, abs=5e-4)


def test_cohen_at_its_ends():
    assert cohen_kappa("abcab", "abcab") == 1.0
    assert cohen_kappa("abab", "baba") == -1.0
    assert math.isnan(cohen_kappa("aaa", "aaa"))  # chance explains all
    assert math.isnan(cohen_kappa("", ""))
    with pytest.raises(ValueError, match="3 labels and the other 2"):
        cohen_kappa("aaa", "aa")


def test_fleiss_as_published():
    assert fleiss_kappa(rows(SIX_PSYCHIATRISTS, 5)) == pytest.approx(0.4302445, abs=1e-7)
    assert fleiss_kappa(rows(FOURTEEN_RATERS, 5)) == pytest.approx(0.210, abs=5e-4)


def test_fleiss_by_hand():
    # Three people, two things, 3-0 and 1-2: seen (1 + 1/3) / 2 = 2/3, by chance (4/6)^2 + (2/6)^2 = 5/9.
    assert fleiss_kappa([[3, 0], [1, 2]]) == pytest.approx((2 / 3 - 5 / 9) / (4 / 9))
    assert fleiss_kappa([[3, 0], [0, 3]]) == 1.0
    assert math.isnan(fleiss_kappa([[3, 0], [3, 0]]))
    assert math.isnan(fleiss_kappa(np.zeros((0, 3))))


@pytest.mark.parametrize("counts", [[[3, 0], [1, 1]], [[1, 0], [0, 1]]])
def test_fleiss_needs_as_many_answers_everywhere(counts):
    with pytest.raises(ValueError, match="as many answers for each thing"):
        fleiss_kappa(counts)


def test_krippendorff_as_published():
    assert krippendorff_alpha(count(FOUR_OBSERVERS)) == pytest.approx(0.743, abs=5e-4)
    # Two observers, ten units: Krippendorff 2011, section A; 4 of 20 values differ, by chance 14 * 6 / 19: 0.095.
    assert krippendorff_alpha(count(("0100000010", "1110010000"))) == pytest.approx(0.095, abs=5e-4)


def test_krippendorff_leaves_out_what_one_person_answered():
    known = [[2, 0], [1, 1], [0, 2]]
    assert krippendorff_alpha([*known, [1, 0], [0, 0]]) == krippendorff_alpha(known)
    # Six answers, three of each: seen (2 * 1) / 6 differing, by chance 18 / 30.
    assert krippendorff_alpha(known) == pytest.approx(1 - (2 / 6) / (18 / 30))
    assert math.isnan(krippendorff_alpha([[1, 0]]))
    assert math.isnan(krippendorff_alpha([[2, 0], [2, 0]]))


def test_wilson():
    # 10 of 20: centre 0.5; half 1.96 / (1 + 3.8415 / 20) * sqrt(0.0125 + 3.8415 / 1600) = 0.20072.
    low, high = wilson(0.5, 20)
    assert (low, high) == pytest.approx((0.29928, 0.70072), abs=2e-5)
    assert wilson(1.0, 10) == pytest.approx((0.72246, 1.0), abs=2e-5)  # 10 / (10 + z^2)
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.27754), abs=2e-5)
    assert all(math.isnan(x) for x in wilson(0.5, 0))


def test_wilson_covers_nineteen_of_twenty():
    rng = np.random.default_rng(0)
    found = [wilson(x / 40, 40) for x in rng.binomial(40, 0.7, size=4000)]
    assert 0.93 < np.mean([low <= 0.7 <= high for low, high in found]) < 0.97
