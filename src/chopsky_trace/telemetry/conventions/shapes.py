"""What a message looks like: how one is told from other data, and where its fields are."""

from __future__ import annotations

from typing import Any, cast

from chopsky_trace.records import Role
from chopsky_trace.telemetry.conventions.media import Fields, kind_of
from chopsky_trace.telling.turns import ROLES

LANGCHAIN_TYPES = frozenset(
    (
        *("human", "ai", "system", "tool", "function", "chat", "developer"),
        *("HumanMessageChunk", "AIMessageChunk", "SystemMessageChunk", "ToolMessageChunk", "FunctionMessageChunk"),
    )
)
_CLASSES: dict[str, Role] = {
    "HumanMessage": "user",
    "AIMessage": "assistant",
    "SystemMessage": "system",
    "ToolMessage": "tool",
    "FunctionMessage": "tool",
}
_ITEM_CALLS = frozenset(("function_call", "custom_tool_call"))
ITEM_RESULTS = frozenset(("function_call_output", "custom_tool_call_output"))
SERVER_ITEMS = (
    *("web_search_call", "file_search_call", "code_interpreter_call", "computer_call", "image_generation_call"),
    *("local_shell_call", "mcp_call", "mcp_list_tools", "mcp_approval_request"),
)
ITEMS = frozenset((*_ITEM_CALLS, *ITEM_RESULTS, *SERVER_ITEMS, "reasoning", "message"))
"""What the Responses API makes of one turn: several items."""
TELLING = frozenset(("content", "parts", "contents", "tool_calls", "function_call", "tool_call_id"))


def unwrapped(fields: Fields) -> tuple[Fields, Role | None]:
    """A message's own fields, and its role where told: out of LangChain's constructors and such."""
    role: Role | None = None
    if "lc" in fields and fields.get("kwargs").__class__ is dict:
        path: Any = fields.get("id")
        name = path[-1] if path.__class__ is list and path and path[-1].__class__ is str else ""
        role = _CLASSES.get(name.removesuffix("Chunk"))
        fields = fields["kwargs"]
    elif fields.get("data").__class__ is dict and TELLING.isdisjoint(fields):
        role = _role(fields)
        fields = fields["data"]
    elif fields.get("message").__class__ is dict and TELLING.isdisjoint(fields):
        fields = fields["message"]
    return fields, role or _role(fields)


def _role(fields: Fields) -> Role | None:
    role: Any = fields.get("role")
    if role.__class__ is not str:
        role = fields.get("type")
    return ROLES.get(role) or ROLES.get(role.lower()) if role.__class__ is str else None


def is_pair(item: list[Any]) -> bool:
    """Whether it is LangChain's short form of a message, (role, content)."""
    return (
        len(item) == 2
        and item[0].__class__ is str
        and item[0] in ROLES
        and (item[1].__class__ is str or item[1].__class__ is list)
    )


def is_message(value: Any) -> bool:
    """Whether a payload's value is a message, and nothing else that looks a little like one."""
    if value.__class__ is not dict:
        return False
    fields = cast("Fields", value)
    if "lc" in fields:
        path: Any = fields.get("id")
        return path.__class__ is list and bool(path) and _class_of(path[-1]) and fields.get("kwargs").__class__ is dict
    if kind_of(fields) in LANGCHAIN_TYPES:
        inner: Any = fields.get("data")
        if inner.__class__ is dict and "content" in inner:
            return True
        return "content" in fields and ("role" in fields or "additional_kwargs" in fields or "id" in fields)
    role: Any = fields.get("role")
    return role.__class__ is str and role in ROLES and not TELLING.isdisjoint(fields)


def _class_of(name: Any) -> bool:
    return name.__class__ is str and name.removesuffix("Chunk").endswith("Message")


def is_item(fields: Fields) -> bool:
    """Whether it is an item of the Responses API other than a message."""
    kind = kind_of(fields)
    return kind in ITEMS and kind != "message" and "role" not in fields


def are_messages(items: list[Any]) -> bool:
    """Whether a payload's list is a list of messages."""
    if not items:
        return False
    first = items[0]
    if first.__class__ is list:
        return all(item.__class__ is list and is_pair(item) for item in items)
    strong = False
    for item in items:
        if is_message(item):
            strong = True
        elif not (item.__class__ is dict and kind_of(item) in ITEMS):
            return False
    return strong or any(item.get("call_id") for item in items)
