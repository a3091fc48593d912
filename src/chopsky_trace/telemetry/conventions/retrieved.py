"""What a retriever was asked for, and the documents it found."""

from __future__ import annotations

from typing import Any, cast

from chopsky_trace.telemetry.conventions import flat
from chopsky_trace.telemetry.conventions.media import Fields
from chopsky_trace.telemetry.conventions.native import NativeSpan
from chopsky_trace.telemetry.conventions.plain import INPUTS, OUTPUTS, payload, told
from chopsky_trace.telemetry.conventions.reading import Reading
from chopsky_trace.telemetry.conventions.values import as_dict, as_float, loose, parsed, word


def retriever(span: NativeSpan, reading: Reading) -> None:
    query: Any = span.attributes.get("gen_ai.retrieval.query.text")
    if query is None:
        query = told(span, reading, ("db.query.text", "query", *INPUTS))
    reading.inputs = {"query": query} if query.__class__ is str else payload(query)
    documents = parsed(span, reading, "gen_ai.retrieval.documents")
    if documents is None:
        documents = told(span, reading, OUTPUTS)
    if documents.__class__ is dict and documents.get("documents").__class__ is list:
        documents = documents["documents"]
    if documents is None or documents.__class__ is str:
        lists = flat.listed(span.attributes)
        family = flat.RERANKED if flat.RERANKED in lists else flat.DOCUMENTS
        documents = lists[family].items if family in lists else documents
    if documents.__class__ is list:
        reading.outputs = [document(item) for item in cast("list[Any]", documents)]
    else:
        reading.outputs = payload(documents)


def document(item: Any) -> Any:
    """A retrieved document as LangChain has it: page_content and metadata; its score beside them."""
    if item.__class__ is str:
        return {"page_content": item, "metadata": {}, "type": "Document"}
    if item.__class__ is not dict:
        return item
    fields = cast("Fields", item)
    if fields.get("document").__class__ is dict:
        fields = {**fields["document"], **{k: v for k, v in fields.items() if k == "score"}}
    elif "lc" in fields and fields.get("kwargs").__class__ is dict:
        fields = fields["kwargs"]
    text = next((fields[k] for k in ("page_content", "content", "text") if fields.get(k).__class__ is str), None)
    found: Fields = {}
    if text is not None:
        found = {"page_content": text, "metadata": as_dict(loose(fields.get("metadata"))), "type": "Document"}
    elif fields.get("metadata"):
        found["metadata"] = loose(fields["metadata"])
    document_id = word(fields.get("id") or fields.get("doc_id"))
    if document_id:
        found["id"] = document_id
    score = as_float(fields.get("score"))
    if score is not None:
        found["score"] = score
    return found or fields
