"""The content of LangChain's messages, block by block: in one form, and compared."""

from __future__ import annotations

from typing import Any, cast

from langchain_core.messages import convert_to_openai_image_block, is_data_content_block


def as_traced(content: Any) -> Any:
    """Content as LangChain shows it to handlers of model calls; else one message would have two bodies."""
    if not isinstance(content, list):
        return content
    blocks = cast("list[Any]", content)
    found = [_block_as_traced(cast("dict[str, Any]", block)) if isinstance(block, dict) else block for block in blocks]
    return blocks if all(a is b for a, b in zip(found, blocks, strict=True)) else found


def _block_as_traced(block: dict[str, Any]) -> dict[str, Any]:
    kind = block.get("type")
    by_id = "file_id" in block or block.get("source_type") == "id"
    if kind == "image" and is_data_content_block(block) and not by_id:
        return convert_to_openai_image_block(block)
    if kind == "file" and "base64" in block and is_data_content_block(block):
        rest = {k: v for k, v in block.items() if k != "base64"}
        return {**rest, "data": block["base64"], "source_type": "base64"}
    if kind is None and len(block) == 1:
        (key,) = block
        return {"type": key, key: block[key]}
    return block


def copy_blocks(blocks: list[Any]) -> list[Any]:
    """A copy that keeps what `same_blocks` compares."""
    return [dict(cast("dict[Any, Any]", b)) if isinstance(b, dict) else b for b in blocks]


def same_blocks(copies: list[Any], blocks: Any) -> bool:
    """Whether the blocks still hold the very values that they had when they were copied."""
    if len(copies) != len(blocks):
        return False
    for copy, block in zip(copies, blocks, strict=True):
        if isinstance(copy, dict):
            fields = cast("dict[Any, Any]", copy)
            if not isinstance(block, dict):
                return False
            other = cast("dict[Any, Any]", block)
            if len(fields) != len(other) or any(other.get(k) is not v for k, v in fields.items()):
                return False
        elif copy is not block:
            return False
    return True
