"""What a new daemon does with each session that a former one left: a pure decision.

The record says which keeper and which boot the child belonged to; the keeper says what it holds.
- An ended session stays as it is; a child that the keeper still holds for it is forgotten, or
  taken over again if leftovers were kept. One that waits for its next child goes on waiting.
- Same keeper: take the child over; a `starting` one that the keeper does not know was never
  spawned, so it is spawned now.
- Another keeper, same boot: the former keeper died, and nobody can know the exit status. What is
  left of the tree is killed.
- Another boot: `lost: reboot`.
"""

from __future__ import annotations

from enum import StrEnum

from supervisor.records import SessionRecord, State

__all__ = ["Adoption", "adoption_of"]


class Adoption(StrEnum):
    """What to do with one session at the start of a daemon."""

    KEEP = "keep"
    WAIT = "wait"
    TAKE = "take"
    SPAWN = "spawn"
    LOST_WITH_KEEPER = "keeper_died"
    LOST_IN_REBOOT = "reboot"


def adoption_of(record: SessionRecord, *, held: bool, keeper_id: str, boot_id: str) -> Adoption:
    """Decide for one record; `held` says whether the keeper holds its generation's child."""
    if record.state.over:
        nothing_held = Adoption.KEEP if record.state.ended else Adoption.WAIT
        return Adoption.TAKE if held else nothing_held
    if record.boot_id != boot_id:
        return Adoption.LOST_IN_REBOOT
    if record.keeper_id != keeper_id:
        return Adoption.LOST_WITH_KEEPER
    if held:
        return Adoption.TAKE
    return Adoption.SPAWN if record.state is State.STARTING else Adoption.LOST_WITH_KEEPER
