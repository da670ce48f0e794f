"""What belaypin costs, measured: python -m benchmarks, or make bench.

Every figure that the README or the docs claim is printed by it. Machines are noisy, so the loop with
belaypin always runs beside the same loop without it, and what counts is the median of their ratios.
"""
