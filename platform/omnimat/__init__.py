"""omnimat: pretrain and honestly compare multimodal foundation models of crystalline materials."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnimat.inference.model import Embeddings as Embeddings
    from omnimat.inference.model import Model as Model
    from omnimat.inference.model import load as load

__version__ = "0.1.0"
__all__ = ["Embeddings", "Model", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import what a user asks for only then: it needs torch, and most commands do not."""
    if name not in __all__:
        raise AttributeError(f"module 'omnimat' has no attribute {name!r}")
    from omnimat.inference import model

    return getattr(model, name)
