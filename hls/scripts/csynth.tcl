# SPDX-License-Identifier: Apache-2.0
# C synthesis: C++ to Verilog, with estimates of clock, cycles and resources.
source [file join [file dirname [file normalize [info script]]] project.tcl]
open_accelerator
csynth_design
exit
