"""Ray Train backend that tells TensorFlow which workers train together."""

import json
import os
from dataclasses import dataclass
from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig


@dataclass
class TensorFlowConfig(BackendConfig):
    """Configuration that gives every worker of a Ray Train run its TF_CONFIG, without importing TensorFlow here."""

    @property
    def backend_cls(self) -> type[Backend]:
        """Class that sets up the worker group."""
        return _TensorFlowBackend


class _TensorFlowBackend(Backend):
    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:  # noqa: ANN401
        workers = worker_group.execute(_free_address)
        ray.get(
            [
                worker_group.execute_single_async(index, _set_tf_config, workers=workers, index=index)
                for index in range(len(worker_group))
            ]
        )


def _free_address() -> str:
    from ray.train._internal.utils import get_address_and_port

    host, port = get_address_and_port()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _set_tf_config(workers: list[str], index: int) -> None:
    config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
    os.environ["TF_CONFIG"] = json.dumps(config)
