# SPDX-License-Identifier: Apache-2.0
"""SignSGD (Bernstein et al., ICML 2018): descend along the signs of the full gradient.

Signs replace the gradients of convolution and classifier weights, as PSG's do, so that the two
differ only in how the signs are found; batch norm and the bias keep their gradients.
"""

from __future__ import annotations

import numpy as np

from ..network.arithmetic import Gradients
from ..network.parameters import is_weight


def signs(gradients: Gradients) -> Gradients:
    """The gradients with every weight's replaced by its sign (float32 -1, 0 or 1)."""
    return {
        name: np.sign(gradient) if is_weight(name) else gradient
        for name, gradient in gradients.items()
    }
