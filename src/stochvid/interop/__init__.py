"""Models from elsewhere, and for elsewhere: published checkpoints, ONNX, `torch.export`."""
