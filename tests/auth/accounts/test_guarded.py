"""What nobody foresaw: a page that says so, and a line in the log that tells nothing of anybody."""

from __future__ import annotations

import asyncio

import pytest
from pymongo.errors import ServerSelectionTimeoutError
from starlette.requests import Request
from starlette.responses import Response

from fhir_server.auth.accounts.wiring import guarded


@pytest.mark.parametrize(("problem", "status"), [(ValueError, 500), (ServerSelectionTimeoutError, 503)])
def test_a_failure_is_a_page_without_its_text(
    problem: type[Exception], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing(request: Request) -> Response:
        raise problem("张三 13800000000")

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/auth/sign-in",
        "headers": [],
        "query_string": b"",
        "server": None,
    }
    answer = asyncio.run(guarded(failing)(Request(scope)))
    assert answer.status_code == status
    assert "服务器暂时无法处理" in bytes(answer.body).decode()
    assert caplog.text
    assert "张三" not in caplog.text + bytes(answer.body).decode()
