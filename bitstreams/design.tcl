# SPDX-License-Identifier: Apache-2.0
# The block design: the processing system, the accelerator and what connects them. The variables
# come from generated/<board>.tcl and hls/scripts/generated/hardware.tcl.

# The processing system of the board. Its preset, where Vivado has the board's files (`preset` is 1);
# the values of the board's file in any case: an overlay needs no more, for FSBL and Linux have
# configured DDR and pins from the image long before.
proc make_processing_system {preset} {
    global BOARD_CLOCK_MHZ BOARD_PS7 KERNEL_MASTERS WIDTHS_BEAT
    set ps7 [create_bd_cell -type ip -vlnv xilinx.com:ip:processing_system7:5.5 ps7]
    apply_bd_automation -rule xilinx.com:bd_rule:processing_system7 -config [list \
        make_external "FIXED_IO, DDR" apply_board_preset $preset Master Disable Slave Disable] $ps7
    set values [dict create \
        CONFIG.PCW_USE_M_AXI_GP0 1 \
        CONFIG.PCW_EN_CLK0_PORT 1 \
        CONFIG.PCW_EN_RST0_PORT 1 \
        CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ $BOARD_CLOCK_MHZ \
        CONFIG.PCW_USE_FABRIC_INTERRUPT 1 \
        CONFIG.PCW_IRQ_F2P_INTR 1]
    dict for {name value} $BOARD_PS7 { dict set values CONFIG.$name $value }
    foreach hp [hp_ports] {
        dict set values CONFIG.PCW_USE_S_AXI_HP$hp 1
        dict set values CONFIG.PCW_S_AXI_HP${hp}_DATA_WIDTH $WIDTHS_BEAT
    }
    set_property -dict $values $ps7
}

# The HP interfaces that have a master, in order.
proc hp_ports {} {
    global KERNEL_MASTERS
    set found {}
    foreach master $KERNEL_MASTERS { lappend found [lindex $master 1] }
    return [lsort -integer -unique $found]
}

# The masters on one HP interface.
proc masters_on {hp} {
    global KERNEL_MASTERS
    set found {}
    foreach master $KERNEL_MASTERS {
        if {[lindex $master 1] == $hp} { lappend found [lindex $master 0] }
    }
    return $found
}

# A crossbar from `inputs` to `output` (both interface pins): AXI4 to the AXI3 of the processor.
proc connect_through {name inputs output} {
    set cell [create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect:1.0 $name]
    set_property -dict [list CONFIG.NUM_SI [llength $inputs] CONFIG.NUM_MI 1] $cell
    set index 0
    foreach input $inputs {
        connect_bd_intf_net [get_bd_intf_pins $input] \
            [get_bd_intf_pins $name/[format S%02d_AXI $index]]
        incr index
    }
    connect_bd_intf_net [get_bd_intf_pins $name/M00_AXI] [get_bd_intf_pins $output]
    clock $name/aclk
    connect_bd_net [get_bd_pins reset/peripheral_aresetn] [get_bd_pins $name/aresetn]
}

# Everything runs from the processor's first clock.
proc clock {pin} {
    connect_bd_net [get_bd_pins ps7/FCLK_CLK0] [get_bd_pins $pin]
}

proc make_accelerator {} {
    global TARGET_VENDOR TARGET_TOP TARGET_VERSION
    create_bd_cell -type ip -vlnv $TARGET_VENDOR:hls:$TARGET_TOP:$TARGET_VERSION $TARGET_TOP
    create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset:5.0 reset
    clock reset/slowest_sync_clk
    connect_bd_net [get_bd_pins ps7/FCLK_RESET0_N] [get_bd_pins reset/ext_reset_in]
    clock $TARGET_TOP/ap_clk
    connect_bd_net [get_bd_pins reset/peripheral_aresetn] [get_bd_pins $TARGET_TOP/ap_rst_n]
    connect_bd_net [get_bd_pins $TARGET_TOP/interrupt] [get_bd_pins ps7/IRQ_F2P]
}

proc connect_memory_and_registers {} {
    global TARGET_TOP
    clock ps7/M_AXI_GP0_ACLK
    connect_through control ps7/M_AXI_GP0 $TARGET_TOP/s_axi_control
    foreach hp [hp_ports] {
        clock ps7/S_AXI_HP${hp}_ACLK
        set inputs {}
        foreach master [masters_on $hp] { lappend inputs $TARGET_TOP/$master }
        connect_through memory$hp $inputs ps7/S_AXI_HP$hp
    }
}

# The registers for the processor; all DDR, from address 0, for each master.
proc assign_addresses {} {
    global TARGET_TOP BOARD_CONTROL_BASE BOARD_CONTROL_BYTES BOARD_DDR_BYTES KERNEL_MASTERS
    assign_bd_address -offset $BOARD_CONTROL_BASE -range $BOARD_CONTROL_BYTES \
        -target_address_space [get_bd_addr_spaces ps7/Data] \
        [get_bd_addr_segs $TARGET_TOP/s_axi_control/Reg] -force
    foreach master $KERNEL_MASTERS {
        lassign $master name hp
        assign_bd_address -offset 0x00000000 -range $BOARD_DDR_BYTES \
            -target_address_space [get_bd_addr_spaces $TARGET_TOP/Data_$name] \
            [get_bd_addr_segs ps7/S_AXI_HP$hp/HP${hp}_DDR_LOWOCM] -force
    }
}

proc make_design {name preset} {
    create_bd_design $name
    make_processing_system $preset
    make_accelerator
    connect_memory_and_registers
    assign_addresses
    validate_bd_design
    save_bd_design
}
