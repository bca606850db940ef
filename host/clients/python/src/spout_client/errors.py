"""What a server refuses."""

from __future__ import annotations

import json
from typing import Any, List


class SpoutError(Exception):
    """An error that the server answered, or that kept it from answering."""

    def __init__(self, status: int, code: str, message: str, causes: List[str]) -> None:
        super().__init__(f"[{code}] {message}" if code else message)
        self.status = status
        """The HTTP status, or 0 where there was no answer."""
        self.code = code
        """The code, as in ``E0510``; ``spout explain`` has a page for each."""
        self.message = message
        self.causes = causes

    @classmethod
    def of_answer(cls, status: int, body: bytes) -> "SpoutError":
        """The error in an answer, whatever it holds."""
        try:
            problem: Any = json.loads(body)
            return cls(status, problem["code"], problem["message"], problem.get("causes", []))
        except (ValueError, KeyError, TypeError):
            return cls(status, "", f"status {status}: {body[:200].decode(errors='replace')}", [])
