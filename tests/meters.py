"""Devices as the field has them, for tests: telegrams, written after the examples of the standards."""

from __future__ import annotations

from linemon_sender.records import crc16

P1_SERIAL = "K8EG004046395507"  # as it stands there in hexadecimal


def p1(
    power_kw: float = 1.193, stamp: str = "101209113020W", head: str = r"/ISk5\2M550E-1012", version: int = 50
) -> bytes:
    """A telegram of a smart meter at its P1 port, DSMR 5, with its CRC."""
    text = f"""{head}

1-3:0.2.8({version})
0-0:1.0.0({stamp})
0-0:96.1.1({P1_SERIAL.encode().hex().upper()})
1-0:1.8.1(123456.789*kWh)
1-0:1.8.2(123456.789*kWh)
1-0:2.8.1(000012.300*kWh)
1-0:2.8.2(000000.000*kWh)
0-0:96.14.0(0002)
1-0:1.7.0({power_kw:06.3f}*kW)
1-0:2.7.0(00.000*kW)
0-0:96.7.21(00004)
1-0:99.97.0(2)(0-0:96.7.19)(101208152415W)(0000000240*s)(101208151004W)(0000000301*s)
1-0:32.7.0(220.1*V)
1-0:52.7.0(220.2*V)
1-0:72.7.0(220.3*V)
1-0:31.7.0(001*A)
1-0:51.7.0(002*A)
1-0:71.7.0(003*A)
0-1:24.1.0(003)
0-1:24.2.1(101209112500W)(12785.123*m3)
!"""
    data = text.replace("\n", "\r\n").encode()
    return data + f"{crc16(data):04X}\r\n".encode()


def iec(energy_kwh: float = 5184.47, head: str = "/EMH4ED300L", serial: str = "1126150012345") -> bytes:
    """A data block of a meter that sends by itself, IEC 62056-21 mode D."""
    text = f"""{head}

1-0:0.0.0*255({serial})
1-0:1.8.0*255({energy_kwh:011.4f}*kWh)
1-0:2.8.0*255(000000.0000*kWh)
1-0:16.7.0*255(000.31*kW)
!
"""
    return text.replace("\n", "\r\n").encode()
