"""Overheard conversations laid out with the chat tokens, so that the base model has met them; nobody is given instructions in them."""

from __future__ import annotations

from ..pen import Pen
from .dialogues import turns


def dialogue_turns(pen: Pen) -> str:
    """Who speaks first is the user, everybody else the assistant; an assistant turn ends like a document."""
    spoken = turns(pen)
    first = spoken[0][0]
    return "".join(f"<|user|>{sentence}" if name == first else f"<|assistant|>{sentence}<|eos|>" for name, sentence in spoken)


GENRES = {"dialogue_turns": dialogue_turns}
