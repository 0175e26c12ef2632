"""Time travel in a replay: reverse execution and seeking, over the debug link's checkpoints."""
