"""The parts of a store, wired: each is handed those that it uses, and none knows the store."""

from __future__ import annotations

from collections.abc import Callable

from aios_db.lifecycle.committing import Consolidating
from aios_db.lifecycle.compression.packing import pack
from aios_db.lifecycle.compression.texts import Compressing
from aios_db.lifecycle.evicting import Evicting
from aios_db.lifecycle.log_following import LogFollowing
from aios_db.lifecycle.quoting import Quoting
from aios_db.lifecycle.renewal import Renewal
from aios_db.lifecycle.taking_back import TakingBack
from aios_db.provenance.keeping import Quarantine, Rollback
from aios_db.store.adopting import Adopting
from aios_db.store.deferring import Deferring
from aios_db.store.erasing import Erasing
from aios_db.store.finishing import Finishing
from aios_db.store.forgetting import Forgetting
from aios_db.store.guarding import Guarding
from aios_db.store.link_writes import LinkWrites
from aios_db.store.maintenance import Maintenance
from aios_db.store.opened import OpenDatabase
from aios_db.store.reading import Reading
from aios_db.store.relinking import Relinking
from aios_db.store.transaction import Transactions
from aios_db.store.undoing import Undoing
from aios_db.store.upkeep import Upkeep
from aios_db.store.writes import Writes


class Parts:
    """What can be done with an open database, a part each.

    Parameters
    ----------
    database
        What all parts stand on.
    maintenance
        Told by those that leave something for later.
    without_scope
        See `Finishing`.
    """

    def __init__(
        self, database: OpenDatabase, maintenance: Maintenance, without_scope: Callable[[], None]
    ) -> None:
        guarding, relinking, quoting = Guarding(database), Relinking(database), Quoting(database)
        following = LogFollowing(database)
        finishing = Finishing(database, relinking, without_scope)
        changes = Transactions(database, finishing.finish, maintenance)
        self.transactions, self.reading = changes, Reading(database)
        self.deferring = Deferring(changes)
        self.writes = Writes(changes, guarding, relinking, quoting)
        self.link_writes = LinkWrites(changes, guarding, self.reading)
        self.forgetting = Forgetting(changes, guarding, relinking, quoting)
        self.erasing = Erasing(changes, self.forgetting, self.deferring, following.erased)
        self.quarantine = Quarantine(changes, guarding)
        self.adopting = Adopting(changes, self.quarantine.adopt)
        self.rollback = Rollback(changes, guarding, quoting)
        self.undoing = Undoing(changes, guarding, following)
        self.taking_back = TakingBack(changes, guarding, relinking, self.undoing, quoting)
        self.renewal = Renewal(changes, guarding, self.writes)
        self.consolidating = Consolidating(changes, guarding, relinking, self.renewal, self.taking_back)
        self.evicting = Evicting(changes, self.writes, self.erasing)
        self.compressing = Compressing(database)
        database.joint.clip.activated = changes.maintain_soon
        self.upkeep = Upkeep(changes, self.deferring, self.writes, self.erasing, pack)
