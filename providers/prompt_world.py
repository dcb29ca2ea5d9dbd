"""The few words that a small model knows, so that a prompt from outside its world gets an honest answer."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

_WORD: Final = re.compile(r"[^\W\d_]+")
_LISTED: Final = 8


class PromptWorld(BaseModel):
    """What a model's prompts are made of.

    `needs` are the things that a prompt should say, each with its words; `also` are other words that it may use;
    `example` is a sentence that says all of it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    example: str = Field(min_length=1)
    needs: Mapping[str, tuple[str, ...]]
    also: tuple[str, ...] = ()

    @property
    def words(self) -> frozenset[str]:
        """Every word that is known."""
        return frozenset(self.also).union(*self.needs.values())

    def warnings(self, prompt: str) -> Iterator[str]:
        """Name the words that are not known, and what the prompt leaves open."""
        heard = dict.fromkeys(_WORD.findall(prompt.lower()))
        strange = [word for word in heard if word not in self.words]
        if strange:
            listed = ", ".join(f"'{word}'" for word in strange[:_LISTED])
            more = " ..." if len(strange) > _LISTED else ""
            yield (
                f"The model does not know {listed}{more} and leaves that out: "
                f"it was trained on sentences such as '{self.example}'."
            )
        missing = [what for what, words in self.needs.items() if not heard.keys() & set(words)]
        if missing:
            yield f"The prompt does not say {', '.join(missing)}: the model chooses at random."
