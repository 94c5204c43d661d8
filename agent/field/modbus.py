"""`modbus://HOST:502?unit=1`: Modbus TCP, with pymodbus (`pip install 'linemon[modbus]'`)."""

from __future__ import annotations

from agent.field.reader import Reader
from agent.field.readers import options
from agent.options import UsageError, address
from linemon_sender.registers import Register, together

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAN = float("nan")
TIMEOUT = 3.0  # seconds for each answer
QUESTIONS = {
    "coil": "read_coils",
    "discrete": "read_discrete_inputs",
    "input": "read_input_registers",
    "holding": "read_holding_registers",
}


class Modbus(Reader):
    """Asks for the registers of a spec; gives them and their values."""

    asks = True

    def __init__(self, rest: str) -> None:
        place, _, query = rest.partition("?")
        super().__init__(f"modbus {place}")
        try:
            from pymodbus.client import ModbusTcpClient
        except ImportError:
            raise UsageError("--read modbus:// needs pymodbus 3.10 or later: `pip install 'linemon[modbus]'`") from None
        unit = options(query, {"unit": "1"})["unit"]
        if not unit.isdigit() or int(unit) > 255:
            raise UsageError(f"--read: unit={unit} is not 0 to 255")
        host, port = address("--read modbus://", place if place.rpartition(":")[2].isdigit() else f"{place}:502")
        self._unit = int(unit)
        self._client: Any = ModbusTcpClient(host, port=port, timeout=TIMEOUT, retries=1)
        self._registers: list[Register] = []
        self._groups: list[list[Register]] = []

    def ask_for(self, registers: list[Register]) -> None:
        """Ask for these from now on."""
        self._registers, self._groups = registers, together(registers)
        self._changed.set()

    def read(self) -> None:
        from pymodbus import ModbusException

        registers, groups = self._registers, self._groups
        if not registers:
            return
        if not self._client.connected and not self._client.connect():
            raise OSError("no connection")
        values: dict[int, float] = {}
        try:
            for group in groups:
                values.update(self._values(group))
        except ModbusException as error:
            self._client.close()
            raise OSError(str(error).partition("] ")[2] or str(error)) from None
        self.give((registers, [values[id(each)] for each in registers]), is_whole=True)

    def _values(self, group: list[Register]) -> dict[int, float]:
        """Of each register, nan where the device refuses it. ModbusException where it does not answer."""
        first = group[0].first
        count = max([each.first + each.count for each in group]) - first
        answer = getattr(self._client, QUESTIONS[group[0].table])(first, count=count, device_id=self._unit)
        if not answer.isError():
            words = getattr(answer, "registers", None) or answer.bits
            return {id(each): each.value(words[each.first - first :][: each.count]) for each in group}
        if len(group) == 1:
            return {id(group[0]): NAN}
        self._groups = [other for other in self._groups if other is not group] + [[each] for each in group]
        return {key: value for each in group for key, value in self._values([each]).items()}
