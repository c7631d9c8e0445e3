"""Units of work on Ray: one machine by itself, or a cluster that is already there.

LAM, dataset and output are opened by every worker, so on a cluster they lie on storage that all nodes see under one
path. Ray moves calls between the nodes in its own format: use it among machines that trust each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lara.config.trust import Trust, adopt, trusted
from lara.errors import ConfigError, LaraError, missing_extra
from lara.label.job import Job, Worker
from lara.label.local import ATTEMPTS


class _TrustingWorker(Worker):
    """A worker in a process of its own, which trusts what this one does."""

    def __init__(self, trust: Trust, job: Job, number: int) -> None:
        adopt(trust)
        super().__init__(job, number)


def run_ray(job: Job, units: Sequence[int], workers: int, address: str | None) -> Iterator[dict[str, int]]:
    """As `run_local`; a Ray that this call started is stopped when it ends.

    address: of a running cluster ("auto" finds the one of this machine); None starts one here, for this job alone.
    A worker that is killed is started again and does its unit again; a unit that fails three times, or any error that
    a worker raises, ends the run with LaraError. Raises MissingExtraError without Ray.
    """
    try:
        import ray
        from ray.util import ActorPool
    except ImportError as error:
        raise missing_extra("ray", "ray", "label.engine=ray") from error
    if workers < 1:
        raise ConfigError(f"label.engine=ray needs label.workers of at least 1, got {workers}")
    started = not ray.is_initialized()
    here: dict[str, Any] = {"num_cpus": workers * job.threads, "include_dashboard": False}
    try:
        if started:
            ray.init(address=address or "local", log_to_driver=False, **({} if address else here))
    except Exception as error:  # Ray raises bare Exceptions, RuntimeErrors and ConnectionErrors here
        raise LaraError(f"Ray ({address or 'local'}) did not start or answer: {error}") from error
    try:
        gpus = 1 if job.device == "cuda" else 0
        # a task of a dead actor is done again by the restarted one; a unit's file is written in one rename, so that
        # being done twice is the same as being done once
        options: dict[str, Any] = {"max_restarts": -1, "max_task_retries": ATTEMPTS - 1}
        remote = ray.remote(num_cpus=job.threads, num_gpus=gpus, **options)(_TrustingWorker)
        crew = [remote.remote(trusted(), job, number) for number in range(min(workers, len(units)))]
        try:
            yield from ActorPool(crew).map_unordered(lambda actor, unit: actor.run.remote(unit), list(units))
        except ray.exceptions.RayTaskError as error:
            raise LaraError(f"a worker on Ray failed: {error.cause}") from error
        except ray.exceptions.RayError as error:
            raise LaraError(f"Ray lost a worker for good: {error}. Finished units are kept; run again") from error
        finally:
            for actor in crew:
                ray.kill(actor)
    finally:
        if started:
            ray.shutdown()
