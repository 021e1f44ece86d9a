"""Where the journal is that a verb is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.cli.directory import data_directory
from web4.cli.errors import CommandError
from web4.journal.errors import InvalidEventError, JournalOpenError
from web4.journal.lane import Lane

if TYPE_CHECKING:
    from pathlib import Path

    from web4.cli.options import Common
    from web4.journal.backends.backend import Backend
    from web4.journal.record import Head

_DATABASE: Final = "journal.db"
_MANIFEST: Final = "manifest.json"


def journal_directory(directory: Path | None, common: Common) -> Path:
    """The directory of the journal that is meant.

    Raises:
        CommandError: `usage`: two are named; `not_for_bundles`.
        JournalOpenError: `not_found`.
        OSError: It cannot be looked at.
    """
    named = _named(directory, common)
    if is_bundle(named):
        raise CommandError(f"{named} is a bundle", code="not_for_bundles")
    for place in (named, named / "journal"):
        if _is_there(place / _DATABASE):
            return place
    what = "there is no such directory"
    if _is_there(named):
        what = "there is no journal in it" if named.is_dir() else "it is no directory"
    raise JournalOpenError(f"{named}: {what}", code="not_found")


def journal_or_bundle(directory: Path | None, common: Common) -> tuple[Path, bool]:
    """As `journal_directory`; or that of a bundle, and that it is one."""
    named = _named(directory, common)
    if is_bundle(named):
        return named, True
    return journal_directory(directory, common), False


def is_bundle(path: Path) -> bool:
    """Whether a directory looks like an incident bundle."""
    return _is_there(path / _MANIFEST) and not _is_there(path / _DATABASE)


def _is_there(path: Path) -> bool:
    """Whether something is there; OSError if that cannot be seen."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _named(directory: Path | None, common: Common) -> Path:
    if directory is not None and common.data is not None:
        raise CommandError("a directory and --data are both given", code="usage")
    named = directory or data_directory(common)
    if any("\ud800" <= one <= "\udfff" for one in str(named)):
        raise CommandError(f"{str(named)!a} is not UTF-8", code="usage")
    return named


def parse_lane(name: str) -> Lane:
    """The lane of this name.

    Raises:
        InvalidEventError: `lane`.
    """
    try:
        return Lane.parse(name)
    except InvalidEventError:
        raise InvalidEventError(f"{name!r} is no lane's name", code="lane") from None


async def require_lane(source: Backend, lane: Lane) -> Head:
    """Where a lane ends that somebody has written.

    Raises:
        CommandError: `lane_not_found`.
    """
    head = await source.head(lane)
    if head.seq == 0:
        raise CommandError(f"nobody has written {lane} in this journal", code="lane_not_found")
    return head
