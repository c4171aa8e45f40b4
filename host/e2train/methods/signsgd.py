# SPDX-License-Identifier: Apache-2.0
"""SignSGD (Bernstein et al., ICML 2018): descend along the signs of the full gradient.

Signs replace the gradients of the convolutions' weights, as PSG's do, so that the two differ only
in how the signs are found; batch norm and the classifier keep their gradients.
"""

from __future__ import annotations

import numpy as np

from ..network.arithmetic import Gradients
from ..network.parameters import is_convolution_weight


def signs(gradients: Gradients) -> Gradients:
    """The gradients with every convolution weight's replaced by its sign (float32 -1, 0 or 1)."""
    return {
        name: np.sign(gradient) if is_convolution_weight(name) else gradient
        for name, gradient in gradients.items()
    }
