import numpy as np
import torch

from sarcover.training.augment import ORIENTATIONS, augment, draw_orientations, orient


def test_labels_and_masks_turn_with_the_radar():
    label = torch.arange(2 * 5 * 5).view(2, 5, 5)
    batch = {"sar": label[:, None].expand(2, 3, 5, 5).float(), "label": label, "valid": label % 2 == 0}
    for first in range(ORIENTATIONS):
        turned = augment(batch, [first, (first + 3) % ORIENTATIONS])
        for band in range(3):
            assert torch.equal(turned["sar"][:, band].long(), turned["label"])
        assert torch.equal(turned["valid"], turned["label"] % 2 == 0)


def test_the_eight_orientations_are_the_symmetries_of_the_square():
    square = np.arange(9).reshape(3, 3)
    expected = {np.rot90(s, k).tobytes() for s in (square, square.T) for k in range(4)}
    seen = {orient(torch.from_numpy(square), o).numpy().tobytes() for o in range(ORIENTATIONS)}
    assert seen == expected
    assert len(seen) == 8


def test_orientations_follow_from_seed_and_step():
    drawn = draw_orientations(3, 7, 64)
    assert np.array_equal(drawn, draw_orientations(3, 7, 64))
    assert not np.array_equal(drawn, draw_orientations(3, 8, 64))
    assert not np.array_equal(drawn, draw_orientations(4, 7, 64))
    assert set(drawn) == set(range(ORIENTATIONS))
