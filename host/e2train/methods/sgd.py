# SPDX-License-Identifier: Apache-2.0
"""SGD with momentum and weight decay, as He et al. 2016 and the paper (section 4.1) set it.

v <- momentum * v + (g + weight_decay * w); w <- w - lr * v, in float32 on the host. Weights that
follow signs instead of gradients can have a decay of their own: a sign is many times larger than
the gradient it stands for, and beside it the usual decay does nothing.
"""

from __future__ import annotations

import numpy as np

from ..network.arithmetic import Gradients
from ..network.parameters import Parameters, is_convolution_weight, trainable
from ..processor import processor


def _single(value: float) -> float:
    """The float32 next to `value`."""
    return float(np.float32(value))


class Sgd:
    """One velocity (float32) a parameter; parameters without a gradient stay as they are."""

    def __init__(
        self,
        parameters: Parameters,
        momentum: float,
        weight_decay: float,
        convolution_decay: float | None = None,
    ) -> None:
        """`convolution_decay`: of the convolutions' weights, where it differs."""
        self.processor = processor()
        self.momentum = _single(momentum)
        other = weight_decay if convolution_decay is None else convolution_decay
        self.decay = {
            name: _single(other if is_convolution_weight(name) else weight_decay)
            for name in parameters
        }
        self.velocity = {
            name: np.zeros_like(value) for name, value in parameters.items() if trainable(name)
        }

    def step(
        self,
        parameters: Parameters,
        gradients: Gradients,
        lr: float,
        convolution_lr: float | None = None,
    ) -> None:
        """Change the parameters in place by one step of size `lr`.

        `convolution_lr`: of the convolutions' weights, where it differs.
        """
        own = lr if convolution_lr is None else convolution_lr
        rates = [own if is_convolution_weight(name) else lr for name in gradients]
        tensors = [
            (parameters[name], self.velocity[name], gradient)
            for name, gradient in gradients.items()
        ]
        decays = np.array([self.decay[name] for name in gradients], np.float32)
        self.processor.steps(tensors, decays, self.momentum, np.array(rates, np.float32))
