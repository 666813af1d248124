"""Members of a sharing group come to live in their owner's shard, also while they talk."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rater.charging.moves import MoveRefusal, MovingStore, finish_moves, move_account
from rater.errors import StoreError
from rater.ids import AccountId, Shard

NAMED = 5


async def finish_all(store: MovingStore, shards: int) -> None:
    """Moves left in the middle: only then do the accounts' stored shards say where they live."""
    for shard in map(Shard, range(shards)):
        await finish_moves(store, shard)


async def gather_groups(
    store: MovingStore,
    places: Mapping[AccountId, Shard],
    owner_of: Callable[[AccountId], AccountId | None],
    *,
    progress: Callable[[str], None] = lambda step: None,
) -> tuple[dict[AccountId, Shard], tuple[AccountId, ...]]:
    """Where all accounts live then, and who moved.

    Raises StoreError when live calls keep some where they are; the others have moved then, which changes nothing
    for them.
    """
    found, moved = dict(places), []
    refused: dict[AccountId, MoveRefusal] = {}
    for account, shard in places.items():
        owner = owner_of(account)
        if owner is None or places[owner] == shard:
            continue
        progress(f"{account} to shard {places[owner]}")
        refusal = await move_account(store, shard, account, places[owner])
        if refusal is None:
            found[account] = places[owner]
            moved.append(account)
        else:
            refused[account] = refusal
    if refused:
        named = "; ".join(f"{account}: {refusal}" for account, refusal in list(refused.items())[:NAMED])
        more = f" and {len(refused) - NAMED} more" if len(refused) > NAMED else ""
        raise StoreError(
            f"{len(refused)} accounts cannot come to the shard of their group's owner now ({named}{more})",
            hint="The old catalogue is still in force. Load it again when these calls have ended: rater calls.",
        )
    return found, tuple(moved)
