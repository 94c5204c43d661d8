"""Times as records have them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import tzinfo

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
UNITS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (float("inf"), 1e9))  # below which a number counts so many a second


class Stamp:
    """What a format and a zone make of a text; without a format it is ISO 8601, or a number since the epoch."""

    def __init__(self, form: str, zone: str) -> None:
        """`form` as strptime takes it, or empty; `zone`: IANA's name. ValueError, with the key."""
        try:
            datetime.strptime(EPOCH.strftime(form), form) if form else None  # noqa: DTZ007 - the zone comes later
        except (ValueError, IndexError) as error:
            raise ValueError(f"format = {form!r}: {error}") from None
        self._form, self._zone = form, _zone(zone)

    def __call__(self, said: object, which: str = "") -> float:
        """Seconds since the epoch. `which`: W or S, for an hour that comes twice; else it is the first. ValueError."""
        if isinstance(said, str) and not self._form:
            text = said.strip()
            try:
                said = float(text)
            except ValueError:
                said = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in "Zz" else text)
        elif self._form:
            said = datetime.strptime(str(said).strip(), self._form)  # noqa: DTZ007 - the zone follows
        if isinstance(said, datetime):
            if said.tzinfo is None:
                said = said.replace(tzinfo=self._zone, fold=int(which.upper() == "W"))
            seconds = (said - EPOCH) / timedelta(seconds=1)
        elif isinstance(said, (int, float)) and not isinstance(said, bool):
            seconds = said / next(unit for below, unit in UNITS if not said >= below) if abs(said) < 1e300 else -1.0
        else:
            raise ValueError(f"{said!r} is no time")
        if not 0 <= seconds < 9e9:
            raise ValueError(f"{said!r} is no time from 1970 on")
        return seconds


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return timezone.utc
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise ValueError(f"zone = {name!r}: this machine knows no such zone; is tzdata installed?") from None
