"""Until when a delivery is held."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fhir_server.deliveries.delivery import LATEST, due

RECEIVED = datetime(2026, 6, 15, 8, tzinfo=UTC)
CHINA = ZoneInfo("Asia/Shanghai")
ROWS: list[tuple[Any, int, datetime]] = [
    (None, 30, datetime(2026, 7, 15, 8, tzinfo=UTC)),
    ({}, 30, datetime(2026, 7, 15, 8, tzinfo=UTC)),
    ({"period": {"start": "2026-06-01"}}, 30, datetime(2026, 7, 15, 8, tzinfo=UTC)),
    ({"period": {"end": "2026-06-10T12:00:00Z"}}, 30, datetime(2026, 7, 10, 12, 0, 1, tzinfo=UTC)),
    ({"period": {"end": "2026-06-10"}}, 30, datetime(2026, 7, 10, 16, tzinfo=UTC)),  # the end of that day in China
    ({"period": {"end": "2026-06-20T00:00:00Z"}}, 1, datetime(2026, 6, 21, 0, 0, 1, tzinfo=UTC)),
    ({"period": {"end": "soon"}}, 1, datetime(2026, 6, 16, 8, tzinfo=UTC)),
    ({"period": {"end": "9999-12-31"}}, 30, LATEST),
]


@pytest.mark.parametrize(("encounter", "days", "until"), ROWS)
def test_it_is_held_so_many_days_after_the_visit_else_after_it_came(encounter: Any, days: int, until: datetime) -> None:
    assert due(encounter, RECEIVED, zone=CHINA, days=days) == until
