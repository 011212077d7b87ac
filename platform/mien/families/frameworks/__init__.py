"""What a worker needs of its framework besides a model: threads, determinism, sums over all workers.

One framework a process: torch's and TensorFlow's LLVM collide (seen to abort, torch 2.15 with tensorflow 2.21).
"""
