"""Programs that run exported files and networks behind one interface.

torch, onnxruntime, OpenVINO and OpenCV; nothing is imported that the chosen program does not need.
"""
