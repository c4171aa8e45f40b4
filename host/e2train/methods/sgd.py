# SPDX-License-Identifier: Apache-2.0
"""SGD with momentum and weight decay, as He et al. 2016 and the paper (section 4.1) set it.

v <- momentum * v + (g + weight_decay * w); w <- w - lr * v, in float32 on the host.
"""

from __future__ import annotations

import numpy as np

from ..network.arithmetic import Gradients
from ..network.parameters import Parameters, trainable


class Sgd:
    """One velocity (float32) a parameter; parameters without a gradient stay as they are."""

    def __init__(self, parameters: Parameters, momentum: float, weight_decay: float) -> None:
        self.momentum = np.float32(momentum)
        self.weight_decay = np.float32(weight_decay)
        self.velocity = {
            name: np.zeros_like(value) for name, value in parameters.items() if trainable(name)
        }

    def step(self, parameters: Parameters, gradients: Gradients, lr: float) -> None:
        """Change the parameters in place by one step of size `lr`."""
        for name, gradient in gradients.items():
            value, velocity = parameters[name], self.velocity[name]
            velocity *= self.momentum
            velocity += gradient
            velocity += self.weight_decay * value
            value -= np.float32(lr) * velocity
