"""A packed model as a transformer of scikit-learn."""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from omnimat.base.errors import UserError
from omnimat.inference.model import Model, load

_WAYS = ("error", "nan")
_SEVERAL = (list, tuple, np.ndarray, pd.Series, pd.DataFrame)


class Transformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Embeds materials, so that any estimator of scikit-learn can learn from them.

    It learns nothing itself: to fit it is to give it back. Give the path of a model, and not the
    model, where scikit-learn works in several processes.

    Attributes:
        model: a packed model, or the path of one.
        modality: the modality whose encoder embeds; None for the first that the model has.
        bad: what becomes of a material that cannot be embedded: an ``error``, or a row of ``nan``.
        device: where a model runs that is given by its path.
    """

    def __init__(
        self,
        model: Model | str | os.PathLike[str],
        modality: str | None = None,
        *,
        bad: Literal["error", "nan"] = "error",
        device: str | None = None,
    ) -> None:
        self.model = model
        self.modality = modality
        self.bad = bad
        self.device = device

    def fit(self, X: Any, y: Any = None) -> Transformer:
        """Give the transformer back, which has nothing to learn."""
        del X, y
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Embed n materials.

        Args:
            X: what ``Model.embed`` takes: n structures, formulas or paths, or a table of n rows.

        Returns:
            (n, d) float32 of unit length.

        Raises:
            UserError: a material cannot be embedded and ``bad`` is ``error``; an input of X holds
                several materials; or the model cannot be opened or has no encoder of the modality.
        """
        if self.bad not in _WAYS:
            raise UserError(f"bad: {self.bad!r} is none of {', '.join(_WAYS)}; choose one")
        strict = self.bad == "error"
        vectors = self._model().embed(X, self.modality, strict=strict, progress=False).vectors
        if isinstance(X, _SEVERAL) and len(X) != len(vectors):
            raise UserError(
                f"X: an input holds several materials, or none: {len(X)} inputs gave "
                f"{len(vectors)} rows; give each material alone"
            )
        return vectors

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name the d numbers of an embedding: ``structure_0``, ``structure_1``, ...; (d,)."""
        del input_features
        model = self._model()
        modality = model.networks.modality(self.modality)
        width = model.card.encoders[modality].embedding_dim
        return np.array([f"{modality}_{place}" for place in range(width)], dtype=object)

    def _model(self) -> Model:
        """Open the model once; a clone opens it anew."""
        if isinstance(self.model, Model):
            return self.model
        asked = (os.fspath(self.model), self.device)
        known: tuple[Any, Model] | None = getattr(self, "_opened", None)
        if known is None or known[0] != asked:
            known = asked, load(*asked)
            self._opened = known
        return known[1]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the opened model out of what is sent to another process."""
        state: dict[str, Any] = super().__getstate__()
        return {key: value for key, value in state.items() if key != "_opened"}

    def __sklearn_is_fitted__(self) -> bool:
        """Say that it can be used at once."""
        return True

    def __sklearn_tags__(self) -> Any:
        """Say that it needs no fit, and that scikit-learn is not to look into its inputs."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True
        return tags
