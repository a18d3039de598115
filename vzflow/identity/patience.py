"""How often a request is repeated, and how long is waited in between."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from vzflow.identity.kubernetes import ApiError, NoAnswerError

_Answer = TypeVar("_Answer")

#: Answers that may be others a moment later: too many requests, and the API server's or a proxy's own failures.
PASSING = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Patience:
    """
    Waits that double, each cut at random by up to a half so that many clients do not come back at once.

    Args:
        tries: Requests in all, the first included.
        first: Seconds of the first wait.
        longest: Seconds that no wait exceeds, whatever Retry-After says.
        sleep: Waits so many seconds.
    """

    tries: int = 5
    first: float = 0.5
    longest: float = 30.0
    sleep: Callable[[float], object] = time.sleep

    def wait(self, number: int, asked: float | None = None) -> None:
        """Wait after failure *number*, counted from 0; *asked*: seconds the API server named."""
        doubled = min(self.first * 2.0 ** min(number, 60), self.longest)
        self.sleep(max(doubled * random.uniform(0.5, 1.0), min(asked or 0.0, self.longest)))

    def answer(self, ask: Callable[[], _Answer]) -> _Answer:
        """
        Return what *ask* returns, asking again after failures that may pass.

        Raises:
            ApiError: The last of them, or one that will not pass.
            NoAnswerError: The last of them; at once where nobody is there.
        """
        for number in range(self.tries - 1):
            try:
                return ask()
            except ApiError as error:
                if error.status not in PASSING:
                    raise
                self.wait(number, error.retry_after)
            except NoAnswerError as error:
                if error.nobody:
                    raise
                self.wait(number)
        return ask()
