"""What a benchmark reports."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured value. `aim` is `(">=", 0.45)` or `("<=", 15.0)`, or None for what is only shown."""

    name: str
    value: float
    unit: str = ""
    aim: tuple[str, float] | None = None

    @property
    def good(self) -> bool:
        if self.aim is None:
            return True
        sense, bound = self.aim
        return self.value >= bound if sense == ">=" else self.value <= bound

    def __str__(self) -> str:
        text = f"{self.name:<62} {self.value:>10,.2f} {self.unit:<8}"
        if self.aim is None:
            return text.rstrip()
        return f"{text} aim {self.aim[0]} {self.aim[1]:g}  {'ok' if self.good else 'MISSED'}"


def percentile(values: list[float], share: float) -> float:
    """The value that `share` (0 to 1) of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
