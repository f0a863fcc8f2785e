"""omnimat: pretrain and honestly compare multimodal foundation models of crystalline materials."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnimat.inference.indexing import index as index
    from omnimat.inference.model import Embeddings as Embeddings
    from omnimat.inference.model import Model as Model
    from omnimat.inference.model import load as load
    from omnimat.inference.screening import screen as screen
    from omnimat.inference.transformer import Transformer as Transformer
    from omnimat.search.index import Index as Index

__version__ = "0.1.0"
_HOMES = {
    "Embeddings": "omnimat.inference.model",
    "Index": "omnimat.search.index",
    "Model": "omnimat.inference.model",
    "Transformer": "omnimat.inference.transformer",
    "index": "omnimat.inference.indexing",
    "load": "omnimat.inference.model",
    "screen": "omnimat.inference.screening",
}
__all__ = ["Embeddings", "Index", "Model", "Transformer", "__version__", "index", "load", "screen"]


def __getattr__(name: str) -> Any:
    """Import what a user asks for only then: it needs torch, and most commands do not."""
    if name not in _HOMES:
        raise AttributeError(f"module 'omnimat' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List what the package offers, imported or not."""
    return __all__
