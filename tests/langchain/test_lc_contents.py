"""Documents, long texts and media: once per run, however many steps pass them on."""

from __future__ import annotations

import base64
import os
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from lc_support import ScriptedChat, Store, ai

from chopsky_trace import SupabaseTracer

PAGES = [Document(f"Page {n}. " + "Kelp holds much umami. " * 20, metadata={"source": f"{n}.md"}) for n in range(5)]
LONG = "A very long question. " * 200
IMAGE = os.urandom(30_000)


def contents(store: Store) -> list[dict[str, Any]]:
    return store.rows("select * from conversation_contents order by kind, created_at, id")


def chain(model: ScriptedChat) -> Any:
    prompt = ChatPromptTemplate.from_messages([("human", "{context}\n\n{question}")])
    return (
        RunnablePassthrough.assign(context=RunnableLambda(lambda _: PAGES))
        | RunnablePassthrough.assign(again=lambda found: found["context"][:2])
        | prompt
        | model
        | StrOutputParser()
    )


def test_documents_are_stored_once_per_run(store: Store, tracer: SupabaseTracer) -> None:
    chain(ScriptedChat(replies=[ai("In kelp.")])).invoke({"question": "Where is umami?"}, {"callbacks": [tracer]})
    assert tracer.flush(10)
    stored = contents(store)
    assert [row["kind"] for row in stored] == ["document"] * 5
    assert sorted(row["document"]["page_content"] for row in stored) == sorted(page.page_content for page in PAGES)
    assert {row["document"]["metadata"]["source"] for row in stored} == {f"{n}.md" for n in range(5)}
    payloads = store.rows("select inputs::text as i, outputs::text as o from conversation_spans")
    assert sum((row["i"] or "").count("$document") + (row["o"] or "").count("$document") for row in payloads) > 20
    assert not any("Kelp holds" in (row["i"] or "") + (row["o"] or "") for row in payloads)


def test_a_document_that_changes_is_another(store: Store, tracer: SupabaseTracer) -> None:
    page = Document("A page. " * 50, metadata={"seen": 0})

    def touch(found: list[Document]) -> list[Document]:
        found[0].metadata["seen"] += 1
        return found

    steps = RunnableLambda(lambda _: [page]) | RunnableLambda(touch) | RunnableLambda(touch)
    steps.invoke("go", {"callbacks": [tracer]})
    assert tracer.flush(10)
    assert sorted(row["document"]["metadata"]["seen"] for row in contents(store)) == [0, 1, 2]


def test_a_long_question_is_the_message_that_was_stored(store: Store, tracer: SupabaseTracer) -> None:
    model = ScriptedChat(replies=[ai("Short.")])
    (RunnablePassthrough() | (lambda asked: [HumanMessage(asked["question"])]) | model).invoke(
        {"question": LONG}, {"callbacks": [tracer]}
    )
    assert tracer.flush(10)
    assert [row["content"] for row in store.messages() if row["role"] == "user"] == [LONG]
    assert contents(store) == []
    (asked,) = {row["body_id"] for row in store.messages() if row["role"] == "user"}
    assert store.spans()[0]["inputs"] == {"question": {"$content": str(asked).replace("-", "")}}


def test_a_long_text_deep_in_a_state_is_stored_once(store: Store, tracer: SupabaseTracer) -> None:
    state = {"plan": {"notes": [LONG, {"more": LONG}]}}
    (RunnableLambda(lambda s: s) | RunnableLambda(lambda s: {**s, "top": LONG})).invoke(state, {"callbacks": [tracer]})
    assert tracer.flush(10)
    (row,) = contents(store)
    assert (row["kind"], row["text"]) == ("text", LONG)


@pytest.mark.parametrize("longest", [4_000_000, 20_000], ids=["short enough", "longer than a string may be"])
@pytest.mark.parametrize("kept", [False, True])
def test_an_image_is_stored_once_per_session(
    store: Store, database_url: str, kept: bool, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHOPSKY_TRACE_KEEP_MEDIA", str(kept).lower())
    monkeypatch.setenv("CHOPSKY_TRACE_MAX_FIELD_BYTES", str(longest))

    tracer = SupabaseTracer(database_url, session_id="pictures")
    url = "data:image/png;base64," + base64.b64encode(IMAGE).decode()
    asked = HumanMessage([{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}])
    model = ScriptedChat(replies=[ai("A bowl."), ai("Still a bowl.")])
    first = model.invoke([asked], {"callbacks": [tracer]})
    model.invoke([asked.model_copy(), first, HumanMessage("Really?")], {"callbacks": [tracer]})
    assert tracer.flush(10)
    (row,) = contents(store)
    assert (row["kind"], row["media_type"], row["size_bytes"]) == ("media", "image/png", len(IMAGE))
    assert row["data"] == (IMAGE if kept else None)
    (message,) = (m for m in store.messages() if m["parts"])
    assert message["parts"][1]["image_url"]["url"]["prefix"] == "data:image/png;base64,"
    assert base64.b64encode(IMAGE[:30]).decode() not in store.dump()


def test_documents_are_redacted_before_they_are_told(store: Store, database_url: str) -> None:
    tracer = SupabaseTracer(database_url, redact=lambda text: text.replace("Kelp", "[plant]"))
    chain(ScriptedChat(replies=[ai("In kelp.")])).invoke({"question": LONG + "Kelp"}, {"callbacks": [tracer]})
    assert tracer.flush(10)
    stored = contents(store)
    assert [row["kind"] for row in stored] == ["document"] * 5 + ["text"]
    assert "Kelp" not in store.dump()
