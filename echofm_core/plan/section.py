"""Base of every configuration model: immutable, and an unknown key is an error."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Section(BaseModel):
    """One table of a plan or of a site's settings. Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    later: ClassVar[frozenset[str]] = frozenset()
    """Keys that plans of earlier versions lack: they are not written where they stand at their
    defaults, so that the hash of such a plan stays what it was."""

    @model_serializer(mode="wrap")
    def _without_later(self, rest: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = rest(self)
        for key in self.later:
            if getattr(self, key) == type(self).model_fields[key].get_default(
                call_default_factory=True
            ):
                values.pop(key, None)
        return values
