# SPDX-License-Identifier: Apache-2.0
"""From an experiment to the parts that train it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..data.dataset import Dataset
from ..device.base import Device
from ..device.counter import Counter
from ..methods import fixed8, psg
from ..methods.slu import SluGates
from ..methods.stochastic_depth import StochasticDepth
from ..network.arithmetic import Arithmetic
from ..network.float32 import FloatArithmetic
from ..network.float_backend import float_backend
from ..network.integer import FixedArithmetic, FixedSettings
from ..network.models import network_spec
from ..network.network import Network
from ..network.parameters import initial_parameters
from ..network.spec import NetworkSpec
from .experiment import Experiment


@dataclass
class Parts:
    """What a trainer works with; `device` is None for float32."""

    spec: NetworkSpec
    network: Network
    counter: Counter
    policy: SluGates | StochasticDepth | None

    @property
    def gates(self) -> SluGates | None:
        """The learned gates, if the policy has any."""
        return self.policy if isinstance(self.policy, SluGates) else None

    @property
    def float32(self) -> bool:
        """Whether the arithmetic is float32, which no kernel of the accelerator computes."""
        return self.fixed is None

    @property
    def fixed(self) -> FixedArithmetic | None:
        """The integer arithmetic, if it is that."""
        arithmetic = self.network.arithmetic
        return arithmetic if isinstance(arithmetic, FixedArithmetic) else None


def fixed_settings(experiment: Experiment) -> FixedSettings:
    """How the integer arithmetic takes gradients for the experiment's update."""
    bits, chosen = experiment.method.stream_bits, experiment.psg
    if experiment.method.update == "psg":
        settings = psg.settings(chosen.beta, chosen.x_msb_bits, chosen.g_msb_bits, bits)
    elif experiment.method.update == "sgd":
        settings = fixed8.settings(bits)
    else:
        settings = FixedSettings(predict=False, stream_bits=bits)
    wanted = experiment.method.input_gradient_bits
    return settings if wanted is None else replace(settings, input_gradient_bits=wanted)


def assemble(experiment: Experiment, dataset: Dataset, device: Device | None) -> Parts:
    """Build network, arithmetic and skip policy; `device` is needed by `fixed` arithmetic."""
    channels, height, width = dataset.train_images.shape[1:]
    spec = network_spec(experiment.network, (channels, height, width), dataset.classes)
    counter = Counter()
    arithmetic: Arithmetic
    if experiment.method.arithmetic == "fixed":
        if device is None:
            raise ValueError("device: None given, expected an open device for fixed arithmetic")
        arithmetic = FixedArithmetic(device, counter, fixed_settings(experiment), dataset.mean)
    else:
        arithmetic = FloatArithmetic(float_backend(), counter, dataset.mean, dataset.std)
    seed = experiment.train.seed
    policy: SluGates | StochasticDepth | None = None
    if experiment.slu.skip:
        slu = experiment.slu
        policy = SluGates(spec, counter, slu.skip, seed, gated=slu.gated, explore=slu.explore)
    elif experiment.stochastic_depth.skip:
        depth = experiment.stochastic_depth
        policy = StochasticDepth(spec, depth.skip, seed, per=depth.per)
    parameters = initial_parameters(spec, seed)
    return Parts(spec, Network(spec, arithmetic, parameters, policy), counter, policy)
