"""Write a trained model as a file for other programs: ONNX, OpenVINO IR, TorchScript."""
