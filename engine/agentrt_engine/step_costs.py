"""What an engine's steps cost, learned while it runs.

    step = fixed + decode·(KV tokens of the decode batch) + sequence·(turns that decode)
           + token·(prefilled tokens) + position·(sum of their positions)

Weighted least squares on relative errors: a step of a millisecond counts as much as one of a
second. Old steps are forgotten exponentially. Steps with and without prefill are kept apart and
each kind is forgotten by its own steps only, so that an hour of decoding does not erase what
prefill costs. Nothing here depends on a clock or on chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from agentrt_engine.errors import SettingError
from agentrt_engine.least_squares import solve_nonnegative
from agentrt_engine.policy.protocol import Costs

SNAPSHOT_VERSION = 1

#: Steps after which an observation counts half; of its own kind.
HALF_LIFE_STEPS = 4000
#: How many steps the costs given at construction weigh.
PRIOR_STEPS = 2.0

#: The least weight of a prior coefficient, as the root of its share.
_LEAST_PRIOR = 0.1

_FEATURES = 5
#: A step without prefill has these of them: fixed, decode, sequence.
_DECODE_FEATURES = 3

#: Solving takes some 50 µs, observing 2: new coefficients come at most so many steps apart.
_SOLVE_EVERY = 256
#: An error beyond this many times the usual one weighs less (Huber, 1964).
_HUBER = 3.0
#: Of a step that took fifty times as long as expected, or a fiftieth.
_LARGEST_ERROR = 2.0
_LEAST_SPREAD = 0.01
_FIRST_SPREAD = 0.3
_SPREAD_RATE = 0.01
#: Shorter and longer steps, in seconds, are none: a suspended machine or a clock that jumped.
_SHORTEST_STEP_S = 1e-7
_LONGEST_STEP_S = 1e4
#: Weights grow instead of old sums shrinking; the sums are scaled back from there.
_LARGEST_GROWTH = 2.0**40
#: No sum gets near; what is larger was damaged, and its products would overflow.
_LARGEST_SAVED = 1e100


class StepCosts:
    """An online estimate of an engine's `Costs`.

    Args:
        prior: costs to begin with; what no step says anything about stays as it is here.
        prior_steps: how many steps the prior weighs.
        half_life_steps: how fast steps are forgotten.
    """

    __slots__ = (
        "_coefficients",
        "_costs",
        "_decode",
        "_grow",
        "_prefill",
        "_prior",
        "_prior_steps",
        "_solve_at",
        "_spread",
        "_steps",
    )

    def __init__(
        self,
        prior: Costs,
        *,
        prior_steps: float = PRIOR_STEPS,
        half_life_steps: float = HALF_LIFE_STEPS,
    ) -> None:
        self._prior = prior
        self._prior_steps = prior_steps
        self._grow = 2.0 ** (1 / half_life_steps)
        self._coefficients = _coefficients(prior)
        self._costs = prior
        self._decode = _Sums.empty(_DECODE_FEATURES)
        self._prefill = _Sums.empty(_FEATURES)
        self._spread = _FIRST_SPREAD
        self._steps = 0
        self._solve_at = 1

    @property
    def steps(self) -> int:
        """Observed so far, those before a restart included."""
        return self._steps

    def costs(self) -> Costs:
        """The costs as known by now; free to call."""
        return self._costs

    def observe(
        self,
        seconds: float,
        kv_tokens: float,
        prefill_tokens: float,
        prefill_positions: float,
        sequences: float = 0.0,
    ) -> None:
        """One step of the engine.

        Args:
            seconds: it took; a step that took no time or hours is ignored.
            kv_tokens: KV tokens of the turns that decoded in it.
            prefill_tokens: tokens prefilled in it, and prefill_positions: the sum of their
                positions, which is n·first + n·(n − 1)/2 for n tokens from position `first` on.
            sequences: turns that decoded in it.
        """
        if not _SHORTEST_STEP_S < seconds < _LONGEST_STEP_S:
            return
        fixed, decode, sequence, token, position = self._coefficients
        expected = fixed + decode * kv_tokens + sequence * sequences
        if prefill_tokens:
            expected += token * prefill_tokens + position * prefill_positions
        # Relative to what was expected, but never off by more than a factor of two: neither a
        # stall nor a prior of another machine may weigh a hundred times what other steps weigh.
        unit = min(max(expected, seconds * 0.5), seconds * 2.0)
        error = min(abs(seconds - expected) / unit, _LARGEST_ERROR)
        spread = self._spread
        trust = 1.0
        if error > _HUBER * spread:
            trust = _HUBER * spread / error
            error = min(error, 2 * _HUBER * spread)
        self._spread = max(_LEAST_SPREAD, spread + _SPREAD_RATE * (error - spread))
        sums = self._prefill if prefill_tokens else self._decode
        weight = sums.next_weight(self._grow, trust) / (unit * unit)
        sums.add_decode(weight, seconds, kv_tokens, sequences)
        if prefill_tokens:
            sums.add_prefill(
                weight, seconds, kv_tokens, sequences, prefill_tokens, prefill_positions
            )
        self._steps += 1
        if self._steps >= self._solve_at:
            self._solve()

    def snapshot(self) -> dict[str, Any]:
        """What was learned, for `restore`; JSON can hold it."""
        return {
            "version": SNAPSHOT_VERSION,
            "prior": {field: value for field, value in asdict(self._prior).items() if value},
            "prior_steps": self._prior_steps,
            "grow": self._grow,
            "steps": self._steps,
            "solve_at": self._solve_at,
            "spread": self._spread,
            "coefficients": list(self._coefficients),
            "decode": self._decode.snapshot(),
            "prefill": self._prefill.snapshot(),
        }

    @classmethod
    def restore(cls, data: Mapping[str, Any]) -> StepCosts:
        """The estimate that a snapshot was made of.

        Raises:
            SettingError: the data are of another version or damaged.
        """
        try:
            if data["version"] != SNAPSHOT_VERSION:
                raise ValueError(f"version {data['version']!r}, expected {SNAPSHOT_VERSION}")
            restored = cls(_prior(data["prior"]))
            restored._prior_steps, grow = _numbers([data["prior_steps"], data["grow"]], 2)
            restored._grow = max(1.0, grow)
            restored._steps = _count(data["steps"])
            restored._solve_at = min(_count(data["solve_at"]), restored._steps + _SOLVE_EVERY)
            restored._spread = max(_LEAST_SPREAD, _numbers([data["spread"]], 1)[0])
            restored._take(_numbers(data["coefficients"], _FEATURES))
            restored._decode = _Sums.restore(data["decode"], _DECODE_FEATURES)
            restored._prefill = _Sums.restore(data["prefill"], _FEATURES)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SettingError(
                f"saved step costs are unusable: {error}",
                hint="delete them: they are learned again",
            ) from error
        return restored

    def _solve(self) -> None:
        matrix = [[0.0] * _FEATURES for _ in range(_FEATURES)]
        right = [0.0] * _FEATURES
        self._decode.add_to(matrix, right)
        self._prefill.add_to(matrix, right)
        prefills = self._prefill.weight_of_steps()
        steps = prefills + self._decode.weight_of_steps()
        prior = zip(_coefficients(self._prior), self._coefficients, strict=True)
        for index, (value, now) in enumerate(prior):
            # As if so many steps had said it, each with what the feature usually adds to a step.
            # A prior that turns out far too large, of a slower machine, counts less.
            seen = steps if index < _DECODE_FEATURES else prefills
            square = matrix[index][index]
            doubt = min(1.0, max(_LEAST_PRIOR, now / value)) if value else 1.0
            weight = doubt * doubt * self._prior_steps * square / seen if square else 1.0
            matrix[index][index] += weight
            right[index] += weight * value
        self._take(solve_nonnegative(matrix, right, self._coefficients))
        self._solve_at = self._steps + min(_SOLVE_EVERY, max(1, self._steps // 2))

    def _take(self, coefficients: list[float]) -> None:
        fixed, decode, sequence, token, position = coefficients
        self._coefficients = (fixed, decode, sequence, token, position)
        self._costs = replace(
            self._prior,
            fixed_s=fixed,
            decode_s=decode,
            sequence_s=sequence,
            prefill_s=token,
            position_s=position,
        )


class _Sums:
    """Weighted normal equations of steps of one kind.

    Attributes:
        growth: weight of the newest step; everything counts relative to it.
        steps: Σ of the weights before they are made relative.
        squares: Σ w·fᵢ·fⱼ, the lower triangle row by row.
        products: Σ w·fᵢ·seconds.
    """

    __slots__ = ("growth", "products", "squares", "steps")

    def __init__(
        self, growth: float, steps: float, squares: list[float], products: list[float]
    ) -> None:
        self.growth = growth
        self.steps = steps
        self.squares = squares
        self.products = products

    @classmethod
    def empty(cls, size: int) -> _Sums:
        return cls(1.0, 0.0, [0.0] * (size * (size + 1) // 2), [0.0] * size)

    def next_weight(self, grow: float, trust: float) -> float:
        """The weight of one more step."""
        if self.growth > _LARGEST_GROWTH:
            self._scale_back()
        self.growth *= grow
        weight = self.growth * trust
        self.steps += weight
        return weight

    def weight_of_steps(self) -> float:
        """As how many new steps all of them count."""
        return self.steps / self.growth

    # Written out: this runs in the engine's loop.

    def add_decode(self, weight: float, seconds: float, kv: float, turns: float) -> None:
        """A step with the features 1, kv and turns."""
        squares, products = self.squares, self.products
        of_kv, of_turns = weight * kv, weight * turns
        squares[0] += weight
        squares[1] += of_kv
        squares[2] += of_kv * kv
        squares[3] += of_turns
        squares[4] += of_turns * kv
        squares[5] += of_turns * turns
        products[0] += weight * seconds
        products[1] += of_kv * seconds
        products[2] += of_turns * seconds

    def add_prefill(
        self,
        weight: float,
        seconds: float,
        kv: float,
        turns: float,
        tokens: float,
        positions: float,
    ) -> None:
        """What the features tokens and positions add to a step."""
        squares, products = self.squares, self.products
        of_tokens, of_positions = weight * tokens, weight * positions
        squares[6] += of_tokens
        squares[7] += of_tokens * kv
        squares[8] += of_tokens * turns
        squares[9] += of_tokens * tokens
        squares[10] += of_positions
        squares[11] += of_positions * kv
        squares[12] += of_positions * turns
        squares[13] += of_positions * tokens
        squares[14] += of_positions * positions
        products[3] += of_tokens * seconds
        products[4] += of_positions * seconds

    def _scale_back(self) -> None:
        scale = 1.0 / self.growth
        self.squares = [value * scale for value in self.squares]
        self.products = [value * scale for value in self.products]
        self.steps *= scale
        self.growth = 1.0

    def add_to(self, matrix: list[list[float]], right: list[float]) -> None:
        """Add these equations, the newest step at its full weight."""
        scale = 1.0 / self.growth
        for row, product in enumerate(self.products):
            right[row] += product * scale
            for column in range(row + 1):
                value = self.squares[row * (row + 1) // 2 + column] * scale
                matrix[row][column] += value
                if column != row:
                    matrix[column][row] += value

    def snapshot(self) -> dict[str, Any]:
        return {
            "growth": self.growth,
            "steps": self.steps,
            "squares": self.squares[:],
            "products": self.products[:],
        }

    @classmethod
    def restore(cls, data: Mapping[str, Any], size: int) -> _Sums:
        """Raises: KeyError, TypeError, ValueError."""
        growth, steps = _numbers([data["growth"], data["steps"]], 2)
        squares = _numbers(data["squares"], size * (size + 1) // 2)
        return cls(max(1.0, growth), steps, squares, _numbers(data["products"], size))


def _coefficients(costs: Costs) -> tuple[float, float, float, float, float]:
    return costs.fixed_s, costs.decode_s, costs.sequence_s, costs.prefill_s, costs.position_s


def _prior(data: Mapping[str, Any]) -> Costs:
    """Costs of which zeros are left out. Raises: KeyError, TypeError, ValueError."""
    known = {field.name: 0.0 for field in fields(Costs) if field.name != "host_s"}
    given = dict(zip(data, _numbers(list(data.values()), len(data)), strict=True))
    return Costs(**{**known, **given})


def _numbers(values: Any, count: int) -> list[float]:
    """So many finite numbers, none negative. Raises: TypeError, ValueError."""
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"{values!r}: expected {count} numbers")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{value!r}: expected a number")
        if not 0.0 <= value < _LARGEST_SAVED:
            raise ValueError(f"{value!r}: expected a number from 0 to {_LARGEST_SAVED}")
    return [float(value) for value in values]


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r}: expected a whole number >= 0")
    return value
