"""Give untrained networks batch statistics, without which their deep layers stay silent."""

import torch
from torch import Tensor, nn

from syops._torch import BatchNorm
from syops.errors import ForwardError, SyopsError, SyopsTypeError, SyopsValueError
from syops.trace.neurons import reset


@torch.no_grad()
def calibrate(model: nn.Module, inputs: Tensor) -> None:
    """Set the running statistics of every BN in ``model`` to those of ``inputs``, in one pass.

    In this pass each BN normalises with its batch statistics, and all else is in eval mode.
    Weights, training flags and momenta are not changed; neurons are reset.

    Args:
        model: any module; its running statistics are replaced in place.
        inputs: a batch, such as [N, C, H, W] or [T, N, C, H, W].

    Raises:
        SyopsValueError: ``inputs`` hold NaN or Inf.
        ForwardError: the model rejects ``inputs``. The statistics of the layers before the failing
            one are set already.

    Examples:
        >>> network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        >>> calibrate(network, torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
        >>> torch.allclose(network[1].running_mean, network[0](torch.full((1, 2), 0.5)))
        True
    """
    if not isinstance(inputs, Tensor):
        raise SyopsTypeError(f"calibrate: inputs is a {type(inputs).__name__}: expected a tensor")
    if not torch.isfinite(inputs).all():
        raise SyopsValueError("calibrate: inputs contain NaN or Inf")
    norms = [m for m in model.modules() if isinstance(m, BatchNorm)]
    found = [(m, m.training) for m in model.modules()]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.training = True
        norm.momentum = 1.0
    reset(model.named_modules())
    try:
        model(inputs)
    except SyopsError:
        raise
    except Exception as error:
        raise ForwardError(f"calibrate: the model failed on its input: {error}") from error
    finally:
        for module, training in found:
            module.training = training
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        reset(model.named_modules())
