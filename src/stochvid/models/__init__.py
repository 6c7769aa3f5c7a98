"""The SVG model: backbones, recurrent parts, and the model that joins them."""
