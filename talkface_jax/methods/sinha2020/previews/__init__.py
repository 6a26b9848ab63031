"""Pictures of the stages for TensorBoard, made on the host."""
