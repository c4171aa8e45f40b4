# SPDX-License-Identifier: Apache-2.0
# From the packaged accelerator to a bitstream. Runs in the build folder:
#     vivado -mode batch -source build.tcl -tclargs BOARD IP.zip
# Leaves e2train.bit, e2train.hwh, three reports and facts.txt (with the board's files in Vivado also
# e2train.xsa); with negative slack, the reports.

set here [file dirname [file normalize [info script]]]
set hls [file join [file dirname $here] hls]
lassign $argv board ip
source [file join $hls scripts generated hardware.tcl]
source [file join $here generated $board.tcl]
source [file join $here design.tcl]

set stem e2train
set design e2train_design

# The first of the board's names that this Vivado knows, or nothing.
proc known_board {} {
    global BOARD_FILES
    foreach name $BOARD_FILES {
        if {[llength [get_board_parts -quiet $name]]} { return $name }
    }
    return ""
}

proc open_board_project {ip} {
    global stem BOARD_PART BOARD_FILES BOARD_FILES_SOURCE
    create_project -force $stem project -part $BOARD_PART
    set known [known_board]
    if {$known eq ""} {
        puts "bitstream: no board files of [join $BOARD_FILES { or }], from $BOARD_FILES_SOURCE:\
            goes on with the values of the board's own file"
    } else {
        set_property board_part $known [current_project]
    }
    file mkdir repository
    set repository [file normalize repository]
    set_property ip_repo_paths $repository [current_project]
    update_ip_catalog -rebuild
    update_ip_catalog -add_ip $ip -repo_path $repository
    return $known
}

proc make_top {} {
    global design
    set file [get_files $design.bd]
    generate_target all $file
    add_files -norecurse [make_wrapper -files $file -top]
    set_property top ${design}_wrapper [current_fileset]
    update_compile_order -fileset sources_1
}

# A run to its end, or an error that names it.
proc finish {run args} {
    launch_runs $run {*}$args -jobs 4
    wait_on_run $run
    if {[get_property PROGRESS [get_runs $run]] ne "100%"} {
        error "bitstream: $run stopped: [get_property STATUS [get_runs $run]]"
    }
}

proc write_reports {} {
    open_run impl_1
    report_timing_summary -file timing.rpt
    report_utilization -hierarchical -file utilisation.rpt
    report_power -file power.rpt
    close_design
}

# Setup and hold slack, in ns; an error unless both are there and none is negative.
proc checked_slack {} {
    set found {}
    foreach {name property} {setup STATS.WNS hold STATS.WHS} {
        set slack [get_property $property [get_runs impl_1]]
        if {![string is double -strict $slack]} {
            error "bitstream: the tool gives no $name slack: '$slack'"
        }
        if {$slack < 0} {
            error "bitstream: timing is not met: worst $name slack $slack ns, see\
                [file normalize timing.rpt]; no bitstream was made"
        }
        lappend found $slack
    }
    return $found
}

proc write_facts {known slack} {
    set file [open facts.txt w]
    puts $file "tool=Vivado [version -short]"
    puts $file "board_files=$known"
    puts $file "setup_slack_ns=[lindex $slack 0]"
    puts $file "hold_slack_ns=[lindex $slack 1]"
    close $file
}

file delete $stem.bit $stem.hwh $stem.xsa $stem.json facts.txt
set known [open_board_project $ip]
make_design $design [expr {$known ne ""}]
make_top
finish synth_1
finish impl_1
write_reports
set slack [checked_slack]
finish impl_1 -to_step write_bitstream
file copy -force project/$stem.runs/impl_1/${design}_wrapper.bit $stem.bit
file copy -force project/$stem.gen/sources_1/bd/$design/hw_handoff/$design.hwh $stem.hwh
if {$known ne ""} {
    # What PYNQ's image build makes a board's boot files from; without preset it knows no pins.
    write_hw_platform -fixed -include_bit -force $stem.xsa
}
write_facts $known $slack
