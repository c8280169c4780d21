import io
import logging
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cli.log import EventFormatter, print_traceback

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ([A-Z]+ .*)\n")


def logged(event: str, *, exc_info: BaseException | None = None, **fields: object) -> str:
    """Log one event and give what a reader of stderr sees."""
    log = logging.getLogger("ringroad.test")
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    handler.setFormatter(EventFormatter())
    log.addHandler(handler)
    log.warning(event, extra=fields, exc_info=exc_info)
    log.removeHandler(handler)
    return heard.getvalue()


def test_a_logged_event_shows_its_time_and_its_fields() -> None:
    match = LINE.fullmatch(logged("peer_refused", vehicle_id="v-01", reason="revoked"))
    assert match and match[1] == "WARNING peer_refused vehicle_id=v-01 reason=revoked"


def test_the_time_of_an_event_is_utc_to_the_millisecond() -> None:
    record = logging.makeLogRecord({"levelname": "INFO", "msg": "x", "created": 1_800_000_000.25})
    assert EventFormatter().format(record) == "2027-01-15T08:00:00.250Z INFO x"
    stamp = datetime.fromisoformat(logged("now").split(" ", 1)[0])
    assert abs((datetime.now(UTC) - stamp).total_seconds()) < 60.0


def test_the_words_of_a_peer_forge_no_line_and_steer_no_terminal() -> None:
    said = logged("report_refused", reason="bad\nWARNING clip_received\x1b[2J\x9b1m\u202e")
    assert said.endswith(r"reason=bad\nWARNING clip_received\x1b[2J\x9b1m\u202e" + "\n")
    assert said.count("\n") == 1


def test_a_traceback_follows_its_event_and_no_line_of_it_looks_like_one() -> None:
    try:
        raise ValueError("bad\n2027-01-15T08:00:00.250Z WARNING clip_received\x1b[2J")
    except ValueError as error:
        said = logged("request_failed", exc_info=error)
    first, *rest = said.splitlines()
    assert LINE.fullmatch(first + "\n")
    assert rest[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in rest)
    assert "\x1b" not in said


def test_a_traceback_on_the_terminal_obeys_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("bad \x1b]0;owned\x07")
    except ValueError:
        print_traceback()
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):\n")
    assert said.endswith("ValueError: bad \\x1b]0;owned\\x07\n")


@given(event=st.text(), value=st.text(st.characters()))
def test_an_event_is_one_line_that_can_be_written_whatever_its_words(
    event: str, value: str
) -> None:
    said = logged("%s", exc_info=None, field=value) + logged(event.replace("%", "%%"))
    said.encode()
    assert len(said.splitlines()) == 2
    assert all(line.isprintable() for line in said.splitlines())
