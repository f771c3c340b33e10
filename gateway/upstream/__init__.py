"""The teacher's side of the gateway: a strict HTTP/1.1 client over pooled connections.

Nothing is decoded, followed or tidied up; bytes go in and out as they are. Failures are values, see failures.
"""

from gateway.upstream.ask import Response, ask_teacher
from gateway.upstream.failures import Failure, UpstreamOutcome
from gateway.upstream.pool import Pool, Pools
from gateway.upstream.unusable import UpstreamUnusable

__all__ = ["Failure", "Pool", "Pools", "Response", "UpstreamOutcome", "UpstreamUnusable", "ask_teacher"]
