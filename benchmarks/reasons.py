"""Why claims are not met: what bounds them, as measured. The page of results shows it.

On the two cores of the record, an AMD EPYC with AVX-512, which other virtual machines share.
Times of parts were taken by hand, with the processor's cycle counter or a loop around the part: no
command prints them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: By what is found in the name of a comparison, and in its claim.
REASONS: dict[tuple[str, str], str] = {
    (r"vectorized \w+, 10 variables", ""): (
        "checks and calls take 10.5 to 12 µs a gradient, where 10 and a quarter of the 3.6 of f "
        "itself are allowed"
    ),
    (r"vectorized \w+, 50 variables", ""): "checks and calls take 10.5 µs a gradient",
    (r"vectorized \w+, 100 variables", ""): (
        "checks and calls take 10.5 µs a gradient, and it is two calls of f, for which 80 KB of "
        "points are written"
    ),
    (r"vectorized \w+, 1000 variables", ""): (
        "1.4 µs of Python for each of 143 calls of f, which takes 7 µs for 112 KB"
    ),
    (r"(first_two_squared|sum_of_squares), \d+ variables|loss of an output layer", ""): (
        "nearly all of either time is f itself"
    ),
    (r"training step on Numba, 784-(8|16)-10", "two threads"): (
        "0.57 to 0.73 in quieter hours, 0.88 and 0.95 in busy ones of the same kernels. What one "
        "thread does in a second swings by 1.7 with what other virtual machines do on the same "
        "processors"
    ),
    (r"^numerical gradient, .* mnist", "numba"): (
        "the book's loop takes 19.2 s and, in float32, 10.2, so the claims are 240 µs and 204. By "
        "hand it takes 237 to 245 and 195 to 205: 140 and 116 of the kernel on two threads (249 "
        "and 200 on one), 45 and 29 to leave out the zeros of the batch, the rest checks. And "
        "for minutes at a time the kernel and leaving out zeros take twice as long, the checks in "
        "Python as long as ever: what comes from beyond the second-level cache comes late then"
    ),
    (r"^numerical gradient, .* dense", ""): (
        "its products take one thread 502 µs in float64, 94 % of what it can multiply at 3.5 GHz, "
        "and two at best half of that; evaluating and writing take two 55, copying W1 25, checks "
        "100: 415 to 447 µs by hand, where 480 are enough. In float32 the network is evaluated in "
        "float64 for errors below 1e-5: the kernel takes one thread 471 µs, two at best 236, and "
        "the rest of the call 70 to 80, where 255 in all are wanted; 349 to 392 by hand"
    ),
    (r"training step by numerical gradient", "numba.* 1.5 "): (
        "1.83 in float32 by hand: the outputs are summed in float64 for errors below 1e-5, 36 of "
        "100 µs; and the step by backpropagation has become faster by more than this one"
    ),
    (r"^10,000 iterations, 784-50-10", "0.32 "): (
        "of one training each: 0.19 to 0.33 in records of the same kernels"
    ),
    (r"^training step, 784-50-10", "numpy.* takes at most 1 "): (
        "the same products of the same BLAS, and mostly less apart than two runs of either. In one "
        "run of MNIST in float64 ours took 799 µs, by hand 528 beside it: not understood"
    ),
    (r"^auto on a grid", ""): (
        "where the times of the two backends cross, by less than two runs of either are apart; "
        "1.02 at 0d3610c, where the products of large dense batches had become faster"
    ),
    (r"training step by numerical gradient", "numpy.* 3 "): (
        "besides a product more than backpropagation it is 150 operations on 100 × 50 numbers, "
        "0.6 ms; and in float32 the network is evaluated in float64 for errors below 1e-5"
    ),
    (r"on the GPU,.* 784-(50|4096)-10", ""): (
        "the kernels have been changed since then and not run on a GPU again: gpu-model.md"
    ),
    (r"training step beside the peers, 784-50-10, .* dense", ""): (
        "its products take 176 of 211 µs in float64, all that the processor multiplies for 25 "
        "units in four vectors; in three, and one unit along the features, they take 150, but the "
        "step 5 % less, in float32 as long as now: samples come from memory"
    ),
    (r"training step beside the peers, 784-50-10, .* mnist", ""): (
        "both sparse products read and write W1 in the second-level cache, whose speed other "
        "machines on the same processor share: 0.26 to 0.39 in float32 and 0.31 to 0.39 in float64 "
        "in runs of the same kernels. Three vectors of units and one unit by itself take as long "
        "as 25 units in four: what is written bounds it, and half a vector is in a cycle"
    ),
    (r"training step beside the peers, 784-500-10", ""): (
        "both sparse products read W1, of which a thread's half is 1.6 MB in float64; 0.50 and "
        "0.53 in float32 within an hour, by quartiles of 4.2 and 5.3 ms"
    ),
    (r"^cost of dispatch", ""): "1.06 to 1.22 in runs of the same code on one day",
    (r"two processors", "busy"): "a fair share is 2.0, and a step waits for the later thread",
    (r"predict of one row", "numpy"): (
        "the formulas alone take 13.1 µs in float64 and 11.8 in float32: the hidden layer 7.2 and "
        "5.9, the outputs 1.7, softmax 4.2; what enters is checked in 5"
    ),
    (r"predict of one row", "numba"): (
        "the kernel takes 3.8 µs, checks 4.3, np.errstate 1.1, calls the rest: 10.2 to 11.1, and "
        "16 in a run of the same kernels in which NumPy's formulas took half as long again, too"
    ),
    (r"predict of 10,000 rows beside JAX, .* dense", ""): (
        "NumPy's product takes 14.7 of 18.3 ms in float64 and 6.6 of 7.6 in float32, and besides "
        "it all samples, 63 MB and 31, are looked at for what is not finite, in 2.7 and 1.1 ms, "
        "each measured by itself; JAX took 17.9 and 13.5 in the same runs. Products of our own "
        "that look on the way take longer"
    ),
    (r"fastnn train where nothing is compiled", ""): (
        "8.9 to 9.8 s where nothing else uses the cores: 9 s of one thread for 99 functions, a "
        "half in each of two processes, and the training"
    ),
    (r"warm_up\(\) where nothing is compiled", ""): (
        "35 s of one thread for 257 functions, a third in LLVM and the rest in Numba, shared by "
        "two processes, of which the second starts in 1; so no division is better than 18"
    ),
    (r"fastnn train --iterations 0", "1.2 s"): (
        "0.86 to 1.15 s where nothing else uses the memory; reading and compressing 376 MB"
    ),
    (r"fit of MNIST", ""): (
        "900 steps of 243 µs are 219 of 265 ms in float64, and 30 are reading and compressing 376 "
        "MB. scikit-learn takes 0.9 s in some processes of the same code and 1.4 in others, so it "
        "is 2.6 to 4.6 times, and 2.7 to 4.0 in float32"
    ),
    (r"fit of a sparse matrix", ""): (
        "4.7 to 6.2 times in processes of the same code. 20 steps of Adam, which each read and "
        "write three arrays of 16 MB in 3.3 ms, are 66 of 98 ms; 12 are the draws of the first "
        "weights, which are scikit-learn's, too"
    ),
    (r"the training script", "0.5 "): "0.47 and 0.49 in the record of a quieter hour",
}


def reasons(name: str, claim: str) -> Iterator[str]:
    """What is known about a claim that was not met."""
    for (of_name, of_claim), reason in REASONS.items():
        if re.search(of_name, name) and re.search(of_claim, claim):
            yield reason
