"""TorchGeo's random sampler over the tiles of benchmarks/data.py, timed; run by the peers' own Python.

PEERS/bin/python benchmarks/data_peers.py FOLDER --samples 2000 --batch 32      # one JSON line
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from mapping_peers import stub_torchvision

PATCH = 256


def main() -> None:
    """Batches of random patches: two bands and their labels."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--samples", type=int, required=True)
    options.add_argument("--batch", type=int, required=True)
    args = options.parse_args()
    library = stub_torchvision()
    from torch.utils.data import DataLoader
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import RandomGeoSampler

    class Radar(RasterDataset):
        filename_glob = "s*.tif"

    class Labels(RasterDataset):
        filename_glob = "l*.tif"
        is_image = False

    dataset = Radar(args.folder / "scenes") & Labels(args.folder / "labels")
    sampler = RandomGeoSampler(dataset, size=PATCH, length=args.samples)
    loader = DataLoader(dataset, args.batch, sampler=sampler, collate_fn=stack_samples)
    wall, cpu, samples = time.perf_counter(), time.process_time(), 0
    for batch in loader:
        assert batch["image"].shape[1:] == (2, PATCH, PATCH)
        assert batch["mask"].shape[-2:] == (PATCH, PATCH)
        samples += len(batch["image"])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"samples": samples, "wall": wall, "cpu": cpu, "version": version("torchgeo")}))
    del library


if __name__ == "__main__":
    main()
