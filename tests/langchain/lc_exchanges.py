"""The exchanges of this project's own cassettes. Run as a program it records them anew against `lc_openai_server`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import vcr
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from lc_support import find_recipe

CASSETTES = Path(__file__).parent / "cassettes"
# The port is another one at every recording.
RECORDED_URL = "http://openai.test/v1"
KEPT_HEADERS = {"content-type", "content-length"}


def chat(url: str, **fields: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model=fields.pop("model", "gpt-4o-mini"),
        base_url=url,
        api_key="none",
        max_retries=0,
        use_responses_api=False,
        **fields,
    )  # type: ignore[arg-type]  # its own Secret type


def plain(url: str, config: Any) -> None:
    chat(url).invoke("How do I make ramen?", config)


def stream(url: str, config: Any) -> None:
    for _ in chat(url, stream_usage=True).stream("How do I make ramen?", config):
        pass


def stream_without_usage(url: str, config: Any) -> None:
    for _ in chat(url, stream_usage=False).stream("How do I make ramen?", config):
        pass


def agent(url: str, config: Any) -> None:
    from langchain.agents import create_agent

    create_agent(chat(url), [find_recipe]).invoke({"messages": [HumanMessage("How do I make ramen?")]}, config)


def refused(url: str, config: Any) -> None:
    import openai

    try:
        chat(url, model="refuse").invoke("How do I make ramen?", config)
    except openai.RateLimitError:
        return
    raise AssertionError("the server did not refuse")


EXCHANGES: dict[str, Callable[[str, Any], None]] = {
    "plain": plain,
    "stream": stream,
    "stream_without_usage": stream_without_usage,
    "agent": agent,
    "refused": refused,
}


def recorder(mode: str) -> Any:
    """A vcr that keeps nothing of the machine it recorded on."""

    def request(kept: Any) -> Any:
        kept.headers = {name: value for name, value in kept.headers.items() if name.lower() in KEPT_HEADERS}
        kept.uri = RECORDED_URL + kept.uri.split("/v1", 1)[1]
        return kept

    def response(kept: Any) -> Any:
        kept["headers"] = {name: value for name, value in kept["headers"].items() if name.lower() in KEPT_HEADERS}
        return kept

    return vcr.VCR(
        cassette_library_dir=str(CASSETTES),
        record_mode=mode,
        match_on=["method", "host", "path"],
        before_record_request=request,
        before_record_response=response,
        decode_compressed_response=True,
    )


if __name__ == "__main__":
    from lc_openai_server import openai_server

    CASSETTES.mkdir(exist_ok=True)
    for name, exchange in EXCHANGES.items():
        (CASSETTES / f"{name}.yaml").unlink(missing_ok=True)
        with openai_server() as base, recorder("once").use_cassette(f"{name}.yaml"):
            exchange(base, {})
