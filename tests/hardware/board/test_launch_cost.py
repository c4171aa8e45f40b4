# SPDX-License-Identifier: Apache-2.0
"""What a launch costs the host: measured on the simulated board, against the modelled kernel."""

from e2train.board.launch_cost import LaunchCost, measure, modelled, report


def test_the_measurement(board):
    cost = measure(board)
    assert cost.launches > 50
    assert 46 <= cost.accesses < 47  # 39 arguments and addresses, start, and what follows the end
    assert 1e-6 < cost.seconds < 1e-2


def test_the_report():
    launches, seconds = modelled()
    assert 100 < launches < 1000 and 0.1 < seconds < 60
    lines = report(LaunchCost(75, 46.0, 50e-6), 100, 0.9)
    assert "46 accesses" in lines[0] and "1.0 ms on a processor" in lines[0]
    assert "9.0 ms a launch" in lines[1] and "takes 0.10 s, 10 % of both" in lines[2]
