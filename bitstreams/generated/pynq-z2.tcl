# SPDX-License-Identifier: Apache-2.0
# Generated from hls/config/hardware.toml and the board by `e2train hardware generate`: do not edit.
set BOARD_NAME "pynq-z2"
set BOARD_PART "xc7z020clg400-1"
set BOARD_FILES {tul.com.tw:pynq-z2:part0:1.0}
set BOARD_FILES_SOURCE {the board's page at https://www.tulembedded.com, or Vivado's board store}
set BOARD_CLOCK_MHZ 100
set BOARD_CONTROL_BASE 0x43c00000
set BOARD_CONTROL_BYTES 65536
set BOARD_DDR_BYTES 536870912
set BOARD_PS7 {PCW_CRYSTAL_PERIPHERAL_FREQMHZ {50} PCW_APU_PERIPHERAL_FREQMHZ {650.000000} PCW_UIPARAM_DDR_FREQ_MHZ {525.000000} PCW_UIPARAM_DDR_PARTNO {MT41J256M16 RE-125} PCW_UIPARAM_DDR_BUS_WIDTH {16 Bit}}
set KERNEL_MASTERS {{m_axi_gmem0 0} {m_axi_gmem1 1} {m_axi_gmem2 2} {m_axi_gmem3 2} {m_axi_gmem4 3}}
