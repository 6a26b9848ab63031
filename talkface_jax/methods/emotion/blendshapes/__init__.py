"""The reader of emotions from blendshapes."""
