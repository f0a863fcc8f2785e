"""omnimat: pretrain and honestly compare multimodal foundation models of crystalline materials."""

__version__ = "0.1.0"
