# SPDX-License-Identifier: Apache-2.0
# C simulation with the vendor's own headers and compiler.
source [file join [file dirname [file normalize [info script]]] project.tcl]
open_accelerator
csim_design -O -argv [vectors]
exit
