# SPDX-License-Identifier: Apache-2.0
# What csim.tcl, csynth.tcl, cosim.tcl and ip.tcl share: the project of the accelerator.
# Runs in the build folder: vitis-run --mode hls --tcl <script>, Vitis 2023.2 or newer.

set scripts [file dirname [file normalize [info script]]]
set hls [file dirname $scripts]
source [file join $scripts generated hardware.tcl]

# With E2TRAIN_CORE=verilog the array is rtl/mac_core.v: an RTL blackbox whose C model is the C++
# function of that name. Without, that function is synthesised.
proc core_in_verilog {} {
    global env
    return [expr {[info exists env(E2TRAIN_CORE)] && $env(E2TRAIN_CORE) eq "verilog"}]
}

proc add_core {} {
    global hls
    set described [open [file join $hls rtl mac_core.json]]
    set text [read $described]
    close $described
    # Files are looked for from the build folder, so they get whole paths.
    set written [open mac_core.json w]
    puts $written [string map [list "\"hls/" "\"$hls/" "-Ihls/" "-I$hls/"] $text]
    close $written
    add_files -blackbox mac_core.json
}

# The part, the clock, the sources and the test bench; `bench_flags` are for the bench alone.
proc open_accelerator {{bench_flags ""}} {
    global hls TARGET_TOP TARGET_PART TARGET_CLOCK_MHZ
    set include "-std=c++14 -I[file join $hls include]"
    open_project -reset $TARGET_TOP
    set_top $TARGET_TOP
    set sources [glob [file join $hls src *.cpp]]
    if {[core_in_verilog]} {
        set sources [lsearch -all -inline -not $sources */mac_core.cpp]
        add_core
    }
    add_files $sources -cflags $include
    add_files [file join $hls src generated $TARGET_TOP.cpp] -cflags $include
    set bench [glob [file join $hls tb *.cpp]]
    lappend bench [file join $hls src generated csim_abi.cpp]
    add_files -tb $bench -cflags "$include $bench_flags"
    open_solution -reset -flow_target vivado solution
    set_part $TARGET_PART
    create_clock -period [format %.3f [expr {1000.0 / $TARGET_CLOCK_MHZ}]] -name default
    # Zynq-7000 has 32-bit addresses: one register for each memory port's base.
    config_interface -m_axi_addr64=false
}

# The bench's argument: a file that lists golden vectors, one path a line.
proc vectors {} {
    global env
    if {![info exists env(E2TRAIN_VECTORS)]} {
        error "E2TRAIN_VECTORS must name a file that lists the golden vectors"
    }
    return "@[file normalize $env(E2TRAIN_VECTORS)]"
}
