"""What is wrong or odd with a set of photos, before a network sees it: each finding with a code that stays the same.

In: an index, and the pairs that were found to be the same picture. Out: findings, those that stop training first.
Must not know: how they are shown, and networks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from imgreg.data.index import Photo, PhotoIndex
from imgreg.data.members import is_row

SMALLEST_PX = 32
FEW_PHOTOS = 20  # of a class: a handful validates, and the verdict will be "too noisy to tell"
IMBALANCE = 3.0  # the largest class's photos, as a multiple of the smallest's

Severity = Literal["stops training", "left out", "take care", "for your information"]
SEVERITIES: tuple[Severity, ...] = ("stops training", "left out", "take care", "for your information")


@dataclass(frozen=True)
class Finding:
    """One kind of thing, wherever it was found.

    Attributes
    ----------
    files : tuple of tuple of str
        Groups of paths as PhotoIndex.relative names them: copies together, other files alone.
    """

    code: str
    severity: Severity
    says: str
    advice: str
    files: tuple[tuple[str, ...], ...]
    details: tuple[str, ...] = ()  # for each group of files what was found there, where there is more to say
    figures: Mapping[str, float] = field(default_factory=dict)  # what the finding rests on, where it is measured


_LEFT_OUT = {  # PhotoError's codes
    "no-label": (
        "photos without a usable label",
        "Add one to each: docs/your-photos.md says how tar and Parquet files hold labels.",
    ),
    "empty": ("empty files", "Copy them again from the original source, or delete them."),
    "missing": ("missing files", "Fix the manifest or the link."),
    "unreadable": ("files that cannot be opened", "Fix the file permissions."),
    "not-a-file": ("folders, pipes or devices named like photos", "Move them elsewhere."),
    "unsupported": ("files in an unsupported format", "Save them as JPEG or PNG, or move them elsewhere."),
    "too-large": ("files with too many pixels", "If they are photos, save them at a smaller size."),
    "out-of-memory": (
        "files that need too much memory to decode",
        "If they are photos, save them at a smaller size or as JPEG.",
    ),
    "too-slow": ("files that take too long to read", "Check what they are; if they are photos, save them again."),
    "truncated": ("truncated files", "Copy them again from the original source."),
    "damaged": ("damaged files", "Copy them again from the original source, or delete them."),
}

_SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"},
    "MPO": {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"},
    "PNG": {".png", ".apng"},
    "WEBP": {".webp"},
    "BMP": {".bmp", ".dib"},
    "GIF": {".gif"},
    "TIFF": {".tif", ".tiff"},
    "AVIF": {".avif", ".avifs"},
}


def inspect(index: PhotoIndex, *, same: Iterable[tuple[int, int]] = ()) -> tuple[Finding, ...]:
    """Everything found, by severity; nothing is found in a set that is as it should be.

    Parameters
    ----------
    same : iterable of tuple, optional
        Rows of index.photos of different bytes that show the same picture.
    """
    photos = index.photos
    equal, alike = copies(photos), connected(same)
    found = [
        _groups(index, "copies-across-classes", "stops training", _torn(equal, photos, lambda p: p.label)),
        _groups(index, "leak", "stops training", _torn(equal, photos, lambda p: p.split)),
        *_left_out(index),
        _groups(index, "near-across-classes", "take care", _torn(alike, photos, lambda p: p.label)),
        _groups(index, "near-leak", "take care", _torn(alike, photos, lambda p: p.split)),
        *_imbalance(photos, index.classes),
        _singles(index, "too-small", "take care", lambda p: _side(p) < SMALLEST_PX),
        _singles(index, "one-colour", "take care", lambda p: p.metadata is not None and p.metadata.is_plain),
        _groups(index, "copies", "for your information", _whole(equal, photos)),
        _groups(index, "near-copies", "for your information", _whole(alike, photos)),
        _singles(index, "wrong-extension", "for your information", _is_misnamed),
        _singles(
            index, "animated", "for your information", lambda p: p.metadata is not None and p.metadata.n_frames > 1
        ),
        _singles(index, "turned", "for your information", lambda p: p.metadata is not None and p.metadata.is_turned),
    ]
    return by_severity(one for one in found if one is not None)


def by_severity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those that stop training first; within a severity in the order given."""
    return tuple(sorted(findings, key=lambda one: SEVERITIES.index(one.severity)))


_WORDS: Mapping[str, tuple[str, str]] = {
    "copies-across-classes": (
        "identical files in more than one class; only one label can be right",
        "Delete the wrong ones, or train with --allow-leakage.",
    ),
    "leak": (
        "identical files in more than one split, which inflates validation and test scores",
        "Keep each in one split only (check --fix writes such a manifest), or train with --allow-leakage.",
    ),
    "near-across-classes": ("near-duplicates in more than one class", "Check which label is right."),
    "near-leak": (
        "near-duplicates in more than one split, which inflate validation and test scores",
        "Keep each in one split only (check --fix writes such a manifest).",
    ),
    "copies": ("duplicates (identical files)", "The split keeps them together; one of each is enough."),
    "near-copies": (
        "near-duplicates (e.g. resized or recompressed)",
        "imgreg keeps them together when it splits; one of each is enough.",
    ),
    "too-small": (
        f"photos smaller than {SMALLEST_PX} pixels",
        "They are enlarged and show little detail: find larger ones.",
    ),
    "one-colour": ("photos of a single colour", "Check that they are photos of the class."),
    "wrong-extension": ("files with the wrong extension", "Their format is detected from the content."),
    "animated": ("files with more than one frame", "Only the first frame is used."),
    "turned": (
        "photos rotated or mirrored by their EXIF orientation",
        "The orientation is applied, as in an image viewer.",
    ),
}


def connected(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Rows that pairs link, directly or through others, in groups.

    >>> connected([(1, 2), (5, 6), (2, 9)])
    [[1, 2, 9], [5, 6]]
    """
    group_of: dict[int, list[int]] = {}
    for pair in pairs:
        merged = sorted({row for one in pair for row in group_of.get(one, [one])})
        for row in merged:
            group_of[row] = merged
    return sorted({tuple(group): group for group in group_of.values()}.values())


def copies(photos: Sequence[Photo]) -> list[list[int]]:
    """Rows of photos with the same bytes, in groups of two or more."""
    rows: dict[str, list[int]] = defaultdict(list)
    for i, photo in enumerate(photos):
        rows[photo.sha256].append(i)
    return [group for group in rows.values() if len(group) > 1]


def _torn(
    groups: Iterable[Sequence[int]], photos: Sequence[Photo], key: Callable[[Photo], str | None]
) -> list[Sequence[int]]:
    return [group for group in groups if len({key(photos[i]) for i in group}) > 1]


def _whole(groups: Iterable[Sequence[int]], photos: Sequence[Photo]) -> list[Sequence[int]]:
    return [group for group in groups if len({(photos[i].label, photos[i].split) for i in group}) == 1]


def _groups(index: PhotoIndex, code: str, severity: Severity, groups: Sequence[Sequence[int]]) -> Finding | None:
    if not groups:
        return None
    says, advice = _WORDS[code]
    files = tuple(tuple(index.relative(index.photos[i]) for i in group) for group in groups)
    return Finding(code, severity, says, advice, files)


def _singles(index: PhotoIndex, code: str, severity: Severity, is_it: Callable[[Photo], bool]) -> Finding | None:
    return _groups(index, code, severity, [[i] for i, photo in enumerate(index.photos) if is_it(photo)])


def _left_out(index: PhotoIndex) -> Iterable[Finding]:
    for code, (says, advice) in _LEFT_OUT.items():
        bad = [skipped for skipped in index.skipped if skipped.code == code]
        if bad:
            files = tuple((index.relative(one),) for one in bad)
            yield Finding(code, "left out", says, advice, files, tuple(one.reason for one in bad))


def _imbalance(photos: Sequence[Photo], classes: Sequence[str]) -> Iterable[Finding]:
    counts = Counter(photo.label for photo in photos)
    most, least = max(classes, key=lambda c: counts[c]), min(classes, key=lambda c: counts[c])
    if counts[most] > IMBALANCE * counts[least]:
        says = f"class {most!r} has {counts[most]} photos, {least!r} has {counts[least]}"
        yield Finding("imbalance", "take care", says, "Add photos of the smaller class, and look at its recall.", ())
    few = [c for c in classes if counts[c] < FEW_PHOTOS]
    if few:
        says = ", ".join(f"class {c!r} has {counts[c]} photos" for c in few)
        advice = f"Add photos: fewer than {FEW_PHOTOS} per class show little; a hundred are a good start."
        yield Finding("few-photos", "take care", says, advice, ())


def _is_misnamed(photo: Photo) -> bool:
    suffix, kind = photo.path.suffix.lower(), photo.metadata.kind if photo.metadata else ""
    return not is_row(photo.where) and suffix not in _SUFFIXES.get(kind, {suffix})


def _side(photo: Photo) -> int:
    return min(photo.metadata.width, photo.metadata.height) if photo.metadata else SMALLEST_PX
