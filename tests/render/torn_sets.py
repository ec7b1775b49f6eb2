"""What a packet meets that is under way while a transaction is committed."""

from fairlead.nft.tables import SetContents, TableContents


class TornSets(dict[str, SetContents]):
    """The sets before a commit, and from some look on those after it."""

    def __init__(self, before: TableContents, after: TableContents, looks: int) -> None:
        super().__init__(after.sets | before.sets)
        self._after = after.sets
        self.left = looks

    def __getitem__(self, name: str) -> SetContents:
        self.left -= 1
        return super().__getitem__(name) if self.left >= 0 else self._after.get(name, super().__getitem__(name))
