"""What every table of settings shares: it is frozen, and a key that is unknown or has no effect is an error."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator


class Config(BaseModel):
    """A frozen table of settings; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def idle(self) -> dict[str, str]:
        """Settings that have no effect beside the others, each with the reason."""
        return {}

    @model_validator(mode="after")
    def _refuse_idle(self) -> Self:
        idle = self.idle()
        for name in sorted(idle.keys() & self.model_fields_set):
            raise ValueError(f"{name} would have no effect {idle[name]}: omit it")
        return self

    def rendered(self) -> dict[str, Any]:
        """Every setting that has an effect, as plain values for TOML or JSON; reading it back gives this again."""
        idle = self.idle()
        table: dict[str, Any] = {}
        for name, value in self:
            if name not in idle and value is not None:
                table[name] = _rendered(value)
        return table


def _rendered(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_rendered, value))
    return value.rendered() if isinstance(value, Config) else value
