"""One commit for all writes of a loop round.

In: writers that wait. Out: the moment their changes are durable, or the error of the log. A thousand writes that
arrive together cost one transaction.
"""

import asyncio

from fairlead.cluster.apiserver.store import Store


class GroupCommit:
    """Commits a store at the end of the loop round in which something was staged."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._batch: asyncio.Future[None] | None = None

    async def settle(self) -> None:
        """Return when everything staged so far is durable; raise what the log raised where it is not."""
        if self._batch is None:
            if not self._store.staged:
                return
            loop = asyncio.get_running_loop()
            self._batch = loop.create_future()
            loop.call_soon(self._commit, self._batch)
        await asyncio.shield(self._batch)

    def _commit(self, batch: asyncio.Future[None]) -> None:
        self._batch = None
        try:
            self._store.commit()
        except Exception as error:  # handed to every writer of the batch, whatever it is
            batch.set_exception(error)
            batch.exception()
        else:
            batch.set_result(None)
