"""Where imgreg keeps what it can compute again, and how places are named in files that are shared.

A report that is mailed must not name the sender's folders: its paths are shortened, with `~` for the home folder.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import platformdirs

STORES = "stores"  # in the cache folder: what was fetched from object stores, as scheme/bucket/key


def cache_folder() -> Path:
    """This machine's cache folder: $IMGREG_CACHE; where that is empty or an object store, the platform's own."""
    given = os.environ.get("IMGREG_CACHE")
    return Path(given) if given and not cache_store() else platformdirs.user_cache_path("imgreg")


def cache_store() -> str | None:
    """The address in $IMGREG_CACHE, where it names an object store; None for a folder."""
    given = os.environ.get("IMGREG_CACHE", "")
    return given.rstrip("/") if re.match(r"\w[\w+.-]+:/", given) else None  # a drive has one letter


def store_address(text: str | Path) -> str:
    """A path or a message, in which what was fetched from an object store has its address.

    >>> fetched = cache_folder() / "stores" / "s3" / "pets" / "1.jpg"
    >>> store_address(fetched), store_address(f"skipped {fetched}: empty"), store_address("1.jpg")
    ('s3://pets/1.jpg', 'skipped s3://pets/1.jpg: empty', '1.jpg')

    An address that was made a path has both slashes again.

    >>> store_address(Path("s3://pets/1.jpg"))
    's3://pets/1.jpg'
    """
    named, folder = re.sub(r"(?<![\w./\\-])(s3|gs|az):/(?!/)", r"\1://", str(text)), cache_folder() / STORES
    if STORES not in named:
        return named
    places = "|".join(re.escape(f"{one}{os.sep}") for one in (folder.absolute(), folder))
    found = rf"(?<![\w./\\-])(?:{places})(s3|gs|az){re.escape(os.sep)}([^:\n]*)"
    return re.sub(found, lambda one: f"{one[1]}://{one[2].replace(os.sep, '/')}", named)


def shared_path(path: str | Path) -> str:
    """A path as a shared file names it: a relative one as it is, one in the home folder from `~` on, others by name.

    What was fetched from an object store has its address there.

    >>> shared_path("photos/cats"), shared_path(Path.home() / "photos"), shared_path(Path("/mnt/photos").absolute())
    ('photos/cats', '~/photos', 'photos')
    """
    if (address := store_address(path)) != str(path) or not Path(path).is_absolute():
        return address
    for home in home_folders():
        if Path(path).is_relative_to(home):
            return (Path("~") / Path(path).relative_to(home)).as_posix()
    return Path(path).name


def found_path(path: str) -> Path:
    """The path that `shared_path` shortened to `~/...`; any other as it is."""
    return Path.home() / path[2:] if path.startswith("~/") else Path(path)


def shared_text(text: str, *folders: Path) -> str:
    """A message without the places that it names: `~` for the home folder, and each of `folders` by its name alone.

    >>> shared_text(f"{Path.home()}/x/a.jpg and /srv/pets/b.jpg are alike", Path("/srv/pets"))
    '~/x/a.jpg and pets/b.jpg are alike'
    """
    named = {str(each): folder.name for folder in folders for each in (folder.absolute(), folder.resolve())}
    named |= {str(home): "~" for home in home_folders()}
    for place in sorted(named, key=len, reverse=True):
        text = named[place].join(re.split(rf"(?<![\w.~-]){re.escape(place)}(?![\w-])", text))
    return text


def shared_command(command: str) -> str:
    """A command line, as a shell reads it, with its paths shortened; it still runs where they are in the home folder.

    >>> shared_command(f"imgreg train {shlex.quote(str(Path.home() / 'my photos'))} --weights={Path.home() / 'w.h5'}")
    "imgreg train ~/'my photos' --weights ~/w.h5"
    """
    try:
        words = shlex.split(command)
    except ValueError:  # no command that imgreg wrote
        return shared_text(command)
    return " ".join(_quoted(_shared_word(word)) for word in words)


def with_option(command: str, option: str, value: str, *, alias: str = "") -> str:
    """The command with one option changed, and without a name for its folder and how its result is printed.

    >>> with_option("imgreg train pets --lr 1 --name a --json", "--learning-rate", "0.1", alias="--lr")
    'imgreg train pets --learning-rate 0.1'
    """
    replaced = (option, alias or option, "--name")
    kept: list[str] = []
    skipping = False
    for word in shlex.split(command):
        if skipping:
            skipping = False
        elif word in replaced:
            skipping = True
        elif not word.startswith(tuple(f"{one}=" for one in replaced)) and word not in ("--json", "-q", "--quiet"):
            kept.append(word)
    return f"{shlex.join(kept)} {option} {value}"


def with_places_of(command: str, typed: Sequence[str]) -> str:
    """A shortened command, its places as the words of another command name them.

    >>> with_places_of("imgreg train pets --models m --lr 1", ["train", "/mnt/pets", "--models", "/mnt/m"])
    'imgreg train /mnt/pets --models /mnt/m --lr 1'
    """
    places = {shared_command(shlex.quote(word)): shlex.quote(word) for word in typed}
    return " ".join(places.get(word, word) for word in command.split(" "))


def _shared_word(word: str) -> str:
    """Paths may follow an option's = and be in a list."""
    parts = re.split(r"([=,])", word)
    return shared_text("".join(shared_path(part) if Path(part).is_absolute() else part for part in parts))


def _quoted(word: str) -> str:
    """As shlex.quote has it, but for ~, which a shell replaces only where it begins a word and is not quoted."""
    option, is_long, value = word.partition("=~")
    if is_long and re.fullmatch(r"--[\w-]+", option):
        return f"{option} {_quoted(f'~{value}')}"
    if word == "~" or word.startswith("~/"):
        return f"~/{shlex.quote(word[2:])}" if word[2:] else word
    return shlex.quote(word)


def path_from(folder: Path, path: Path) -> str:
    """A path as seen from a folder; whole where they lie on two drives, which Windows has.

    >>> path_from(Path("/srv/models/fixes"), Path("/srv/photos/a.jpg")) == os.path.join("..", "..", "photos", "a.jpg")
    True
    """
    try:
        return os.path.relpath(path, folder)
    except ValueError:
        return str(path.absolute())


def home_folders() -> tuple[Path, ...]:
    """The home folder as it is named and as it is; none where there is none, or where it is the root folder."""
    try:
        home = Path.home()
    except RuntimeError:
        return ()
    return tuple(each for each in dict.fromkeys((home, home.resolve())) if len(each.parts) > 1)
