"""Is a store still what was made? Its files by their checksums, its split by the index alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sarcover.errors import SarcoverError
from sarcover.files import read_json, sha256
from sarcover.patches.masks import COLUMNS, indexed_masks
from sarcover.patches.proof import in_words, prove, refuse_leaks
from sarcover.patches.store import PatchStore, read_index, read_meta
from sarcover.progress import progress


def check_store(path: str) -> dict[str, Any]:
    """Proves the split again from store.yaml and the index, without the shards.

    Returns:
        `store`, `split` in words and the `proof`.

    Raises:
        SarcoverError: the split leaks, its guard is not kept, split.json says something else, or the index
            is not the one that was made.
    """
    folder = Path(path)
    meta, index = read_meta(folder), read_index(folder)
    if set(COLUMNS) - set(index.columns):
        raise SarcoverError(
            f"{path}: its index does not hold the masks that prove the split",
            got=f"a store of sarcover {meta.versions.get('sarcover', '?')}",
            do="make it again with: sarcover prepare",
        )
    stated = read_json(folder / "split.json")
    found = prove(PatchStore(folder, meta, index), indexed_masks(index, meta.patch))
    proof = {"split": stated.get("split"), **found}
    refuse_leaks(proof)
    proof["words"] = in_words(proof)
    different = sorted(key for key in proof if proof[key] != stated.get(key))
    if different:
        raise SarcoverError(
            f"{path}: split.json is not what its index proves",
            expected=", ".join(f"{key} {proof[key]}" for key in different),
            got=", ".join(f"{stated.get(key)}" for key in different),
            do="make the store again with: sarcover prepare",
        )
    made = meta.files.get("index.parquet")  # stores of earlier versions do not say it
    if made and (problem := _problem(folder / "index.parquet", made)):
        raise SarcoverError(
            f"{path}: index.parquet is not as it was made",
            got=problem,
            do="copy the store again, or make it again with: sarcover prepare",
        )
    return {"store": path, "split": proof["words"], "proof": proof}


def verify_store(path: str) -> dict[str, Any]:
    """Compares every file of a store with its checksum.

    Returns:
        `store`, number of `files` and of `bytes` that are as they were made, `fingerprint`.

    Raises:
        SarcoverError: files that are missing or other than made, each by name.
    """
    folder = Path(path)
    meta = read_meta(folder)
    expected = {f"shards/{name}": file for shard in meta.shards for name, file in shard["files"].items()}
    expected |= meta.files
    broken = []
    with progress("verify", len(expected)) as advance:
        for name, file in expected.items():
            problem = _problem(folder / name, file)
            broken += [f"{name} ({problem})"] if problem else []
            advance(1)
    if broken:
        raise SarcoverError(
            f"{path}: {len(broken)} of {len(expected)} files are not as they were made",
            got=", ".join(broken),
            do="copy the store again, or make it again with: sarcover prepare",
        )
    size = sum(int(file["bytes"]) for file in expected.values())
    return {"store": path, "files": len(expected), "bytes": size, "fingerprint": meta.fingerprint}


def _problem(path: Path, file: dict[str, Any]) -> str:
    if not path.is_file():
        return "missing"
    if path.stat().st_size != file["bytes"]:
        return f"{path.stat().st_size} bytes of {file['bytes']}"
    return "" if sha256(path) == file["sha256"] else "other content"
