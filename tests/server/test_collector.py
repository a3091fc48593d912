"""The Collector's configuration, and a request as a Collector sends it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from server.otlp_requests import request
from server.process import ROOT
from server.serving import PROTOBUF, running

from chopsky_trace.commands.serve import HOST, PORT

TOKEN = "the-collectors-own-token"


@pytest.fixture(scope="module")
def configuration() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "examples" / "otel_collector.yaml").read_text("utf-8"))


def test_it_sends_to_where_serve_listens(configuration: dict[str, Any]) -> None:
    address = urlsplit(configuration["exporters"]["otlphttp/chopsky"]["endpoint"])
    assert (address.scheme, address.hostname, address.port, address.path) == ("http", HOST, PORT, "")
    listening = configuration["receivers"]["otlp"]["protocols"].values()
    assert str(PORT) not in {each["endpoint"].rpartition(":")[2] for each in listening}


def test_its_pipelines_are_of_what_it_defines(configuration: dict[str, Any]) -> None:
    for pipeline in configuration["service"]["pipelines"].values():
        for part in ("receivers", "processors", "exporters"):
            assert set(pipeline[part]) <= set(configuration[part])


def test_what_it_sends_is_taken(configuration: dict[str, Any], tmp_path: Path) -> None:
    exporter = configuration["exporters"]["otlphttp/chopsky"]
    # Of several applications, each with a resource of its own.
    made = ExportTraceServiceRequest()
    for number in range(3):
        made.MergeFrom(request(2, trace_id=bytes([number + 1]) * 16))
        made.resource_spans[number].resource.attributes.add(key="service.name").value.string_value = f"service {number}"
    headers = {
        name: value.replace("${env:CHOPSKY_TRACE_SERVER_TOKEN}", TOKEN) for name, value in exporter["headers"].items()
    }
    headers |= {
        "Content-Type": PROTOBUF,
        "Content-Encoding": exporter["compression"],
        "User-Agent": "OpenTelemetry Collector Contrib/0.150.0 (linux/amd64)",
    }
    with running(tmp_path, token=TOKEN) as receiver:
        for signal in configuration["service"]["pipelines"]:
            body = gzip.compress(made.SerializeToString() if signal == "traces" else b"")
            response = receiver.client.post(f"/v1/{signal}", content=body, headers=headers)
            assert (response.status_code, response.content) == (200, b"")
        assert receiver.journalled() == 6
