# SPDX-License-Identifier: Apache-2.0
# C/RTL co-simulation: the bench runs the synthesised Verilog. Each memory port has a memory of its
# own there, copied from the bench's before a launch, as large as the pragma `depth` says.
source [file join [file dirname [file normalize [info script]]] project.tcl]
open_accelerator "-DE2TRAIN_COSIMULATION"
csynth_design
cosim_design -O -rtl verilog -argv [vectors]
exit
