import io
import logging

from edge.log import EventFormatter


def test_a_logged_event_shows_its_fields() -> None:
    log = logging.getLogger("ringroad.test")
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    handler.setFormatter(EventFormatter())
    log.addHandler(handler)
    log.warning("peer_refused", extra={"vehicle_id": "v-01", "reason": "revoked"})
    log.removeHandler(handler)
    assert heard.getvalue() == "WARNING peer_refused vehicle_id=v-01 reason=revoked\n"
