"""Workers that serve many claims of AWS in memory in virtual time: a minute of waiting takes none.

Every request to AWS, and every wait, lets virtual time pass for one worker; it moves on when all of them wait. So the
order of requests, the pace of IAM and its throttling are as they would be with as many workers and that latency.
"""

from __future__ import annotations

import heapq
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from aws_s3_provisioner.pacing import Pacer
from aws_s3_provisioner.pending import PendingKeys
from aws_s3_provisioner.provisioner import AwsS3Provisioner
from aws_s3_provisioner.request import Patience
from libbucket import RetrySoon, Services
from testkit.aws_s3.fakes import HELD
from testkit.aws_s3.regional_s3 import RegionalS3, regional_s3

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from libbucket import BucketOptions

WORKERS = 8
"""A number that the concurrency limit of a class reaches within its first rounds."""

_LONGEST_BACK_OFF = 300.0


class VirtualTime:
    """A clock that moves on when all workers sleep.

    Args:
        workers: how many threads there are.
    """

    def __init__(self, workers: int) -> None:
        self.now = 0.0
        self._awake = workers
        self._sleepers: list[tuple[float, int, threading.Event]] = []
        self._count = 0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Lets so much time pass for the calling thread."""
        wakes = threading.Event()
        with self._lock:
            self._count += 1
            heapq.heappush(self._sleepers, (self.now + max(seconds, 0.0), self._count, wakes))
            self._fall_asleep()
        wakes.wait()

    def end(self) -> None:
        """The calling thread has no more to do."""
        with self._lock:
            self._fall_asleep()

    def _fall_asleep(self) -> None:
        self._awake -= 1
        if self._awake == 0 and self._sleepers:
            self.now, _, wakes = heapq.heappop(self._sleepers)
            self._awake += 1
            wakes.set()


@dataclass(kw_only=True)
class Fleet:
    """Claims, and the workers that serve them.

    Attributes:
        time: of everything.
        s3: AWS.
        provisioner: of all workers.
        bound: when each claim was bound, in seconds.
    """

    time: VirtualTime
    s3: RegionalS3
    provisioner: AwsS3Provisioner
    bound: list[float]

    def serve(self, requests: Sequence[BucketOptions]) -> None:
        """Binds all claims, as the core does: one worker for each, requeued after failures."""
        queue = [(0.0, number, 0) for number in range(len(requests))]
        lock = threading.Lock()
        threads = [threading.Thread(target=self._work, args=(queue, lock, requests)) for _ in range(WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(
        self, queue: list[tuple[float, int, int]], lock: threading.Lock, requests: Sequence[BucketOptions]
    ) -> None:
        while len(self.bound) < len(requests):
            with lock:
                due, number, failures = heapq.heappop(queue) if queue else (self.time.now + 1, -1, 0)
                if due > self.time.now and number >= 0:
                    heapq.heappush(queue, (due, number, failures))
                    number = -1
            if number < 0:
                self.time.sleep(0.1)
                continue
            try:
                self.provisioner.provision(requests[number])
                self.bound.append(self.time.now)
            except RetrySoon as error:
                delay = max(error.delay or 0.0, min(2.0**failures, _LONGEST_BACK_OFF))
                with lock:
                    heapq.heappush(queue, (self.time.now + delay, number, failures + 1))
        self.time.end()


@contextmanager
def fleet(*, latency: float) -> Iterator[Fleet]:
    """Workers beside AWS in memory, each of whose answers takes `latency` seconds."""
    time = VirtualTime(WORKERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pacer.__init__, "__defaults__", (time,))
        patch.setattr("aws_s3_provisioner.hooks.time.sleep", time.sleep)
        with regional_s3(time, before_answer=lambda: time.sleep(latency)) as s3:
            provisioner = AwsS3Provisioner(
                Services(read_secret=lambda *_: HELD),
                patience=Patience(sleep=time.sleep, clock=time),
                pending=PendingKeys(time),
            )
            yield Fleet(time=time, s3=s3, provisioner=provisioner, bound=[])
