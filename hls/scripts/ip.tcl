# SPDX-License-Identifier: Apache-2.0
# The accelerator as an IP for Vivado's catalogue: <build folder>/<top>.zip.
source [file join [file dirname [file normalize [info script]]] project.tcl]
open_accelerator
csynth_design
config_export -vendor $TARGET_VENDOR -library hls -ipname $TARGET_TOP -version $TARGET_VERSION
export_design -format ip_catalog -rtl verilog -output [file join [pwd] $TARGET_TOP.zip]
exit
