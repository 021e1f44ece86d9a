"""What an extension written in Python imports (section 11 of the specification)."""

from __future__ import annotations

from web4.ext.context import Context, Decision, Question, Reply
from web4.ext.extension import Extension
from web4.ext.failures import Cancelled, DeclarationError, Failure
from web4.ext.hooks import (
    Allow,
    Annotate,
    Block,
    Cancel,
    Handled,
    LoopStep,
    ReplaceResult,
    ReplaceText,
    Rewrite,
    RunPoint,
    SessionFork,
    SessionSwitch,
    TextInput,
    ToolCall,
    ToolResult,
    TurnPoint,
    Veto,
)
from web4.ext.rules import Commit, Issue

__all__ = [
    "Allow",
    "Annotate",
    "Block",
    "Cancel",
    "Cancelled",
    "Commit",
    "Context",
    "Decision",
    "DeclarationError",
    "Extension",
    "Failure",
    "Handled",
    "Issue",
    "LoopStep",
    "Question",
    "ReplaceResult",
    "ReplaceText",
    "Reply",
    "Rewrite",
    "RunPoint",
    "SessionFork",
    "SessionSwitch",
    "TextInput",
    "ToolCall",
    "ToolResult",
    "TurnPoint",
    "Veto",
]
