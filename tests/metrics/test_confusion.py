"""Scores against counting by hand."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcover.errors import SarcoverError
from sarcover.metrics import confusion_matrix, scores


def example(seed=0, classes=4, pixels=500):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, pixels)
    pred = np.where(rng.random(pixels) < 0.6, target, rng.integers(0, classes, pixels))
    target[rng.random(pixels) < 0.1] = 255
    return pred, target


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), classes=st.integers(1, 9), pixels=st.integers(0, 200))
def test_matrix_counts_pairs_and_parts_add_up(seed, classes, pixels):
    pred, target = example(seed, classes, pixels)
    expected = np.zeros((classes, classes), np.int64)
    for p, t in zip(pred, target, strict=True):
        if t != 255:
            expected[t, p] += 1
    matrix = confusion_matrix(torch.tensor(pred), torch.tensor(target), classes)
    assert matrix.dtype == torch.int64
    np.testing.assert_array_equal(matrix, expected)
    parts = [
        confusion_matrix(torch.tensor(p), torch.tensor(t), classes)
        for p, t in zip(np.array_split(pred, 3), np.array_split(target, 3), strict=True)
    ]
    assert torch.equal(sum(parts), matrix)


def test_bytes_of_a_map_are_counted_like_wide_integers():
    pred, target = (values.reshape(20, 25) for values in example(classes=20))
    wide = confusion_matrix(torch.tensor(pred), torch.tensor(target), 20)
    narrow = confusion_matrix(torch.tensor(pred.astype(np.uint8)), torch.tensor(target.astype(np.uint8)), 20)
    assert torch.equal(wide, narrow)


def test_classes_outside_the_legend_are_named():
    with pytest.raises(SarcoverError, match=r"prediction holds .*expected 0 to 2; got 3, 7"):
        confusion_matrix(torch.tensor([0, 7, 3, 9]), torch.tensor([0, 1, 2, 255]), 3)
    with pytest.raises(SarcoverError, match=r"reference holds .*got 3"):
        confusion_matrix(torch.tensor([0, 0]), torch.tensor([0, 3]), 3)
    with pytest.raises(SarcoverError, match="got -1"):
        confusion_matrix(torch.tensor([-1, 0]), torch.tensor([0, 0]), 3)


def test_other_ignore_value():
    matrix = confusion_matrix(torch.tensor([0, 1]), torch.tensor([0, 9]), 2, ignore_index=9)
    assert matrix.tolist() == [[1, 0], [0, 0]]


def test_scores_are_those_of_counting_pixels():
    pred, target = example()
    result = scores(confusion_matrix(torch.tensor(pred), torch.tensor(target), 4), list("abcd"), "test")
    valid = target != 255
    pred, target = pred[valid], target[valid]
    ious, recalls = [], []
    for k, name in enumerate("abcd"):
        both, either = ((pred == k) & (target == k)).sum(), ((pred == k) | (target == k)).sum()
        row = result["classes"][k]
        precision, recall = both / (pred == k).sum(), both / (target == k).sum()
        ious.append(both / either)
        recalls.append(recall)
        assert row["name"] == name
        assert row["support"] == (target == k).sum()
        expected = [both / either, recall, recall, precision, 2 * precision * recall / (precision + recall)]
        found = [row[key] for key in ("iou", "accuracy", "recall", "precision", "f1")]
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert row["iou_ci95"] is None
    chance = sum((pred == k).mean() * (target == k).mean() for k in range(4))
    agreement = (pred == target).mean()
    assert result["n_pixels"] == valid.sum()
    assert result["oa"] == pytest.approx(agreement, rel=1e-12)
    assert result["kappa"] == pytest.approx((agreement - chance) / (1 - chance), rel=1e-12)
    assert result["miou"] == pytest.approx(np.mean(ious), rel=1e-12)
    assert result["macc"] == pytest.approx(np.mean(recalls), rel=1e-12)
    assert result["absent_classes"] == []


def test_absent_class_is_none_and_left_out_of_the_mean():
    # rows reference: a and b are in both, c is only predicted, d is nowhere
    matrix = torch.tensor([[3, 1, 0, 0], [0, 4, 2, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    result = scores(matrix, list("abcd"))
    a, b, c, d = result["classes"]
    assert (a["iou"], b["iou"], c["iou"], d["iou"]) == (3 / 4, 4 / 7, 0, None)
    assert (c["accuracy"], c["precision"], c["f1"], c["support"]) == (None, 0, 0, 0)
    assert [d[key] for key in ("iou", "accuracy", "precision", "recall", "f1")] == [None] * 5
    assert result["absent_classes"] == ["d"]
    assert result["miou"] == pytest.approx((3 / 4 + 4 / 7 + 0) / 3)
    assert result["macc"] == pytest.approx((3 / 4 + 4 / 6) / 2)


def test_nothing_to_score_gives_no_scores():
    result = scores(torch.zeros(2, 2, dtype=torch.int64))
    assert [result[key] for key in ("oa", "miou", "macc", "kappa")] == [None] * 4
    assert result["n_pixels"] == 0
    assert result["absent_classes"] == ["0", "1"]


def test_kappa_has_no_value_where_chance_explains_all():
    assert scores(torch.tensor([[5, 0], [0, 0]]))["kappa"] is None


def test_result_is_the_metrics_file():
    result = scores(torch.tensor([[5, 1], [0, 0]]), ["water", "land"], "val")
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    keys = "split n_pixels oa miou miou_ci95 macc kappa classes absent_classes confusion boundary"
    assert list(result) == keys.split()
    assert result["split"] == "val"
    assert result["confusion"] == [[5, 1], [0, 0]]
