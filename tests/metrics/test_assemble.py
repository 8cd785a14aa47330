"""From patches to metrics.json: blocks add up, intervals are where they can be, differences are paired."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from sarcover.errors import SarcoverError
from sarcover.metrics import (
    Blocks,
    Tally,
    block_scores,
    blocks_path,
    confusion_matrix,
    difference,
    read_blocks,
    scores,
    write_blocks,
)
from sarcover.metrics.borders import border_counts, boundary_f1, boundary_iou
from sarcover.metrics.intervals import draw_blocks
from sarcover.metrics.objects import small_counts, thin_counts

NAMES = ("water", "field", "town", "snow")  # there is no snow
K = 4


def patches(seed, number=12, side=40, wrong=0.3):
    rng = np.random.default_rng(seed)
    for _ in range(number):
        reference, other = (
            np.argmax([gaussian_filter(rng.normal(size=(side, side)), 1.5) for _ in range(3)], 0)
            for _ in "ab"
        )
        doubt = gaussian_filter(rng.normal(size=(side, side)), 1)
        predicted = np.where(doubt < np.quantile(doubt, wrong), other, reference)
        reference[rng.random((side, side)) < 0.01] = 255
        yield predicted, reference


def counted(seed=0, wrong=0.3, borders=True, blocks=6):
    tally = Tally(blocks, K, borders=borders)
    for number, pair in enumerate(patches(seed, wrong=wrong)):
        tally.add(number % blocks, *pair)
    names = tuple(f"0 {number}" for number in range(blocks))
    return Blocks(names, tally.counts, NAMES, "test", 160, "f" * 64)


@pytest.fixture(scope="module")
def blocks():
    return counted()


@pytest.fixture(scope="module")
def found(blocks):
    return block_scores(blocks, seed=5)


def test_scores_are_those_of_all_patches_together(found):
    total = torch.zeros(K, K, dtype=torch.int64)
    band, contour, thin, small = (0, 0, 0, 0)
    for predicted, reference in patches(0):
        total += confusion_matrix(torch.tensor(predicted), torch.tensor(reference), K)
        masked = np.where(reference == 255, 255, predicted)
        counts = border_counts(masked, reference, K)
        band, contour = band + counts[0], contour + counts[1]
        thin = thin + thin_counts(masked, reference, K)
        small = small + small_counts(masked, reference, K)
    expected = scores(total, NAMES, "test")
    for key in ("split", "n_pixels", "oa", "miou", "macc", "kappa", "absent_classes", "confusion"):
        assert found[key] == expected[key]
    boundary = found["boundary"]
    assert boundary["tolerances"] == [1, 2, 4]
    for key, values in (("iou", boundary_iou(band)), ("f1", boundary_f1(contour))):
        np.testing.assert_allclose(list(boundary[key].values()), values[:, :3].mean(1))
        for k in range(3):
            np.testing.assert_allclose(list(boundary["classes"][k][key].values()), values[:, k])
    assert boundary["classes"][3]["f1"] == {"1": None, "2": None, "4": None}
    np.testing.assert_allclose(boundary["thin"]["recall"], np.mean(thin[:3, 0] / thin[:3, 1]))
    assert boundary["pixels"] == contour[0, :, 2].sum()
    assert [row["pixels"] for row in boundary["classes"]] == contour[0, :, 2].tolist()
    assert boundary["thin"]["pixels"] == thin.sum(0)[1]
    np.testing.assert_allclose(
        boundary["small_objects"]["completeness"], np.mean(small[:3, 0] / small[:3, 1])
    )
    assert (small[:3, 0] < small[:3, 1]).all()
    assert boundary["small_objects"]["objects"] == small.sum(0)[1]
    assert [row["small_objects"] for row in boundary["classes"]] == small[:, 1].tolist()
    assert boundary["classes"][3]["thin_recall"] is None


def test_the_result_is_plain_json(found):
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_intervals_are_those_of_the_blocks_and_hold_the_score(found, blocks):
    draws = draw_blocks(6, seed=5)
    miou = []
    for draw in draws:
        total = torch.tensor(sum(blocks.counts["confusion"][b] for b in draw))
        miou.append(scores(total)["miou"])
    np.testing.assert_allclose(found["miou_ci95"], np.percentile(miou, [2.5, 97.5]))
    for row in found["classes"][:3]:
        assert row["iou_ci95"][0] <= row["iou"] <= row["iou_ci95"][1]
    assert found["classes"][3]["iou_ci95"] is None
    boundary = found["boundary"]
    for key in ("iou", "f1"):
        for d in "124":
            low, high = boundary[f"{key}_ci95"][d]
            assert low < boundary[key][d] < high
    for part, score in (("thin", "recall"), ("small_objects", "completeness")):
        low, high = boundary[part][f"{score}_ci95"]
        assert low < boundary[part][score] < high
    assert found["intervals"] == {
        "method": "block bootstrap, percentiles",
        "blocks": 6,
        "block_side": 160,
        "resamples": 1000,
        "seed": 5,
    }


def test_one_block_has_no_interval_and_a_class_of_one_block_neither(blocks):
    one = replace(blocks, names=("0 0",), counts={name: c[:1] for name, c in blocks.counts.items()})
    found = block_scores(one)
    assert found["miou_ci95"] is None
    assert found["boundary"]["f1_ci95"] == {"1": None, "2": None, "4": None}
    assert found["boundary"]["thin"]["recall_ci95"] is None
    confusion = blocks.counts["confusion"].copy()
    confusion[2, 3, 3] = 7
    found = block_scores(replace(blocks, counts={"confusion": confusion}))
    assert found["classes"][3]["iou"] == 1
    assert found["classes"][3]["iou_ci95"] is None
    assert found["miou_ci95"] is not None
    assert found["boundary"] is None
    confusion[4, 0, 3] = 7  # mapped elsewhere, by mistake: still one block that has it
    assert block_scores(replace(blocks, counts={"confusion": confusion}))["classes"][3]["iou_ci95"] is None
    confusion[4, 3, 0] = 7
    assert (
        block_scores(replace(blocks, counts={"confusion": confusion}))["classes"][3]["iou_ci95"] is not None
    )


@pytest.mark.parametrize(
    ("part", "axis"), [("thin", ("thin", "recall_ci95")), ("small", ("small_objects", "completeness_ci95"))]
)
def test_what_one_block_alone_holds_has_no_interval(blocks, part, axis):
    counts = dict(blocks.counts)
    counts[part] = counts[part].copy()
    counts[part][1:] = 0
    found = block_scores(replace(blocks, counts=counts))["boundary"]
    assert found[axis[0]][axis[1]] is None
    counts[part][1] = blocks.counts[part][1]
    found = block_scores(replace(blocks, counts=counts))["boundary"]
    assert found[axis[0]][axis[1]] is not None


def test_borders_of_one_block_alone_have_no_interval(blocks):
    counts = dict(blocks.counts)
    counts["contour"] = counts["contour"].copy()
    counts["contour"][1:, ..., 2:] = 0
    found = block_scores(replace(blocks, counts=counts))["boundary"]
    assert found["f1_ci95"] == {"1": None, "2": None, "4": None}
    assert None not in found["iou_ci95"].values()


def test_blocks_without_labels_are_no_blocks(blocks):
    more = {name: np.concatenate([c, np.zeros_like(c[:4])]) for name, c in blocks.counts.items()}
    padded = replace(blocks, names=blocks.names + tuple("abcd"), counts=more)
    assert block_scores(padded, seed=5) == block_scores(blocks, seed=5)


def test_processes_that_share_the_patches_sum_to_one():
    shares = [Tally(6, K), Tally(6, K)]
    for number, pair in enumerate(patches(0)):
        shares[number % 2].add(number % 6, *pair)
    for name, values in counted().counts.items():
        np.testing.assert_array_equal(sum(share.counts[name] for share in shares), values)


def test_predictions_without_a_reference_are_not_looked_at():
    one, other = Tally(1, K), Tally(1, K)
    for predicted, reference in patches(3, number=2):
        one.add(0, predicted, reference)
        other.add(0, np.where(reference == 255, 3, predicted), reference)
    for name, values in one.counts.items():
        np.testing.assert_array_equal(other.counts[name], values)


def test_the_difference_is_paired(blocks, found):
    other = counted(wrong=0.5)
    result = difference(blocks, other, seed=5)
    theirs = block_scores(other, seed=5)
    assert result["miou"] == pytest.approx(found["miou"] - theirs["miou"])
    deltas = []
    for draw in draw_blocks(6, seed=5):
        pair = (torch.tensor(sum(side.counts["confusion"][b] for b in draw)) for side in (blocks, other))
        mine, yours = (scores(total)["miou"] for total in pair)
        deltas.append(mine - yours)
    np.testing.assert_allclose(result["miou_ci95"], np.percentile(deltas, [2.5, 97.5]))
    assert result["miou_ci95"][0] > 0
    for row, mine, yours in zip(result["classes"], found["classes"], theirs["classes"], strict=True):
        assert row["name"] == mine["name"]
        if mine["iou"] is None:
            assert row["iou"] is row["iou_ci95"] is None
        else:
            assert row["iou"] == pytest.approx(mine["iou"] - yours["iou"])
            assert row["iou_ci95"][0] <= row["iou"] <= row["iou_ci95"][1]
    boundary = result["boundary"]
    for d in "124":
        expected = found["boundary"]["f1"][d] - theirs["boundary"]["f1"][d]
        assert boundary["f1"][d] == pytest.approx(expected)
        assert boundary["f1_ci95"][d][0] < expected < boundary["f1_ci95"][d][1]
    low, high = boundary["thin_recall_ci95"]
    assert low < boundary["thin_recall"] < high
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_the_order_of_the_blocks_does_not_matter(blocks):
    other = counted(wrong=0.5)
    order = [3, 1, 5, 0, 2, 4]
    turned = replace(
        other,
        names=tuple(other.names[o] for o in order),
        counts={name: values[order] for name, values in other.counts.items()},
    )
    assert difference(blocks, turned) == difference(blocks, other)


def test_hard_blocks_cancel_in_a_paired_difference():
    """Two models that differ by a little on blocks that differ by a lot."""
    rng = np.random.default_rng(0)
    share = rng.uniform(0.2, 0.8, 30)
    sides = []
    for gain in (0.02, 0.0):
        confusion = np.zeros((30, 2, 2), int)
        right = np.rint(1000 * (share + gain)).astype(int)
        confusion[:, 0, 0], confusion[:, 0, 1] = right, 1000 - right
        names = tuple(map(str, range(30)))
        sides.append(Blocks(names, {"confusion": confusion}, ("a", "b"), "test", 64, "f"))
    alone = [block_scores(side)["classes"][0]["iou_ci95"] for side in sides]
    assert alone[0][0] < alone[1][1]  # each for itself: they overlap
    low, high = difference(*sides)["classes"][0]["iou_ci95"]
    assert 0.015 < low <= high < 0.025
    assert "boundary" not in difference(*sides)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "val"}, "split; expected test; got val"),
        ({"fingerprint": "0" * 64}, "store; expected ffff"),
        ({"classes": ("a", "b", "c", "d")}, "classes; expected water"),
        ({"side": 64}, "side of the blocks; expected 160; got 64"),
        ({"names": tuple("abcdef")}, "not scored on the same pixels: other blocks"),
    ],
)
def test_other_pixels_are_not_compared(blocks, changes, message):
    with pytest.raises(SarcoverError, match=message):
        difference(blocks, replace(counted(), **changes))


def test_other_labels_are_not_compared(blocks):
    with pytest.raises(SarcoverError, match="other labels in their blocks"):
        difference(blocks, counted(seed=1))


def test_blocks_on_disk(blocks, tmp_path):
    path = blocks_path(tmp_path / "metrics.json")
    assert path.name == "metrics.blocks.npz"
    write_blocks(path, blocks)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    again = read_blocks(path)
    assert (again.names, again.classes, again.split, again.side, again.fingerprint) == (
        blocks.names,
        NAMES,
        "test",
        160,
        "f" * 64,
    )
    assert set(again.counts) == set(blocks.counts)
    for name, values in blocks.counts.items():
        np.testing.assert_array_equal(again.counts[name], values)


def test_broken_files_of_blocks_are_refused_in_one_line(tmp_path, blocks):
    path = tmp_path / "metrics.blocks.npz"
    with pytest.raises(SarcoverError, match=r"does not exist.*evaluate that model again"):
        read_blocks(path)
    write_blocks(path, blocks)
    whole = path.read_bytes()
    for content in (b"", b"not a zip", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(SarcoverError, match="cannot be read"):
            read_blocks(path)
    np.savez(path, version=1)
    with pytest.raises(SarcoverError, match="cannot be read"):
        read_blocks(path)
    np.save(path.with_suffix(".npy"), np.zeros(3))
    with pytest.raises(SarcoverError, match="cannot be read"):
        read_blocks(path.with_suffix(".npy"))
    np.savez(path, version=99)
    with pytest.raises(SarcoverError, match="version 99"):
        read_blocks(path)
