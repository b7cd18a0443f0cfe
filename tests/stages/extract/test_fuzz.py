"""Damaged files: whatever the bytes, each file gets one outcome of a known kind, in bounded time and memory.

A case is made by its seed and number alone, so that a failure is found again by both. `make fuzz` runs more of them:
``MUSICREC_FUZZ_SEED`` and ``MUSICREC_FUZZ_FILES`` choose which and how many.
"""

import hashlib
import io
import json
import multiprocessing
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from musicrec import features
from musicrec.audio.formats import EXTENSIONS
from musicrec.settings import CatalogSettings, ExtractSettings
from musicrec.stages.catalog.stage import catalog
from musicrec.stages.extract.stage import Wanted, extract, extract_track
from musicrec.store.store import Store

SEED = int(os.environ.get("MUSICREC_FUZZ_SEED", "0"))
QUICK_FILES, ALL_FILES = 66, int(os.environ.get("MUSICREC_FUZZ_FILES", "242"))
SETTINGS = ExtractSettings()
KNOWN = {  # reasons that a damaged file may have; "error" and "crashed" are defects of ours, and stand in no set
    "ok": {None},
    "skipped": {"too_short", "silent"},
    "failed": {"empty", "undecodable", "unsupported", "too_large", "corrupt", "not_finite"},
}
SECONDS_A_FILE = 20  # a decoder that takes longer over two seconds of audio hangs
FIRST_FILE_SECONDS = 120  # compiling included
PEAK_MEMORY_MB = 1500  # a buffer that a lying header sized would be far larger
SMALL_FILE_BYTES = 200_000

FORMATS = {  # name of the seed: how soundfile writes it
    "pcm16.wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "adpcm.wav": ("WAV", "MS_ADPCM"),
    "pcm24.flac": ("FLAC", "PCM_24"),
    "vorbis.ogg": ("OGG", "VORBIS"),
    "opus.opus": ("OGG", "OPUS"),
    "layer3.mp3": ("MP3", "MPEG_LAYER_III"),
    "pcm16.aiff": ("AIFF", "PCM_16"),
    "ulaw.au": ("AU", "ULAW"),
    "alac.caf": ("CAF", "ALAC_16"),
    "pcm16.w64": ("W64", "PCM_16"),
}
RATE = 24_000  # one of the few that Opus has


# --- seeds --------------------------------------------------------------------------------------------------------


def encoded(samples) -> dict[str, bytes]:
    """Two channels of samples in every format that soundfile writes."""
    seeds = {}
    for name, (container, subtype) in FORMATS.items():
        buffer = io.BytesIO()
        sf.write(buffer, samples, RATE, format=container, subtype=subtype)
        seeds[name] = buffer.getvalue()
    return seeds


def synthetic_seeds() -> dict[str, bytes]:
    t = np.arange(2 * RATE)[:, None] / RATE
    return encoded(0.3 * np.sin(2 * np.pi * t * np.array([220, 330]) * (1 + 0.2 * t)).astype(np.float32))


def real_seeds(data: Path) -> dict[str, bytes]:
    """Crops of songs written anew, crops as they are, and the small files of the torture set (m4a, sph, mp2, …)."""
    crops = sorted((data / "gtzan_crops").rglob("*.ogg"))[::90]
    both = [sf.read(crop, dtype="float32")[0][: 2 * 22_050] for crop in crops[:2]]
    n = min(map(len, both))
    seeds = encoded(np.stack([samples[:n] for samples in both], axis=1))
    small = [p for p in sorted((data / "odd").rglob("*")) if p.is_file() and 0 < p.stat().st_size < SMALL_FILE_BYTES]
    return seeds | {p.name: p.read_bytes() for p in crops + small}


# --- damage -------------------------------------------------------------------------------------------------------


def stretch(raw: bytes, rng) -> tuple[int, int]:
    start = int(rng.integers(0, len(raw)))
    return start, min(len(raw), start + int(2 ** rng.uniform(0, np.log2(len(raw)))))


def truncated(raw: bytes, rng) -> bytes:
    return raw[: rng.integers(0, len(raw))]


def bits_flipped(raw: bytes, rng) -> bytes:
    damaged = np.frombuffer(raw, np.uint8).copy()
    at = rng.integers(0, len(raw), int(2 ** rng.uniform(0, 10)))
    damaged[at] ^= (1 << rng.integers(0, 8, len(at))).astype(np.uint8)
    return damaged.tobytes()


def zeroed(raw: bytes, rng) -> bytes:
    start, stop = stretch(raw, rng)
    return raw[:start] + bytes(stop - start) + raw[stop:]


def overwritten(raw: bytes, rng) -> bytes:
    start, stop = stretch(raw, rng)
    return raw[:start] + rng.bytes(stop - start) + raw[stop:]


def removed(raw: bytes, rng) -> bytes:
    start, stop = stretch(raw, rng)
    return raw[:start] + raw[stop:]


def repeated(raw: bytes, rng) -> bytes:
    start, stop = stretch(raw, rng)
    return raw[:stop] + raw[start:]


def preceded_by_noise(raw: bytes, rng) -> bytes:
    return rng.bytes(int(rng.integers(1, 5000))) + raw


def field_overwritten(raw: bytes, rng) -> bytes:
    """A number in the first bytes at its extremes: a size, a rate, a number of channels."""
    size = int(rng.choice([1, 2, 4, 8]))
    at = int(rng.integers(4, min(128, max(5, len(raw) - size))))
    values = [0, 1, 2, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1]
    value = values[rng.integers(len(values))].to_bytes(size, str(rng.choice(["little", "big"])))
    return raw[:at] + value + raw[at + size :]


WAV_FIELDS = {"riff size": (4, 4), "format": (20, 2), "channels": (22, 2), "rate": (24, 4), "block": (32, 2)}
WAV_FIELDS |= {"bits": (34, 2), "data size": (40, 4)}  # name: (offset, bytes)
LIES = (0, 1, 2, 3, 7, 33, 255, 8_000, 65_535, 10**6, 2**31 - 1, 2**32 - 1)


def header_lies(raw: bytes, rng) -> bytes:
    """Another size, rate, number of channels, of bits or of samples in the header of WAV or FLAC; else, any field."""
    value = LIES[rng.integers(len(LIES))]
    if raw.startswith(b"RIFF"):
        at, size = list(WAV_FIELDS.values())[rng.integers(len(WAV_FIELDS))]
        return raw[:at] + (value % 2 ** (8 * size)).to_bytes(size, "little") + raw[at + size :]
    if raw.startswith(b"fLaC"):  # STREAMINFO: rate 20 bits, channels 3, bits 5, samples 36
        bits, shift = [(20, 44), (3, 41), (5, 36), (36, 0)][rng.integers(4)]
        info = int.from_bytes(raw[18:26], "big") & ~((2**bits - 1) << shift) | ((value % 2**bits) << shift)
        return raw[:18] + info.to_bytes(8, "big") + raw[26:]
    return field_overwritten(raw, rng)


def whole(raw: bytes, rng) -> bytes:
    return raw


DAMAGES = (truncated, bits_flipped, zeroed, overwritten, removed, repeated, preceded_by_noise)
DAMAGES += (field_overwritten, header_lies, whole)
OTHER_EXTENSION_SHARE, FOLLOWED_SHARE = 0.15, 0.1  # of the damaged; of the whole, half are the one and half the other


def case(seeds: dict[str, bytes], seed: int, number: int) -> tuple[str, bytes]:
    """Name and bytes of one damaged file."""
    rng = np.random.default_rng([seed, number])
    damage = DAMAGES[number % len(DAMAGES)]
    name, other = (sorted(seeds)[i] for i in rng.integers(0, len(seeds), 2))
    raw, label, extension = damage(seeds[name], rng), damage.__name__, Path(name).suffix
    shares = (0.5, 0.5) if damage is whole else (OTHER_EXTENSION_SHARE, FOLLOWED_SHARE)
    chance = rng.random()
    if chance < shares[0]:
        label, extension = f"{label}-renamed", str(rng.choice(sorted(EXTENSIONS)))
    elif chance < sum(shares):
        label, raw = f"{label}-followed", raw + seeds[other]
    return f"{number:04d}-{Path(name).stem}-{label}{extension}", raw


def write_cases(folder: Path, seeds: dict[str, bytes], n: int) -> list[Path]:
    folder.mkdir()
    for number in range(n):
        name, raw = case(seeds, SEED, number)
        (folder / name).write_bytes(raw)
    return sorted(folder.iterdir())


# --- extraction in a child process --------------------------------------------------------------------------------


def values_digest(row) -> str | None:
    """Fingerprint of the features and the mel-spectrogram; None where there are none."""
    if row["status"] != "ok":
        return None
    values = np.array([row[name] for name in features.feature_names(SETTINGS.feature_sets)], np.float32)
    return hashlib.blake2b(values.tobytes() + np.asarray(row["mel"]).tobytes(), digest_size=8).hexdigest()


def extract_each(paths: list[Path], report: Path) -> None:
    """Write one line a file, at once, so that the file that ends this process is known."""
    with report.open("w", buffering=1) as lines:
        for path in paths:
            row = extract_track(Wanted(path.name, str(path), ""), SETTINGS)
            kept = {name: row[name] for name in ("track_id", "status", "reason", "detail", "seconds")}
            lines.write(json.dumps(kept | {"digest": values_digest(row)}) + "\n")
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        lines.write(json.dumps({"peak_mb": int(peak[1]) / 1024}) + "\n")


def rows_of_a_child(paths: list[Path], report: Path) -> dict[str, dict]:
    """Row of each file, extracted one after the other in a process of its own that must end in time."""
    child = multiprocessing.get_context("spawn").Process(target=extract_each, args=(paths, report))
    child.start()
    child.join(FIRST_FILE_SECONDS + len(paths))
    ended = "hung at" if child.is_alive() else f"ended with exit code {child.exitcode} at"
    child.kill()
    child.join()
    lines = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    assert len(lines) == len(paths) + 1, f"the process {ended} {paths[min(len(lines), len(paths) - 1)]}"
    assert lines.pop()["peak_mb"] < PEAK_MEMORY_MB
    return {row["track_id"]: row for row in lines}


def assert_known(rows: dict[str, dict]) -> None:
    strange = [row for row in rows.values() if row["reason"] not in KNOWN.get(row["status"], ())]
    assert not strange
    slow = {name: row["seconds"] for name, row in list(rows.items())[1:] if row["seconds"] > SECONDS_A_FILE}
    assert not slow


# --- tests --------------------------------------------------------------------------------------------------------


def test_damage_depends_on_seed_and_number_alone() -> None:
    seeds = synthetic_seeds()
    cases = [case(seeds, 0, number) for number in range(200)]
    assert cases[150] == case(dict(reversed(seeds.items())), 0, 150)
    assert cases[100:110] != [case(seeds, 1, number) for number in range(100, 110)]
    intact = {hashlib.blake2b(raw).digest() for raw in seeds.values()}
    same = [name for name, raw in cases if hashlib.blake2b(raw).digest() in intact and "renamed" not in name]
    assert len(same) < len(cases) / 10  # a byte may be overwritten by itself, a header lie be true


@pytest.mark.thorough
def test_whole_seeds_decode(tmp_path: Path) -> None:
    """Otherwise the damage would be done to files that never worked."""
    for name, raw in synthetic_seeds().items():
        (tmp_path / name).write_bytes(raw)
        row = extract_track(Wanted(name, str(tmp_path / name), ""), SETTINGS)
        assert (name, row["status"], row["reason"]) == (name, "ok", None)


@pytest.mark.thorough
def test_damaged_files_each_have_one_known_outcome_twice_the_same(tmp_path: Path) -> None:
    paths = write_cases(tmp_path / "damaged", synthetic_seeds(), QUICK_FILES)
    rows = rows_of_a_child(paths, tmp_path / "report")
    assert sorted(rows) == [path.name for path in paths]
    assert_known(rows)
    found = Counter(row["status"] for row in rows.values())
    assert found["ok"] > 10  # otherwise the cases would never get past the header …
    assert found["failed"] > 10  # … or harm nothing
    some = paths[::6]
    again = rows_of_a_child(some, tmp_path / "again")
    for path in some:
        assert {**again[path.name], "seconds": 0} == {**rows[path.name], "seconds": 0}


def test_samples_beyond_all_reason_are_a_failure_with_a_reason(tmp_path: Path) -> None:
    """One flipped bit of a float's exponent: finite, but its square is not."""
    samples = np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    samples[RATE // 2] = 1e30
    sf.write(tmp_path / "loud.wav", samples, RATE, subtype="FLOAT")
    row = extract_track(Wanted("loud.wav", str(tmp_path / "loud.wav"), ""), SETTINGS)
    assert row["status"] == "failed"
    assert row["reason"] in KNOWN["failed"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_stage_accounts_for_damaged_real_files_and_the_torture_set(
    ray_session: None, data: Path, tmp_path: Path
) -> None:
    paths = write_cases(tmp_path / "source", real_seeds(data), ALL_FILES)
    (tmp_path / "source" / "odd").symlink_to(data / "odd")
    store = Store(tmp_path / "out")
    store.create()
    catalog(store, CatalogSettings(source=str(tmp_path / "source"), kind="folder"))
    extract(store, SETTINGS, max_failed_fraction=1.0)
    outcomes = store.read("outcomes").to_pandas().astype(object)
    outcomes = outcomes.where(outcomes.notna(), None)
    extracted = {row["track_id"]: row for row in outcomes.query("stage == 'extract'").to_dict("records")}
    ignored = outcomes[(outcomes.stage == "catalog") & (outcomes.status == "skipped")].track_id
    everything = paths + [p for p in (data / "odd").rglob("*") if p.is_file()]
    assert len(extracted) + len(ignored) == len(everything)  # some lose even the bytes that call them audio
    assert {path.name for path in paths} <= extracted.keys() | set(ignored)
    assert_known(extracted)
    alone = rows_of_a_child([path for path in paths if path.name in extracted], tmp_path / "report")
    for name, row in alone.items():
        assert (extracted[name]["status"], extracted[name]["reason"]) == (row["status"], row["reason"])
