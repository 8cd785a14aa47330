"""What a store gets when its shards are there: proof, index, picture, and last store.yaml."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import yaml

from sarcover.files import disk_errors, sha256, write_json
from sarcover.patches.masks import stored_masks, with_masks
from sarcover.patches.picture import draw_store
from sarcover.patches.proof import in_words, near_others, prove, refuse_leaks
from sarcover.patches.store import PatchStore, StoreMeta

PICTURE = "store.png"


def finish_store(
    folder: Path, meta: StoreMeta, index: geopandas.GeoDataFrame, split: str
) -> tuple[StoreMeta, dict[str, Any]]:
    """Proves the split and writes everything but the shards.

    Args:
        folder: of the store, with its shards.
        meta: without `files`.
        index: one row a patch.
        split: how pixels were divided.

    Returns:
        The metadata as written, and the proof as in split.json.

    Raises:
        SarcoverError: a labelled pixel in two splits, or a guard distance that is not kept.
    """
    store = PatchStore(folder, meta, index)
    proof = {"split": split, **prove(store)}
    refuse_leaks(proof)
    proof["words"] = in_words(proof)
    with disk_errors(folder):
        with_masks(index, stored_masks(store), near_others(store)).to_parquet(
            folder / "index.parquet", index=False
        )
        write_json(folder / "split.json", proof)
        draw_store(store, folder / PICTURE)
        beside = sorted(path for path in folder.iterdir() if path.is_file() and path.name != "store.yaml")
        files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in beside}
        meta = replace(meta, files=files)
        dumped = yaml.dump(meta.to_dict(), Dumper=_YAML_DUMPER, sort_keys=False, allow_unicode=True)
        (folder / "store.yaml").write_text(dumped, encoding="utf-8")
    return meta, proof


_YAML_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
