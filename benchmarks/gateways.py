"""The peers as they are run: a configuration file, a command, a port."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from benchmarks import packages
from benchmarks.processes import running

_LITELLM = """
model_list:
  - model_name: teacher
    litellm_params:
      model: openai/teacher
      api_base: http://127.0.0.1:{teacher}/v1
      api_key: none
      silent_model: student
  - model_name: student
    litellm_params: {{model: openai/student, api_base: "http://127.0.0.1:{target}/v1", api_key: none}}
general_settings:
  dangerously_permit_weak_or_unset_master_key: true
"""


@contextmanager
def running_envoy(folder: Path, port: int, teacher: int, target: int) -> Iterator[int]:
    """One worker: two share the load over more, smaller wake-ups and cost more a request."""
    path = folder / "envoy.json"
    path.write_bytes(orjson.dumps(_envoy(port, teacher, target)))
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    command = [str(packages.envoy()), "-c", str(path), *options]
    with running(command, folder / "envoy.log", port) as pid:
        yield pid


@contextmanager
def running_litellm(folder: Path, port: int, teacher: int, target: int) -> Iterator[int]:
    """No database, no callbacks, one worker, no access lines written but to a file."""
    path = folder / "litellm.yaml"
    path.write_text(_LITELLM.format(teacher=teacher, target=target))
    command = [str(packages.litellm()), "--config", str(path), "--host", "127.0.0.1", "--port", str(port)]
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # the price list of the package, none from the network
        "LITELLM_LOG": "ERROR",
    }
    with running(command, folder / "litellm.log", port, environment) as pid:
        yield pid


@contextmanager
def running_portkey(folder: Path, port: int) -> Iterator[int]:
    """It has no mirror: callers name the upstream in headers."""
    command = ["node", str(packages.portkey()), f"--port={port}", "--headless"]
    environment = {**os.environ, "NODE_ENV": "production"}
    with running(command, folder / "portkey.log", port, environment) as pid:
        yield pid


def portkey_headers(teacher: int) -> dict[str, str]:
    return {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{teacher}/v1",
        "Authorization": "Bearer none",
    }


def _envoy(port: int, teacher: int, target: int) -> dict[str, object]:
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
        "HttpConnectionManager",
        "stat_prefix": "ingress",
        "route_config": {"virtual_hosts": [_virtual_host()]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
    }
    listener = {
        "name": "callers",
        "address": _address(port),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    clusters = [_cluster("teacher", teacher), _cluster("target", target)]
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


def _virtual_host() -> dict[str, object]:
    route = {"cluster": "teacher", "request_mirror_policies": [{"cluster": "target"}]}
    return {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}


def _cluster(name: str, port: int) -> dict[str, object]:
    endpoint = {"endpoint": {"address": _address(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
