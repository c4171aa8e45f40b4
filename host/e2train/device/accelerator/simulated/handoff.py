# SPDX-License-Identifier: Apache-2.0
"""The two files that Vivado would hand over for the simulated board: a .bit and its .hwh.

The .bit has a real one's header and no configuration data; the .hwh has what pynq reads of one.
"""

from __future__ import annotations

import struct
from pathlib import Path
from xml.etree import ElementTree as etree

from .. import generated as hw

CONTROL_BASE = 0x43C0_0000
WATCH_BASE = 0x43C1_0000
RANGE = 1 << 16
ACCELERATOR = f"{hw.TARGET_TOP}_0"
WATCH = "bus_watch_0"
PROCESSOR = "processing_system7_0"
DEVICE, PACKAGE = "7z020", "clg484"
BIT_MAGIC = bytes.fromhex("0ff00ff00ff00ff000")


def write_bit(path: Path, part: str = DEVICE + PACKAGE) -> None:
    """A bitstream file of 4 bytes of data for a part such as 7z020clg484."""
    fields = {"a": "e2train_wrapper;UserID=0XFFFFFFFF;Version=2023.2", "b": part}
    fields |= {"c": "2026/01/01", "d": "00:00:00"}
    data = struct.pack(">H", len(BIT_MAGIC)) + BIT_MAGIC + struct.pack(">H", 1)
    for key, text in fields.items():
        value = text.encode() + b"\0"
        data += key.encode() + struct.pack(">H", len(value)) + value
    path.write_bytes(data + b"e" + struct.pack(">I", 4) + b"\xff" * 4)


def _module(parent: etree.Element, name: str, vlnv: str) -> etree.Element:
    kind = vlnv.split(":")[2]
    module = etree.SubElement(
        parent, "MODULE", FULLNAME=f"/{name}", INSTANCE=name, MODTYPE=kind, VLNV=vlnv
    )
    for part in ("PARAMETERS", "PORTS", "BUSINTERFACES", "MEMORYMAP"):
        etree.SubElement(module, part)
    return module


def _port(module: etree.Element, name: str, direction: str, signal: str, *to: str) -> None:
    ports = module.find("PORTS")
    assert ports is not None
    port = etree.SubElement(ports, "PORT", DIR=direction, NAME=name, SIGNAME=signal)
    connections = etree.SubElement(port, "CONNECTIONS")
    for instance, _, pin in (place.partition("/") for place in to):
        etree.SubElement(connections, "CONNECTION", INSTANCE=instance, PORT=pin)


def _bus(module: etree.Element, name: str, kind: str) -> None:
    buses = module.find("BUSINTERFACES")
    assert buses is not None
    etree.SubElement(
        buses, "BUSINTERFACE", NAME=name, TYPE=kind, VLNV="xilinx.com:interface:aximm:1.0"
    )


def _range(processor: etree.Element, instance: str, bus: str, base: int) -> None:
    memory = processor.find("MEMORYMAP")
    assert memory is not None
    etree.SubElement(
        memory,
        "MEMRANGE",
        ADDRESSBLOCK="Reg",
        BASEVALUE=f"0x{base:08X}",
        HIGHVALUE=f"0x{base + RANGE - 1:08X}",
        INSTANCE=instance,
        MASTERBUSINTERFACE="M_AXI_GP0",
        SLAVEBUSINTERFACE=bus,
        MEMTYPE="REGISTER",
    )


def write_hwh(
    path: Path,
    *,
    package: str = PACKAGE,
    top: str = hw.TARGET_TOP,
    interrupt: bool = True,
    watch: bool = True,
) -> None:
    """The hand-off of a design with or without an interrupt line and a bus watch."""
    system = etree.Element("EDKSYSTEM", EDWVERSION="1.2", VIVADOVERSION="2023.2")
    etree.SubElement(
        system, "SYSTEMINFO", ARCH="zynq", DEVICE=DEVICE, NAME="e2train", PACKAGE=package
    )
    etree.SubElement(system, "EXTERNALPORTS")
    etree.SubElement(system, "EXTERNALINTERFACES")
    modules = etree.SubElement(system, "MODULES")
    line = "interrupt_net"
    accelerator = _module(modules, ACCELERATOR, f"{hw.TARGET_VENDOR}:hls:{top}:{hw.TARGET_VERSION}")
    _bus(accelerator, "s_axi_control", "SLAVE")
    processor_pin = [f"{PROCESSOR}/IRQ_F2P"] if interrupt else []
    _port(accelerator, "interrupt", "O", line if interrupt else "", *processor_pin)
    processor = _module(modules, PROCESSOR, "xilinx.com:ip:processing_system7:5.5")
    parameters = processor.find("PARAMETERS")
    assert parameters is not None
    for clock in range(4):
        settings = {f"PCW_FPGA_FCLK{clock}_ENABLE": int(clock == 0)}
        settings |= {f"PCW_FCLK{clock}_PERIPHERAL_DIVISOR{d}": (5, 2)[d] for d in range(2)}
        for name, value in settings.items():
            etree.SubElement(parameters, "PARAMETER", NAME=name, VALUE=str(value))
    _bus(processor, "M_AXI_GP0", "MASTER")
    if interrupt:
        _port(processor, "IRQ_F2P", "I", line, f"{ACCELERATOR}/interrupt")
    _range(processor, ACCELERATOR, "s_axi_control", CONTROL_BASE)
    if watch:
        module = _module(modules, WATCH, "xilinx.com:module_ref:e2train_bus_watch:1.0")
        _bus(module, "s_axi", "SLAVE")
        _range(processor, WATCH, "s_axi", WATCH_BASE)
    etree.indent(system)
    etree.ElementTree(system).write(path, encoding="UTF-8", xml_declaration=True)
