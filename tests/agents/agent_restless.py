"""A cluster that does not rest: services and endpoints change, come and go."""

import asyncio
import random

from agent_machine import Machine, a_service, a_slice

SERVICES = 30


class Restless:
    """Changes services and their endpoints without end."""

    def __init__(self, machine: Machine, chance: random.Random) -> None:
        self._machine, self._chance = machine, chance
        self.endpoints: dict[int, list[str]] = {}

    async def change(self) -> None:
        """Give one service other endpoints, or take it away, or bring it back."""
        number = self._chance.randrange(SERVICES)
        name, world = f"s{number}", self._machine.world
        if number in self.endpoints and self._chance.random() < 0.2:
            del self.endpoints[number]
            await world.remove("services", name)
            return
        pods = self._chance.sample(range(2, 250), self._chance.randrange(1, 9))
        if number not in self.endpoints:
            await world.put("services", a_service(name, f"10.96.1.{number}"))
        self.endpoints[number] = [f"10.244.{1 + pod % 2}.{pod}" for pod in pods]
        await world.put("endpointslices", a_slice(name, *self.endpoints[number]))

    async def run(self) -> None:
        while True:
            await self.change()
            await asyncio.sleep(0)

    def addresses(self) -> set[str]:
        """The addresses of all backends there should be, those of the first service included."""
        return {"10.244.1.2", "10.244.2.2", *(each for found in self.endpoints.values() for each in found)}
