# SPDX-License-Identifier: Apache-2.0
# Generated from hls/config/hardware.toml and the board by `e2train hardware generate`: do not edit.
set BOARD_NAME "zedboard"
set BOARD_PART "xc7z020clg484-1"
set BOARD_FILES {digilentinc.com:zedboard:part0:1.1 digilentinc.com:zedboard:part0:1.0 avnet.com:zedboard:part0:1.4 em.avnet.com:zed:part0:1.4}
set BOARD_FILES_SOURCE {https://github.com/Digilent/vivado-boards, or Vivado's board store}
set BOARD_CLOCK_MHZ 100
set BOARD_CONTROL_BASE 0x43c00000
set BOARD_CONTROL_BYTES 65536
set BOARD_DDR_BYTES 536870912
set BOARD_PS7 {PCW_CRYSTAL_PERIPHERAL_FREQMHZ {33.333333} PCW_APU_PERIPHERAL_FREQMHZ {666.666666} PCW_UIPARAM_DDR_FREQ_MHZ {533.333313} PCW_UIPARAM_DDR_PARTNO {MT41J128M16 HA-15E} PCW_UIPARAM_DDR_BUS_WIDTH {32 Bit}}
set KERNEL_MASTERS {{m_axi_gmem0 0} {m_axi_gmem1 1} {m_axi_gmem2 2} {m_axi_gmem3 2} {m_axi_gmem4 3}}
