"""The fuzzers for a while, on every core: ``python -m tests.fuzz 20`` takes 20 minutes.

Each process runs them again and again, with another seed each time. What is found does not stop
them: for each kind of fault the shortest call is kept, and shown at the end, with the number of all
inputs. The exit code is 1 if there was any fault.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

FOLDER = Path(__file__).parent

#: How many times as much as in a run of the suite each round takes: about two minutes.
FACTOR = 4


class Total:
    """What all processes have found so far."""

    def __init__(self):
        self.lock = threading.Lock()
        self.inputs = self.rounds = 0
        self.faults: dict[str, str] = {}

    def add(self, inputs, faults, seed):
        with self.lock:
            self.rounds += 1
            self.inputs += inputs
            for kind, text in faults.items():
                if kind not in self.faults or len(text) < len(self.faults[kind]):
                    self.faults[kind] = text
            found = f"{self.inputs:,} inputs, {len(self.faults)} kinds of faults"
            print(f"{time.strftime('%H:%M:%S')} round {self.rounds} (seed {seed}): {found}")


def one_round(total, seed, left):
    """Run all fuzzers once with this seed, for so many seconds at most."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.json"
        variables = {name: value for name, value in os.environ.items() if name != "CI"}
        variables |= {"FASTNN_FUZZ_RECORD": str(record), "FASTNN_FUZZ_FACTOR": str(FACTOR)}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += [f"--hypothesis-seed={seed}", str(FOLDER)]
        process = subprocess.Popen(
            command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            out, _ = process.communicate(timeout=left)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return
        found = json.loads(record.read_text()) if record.exists() else {"inputs": 0, "faults": {}}
        if process.returncode:
            found["faults"][f"round {seed}"] = f"exit code {process.returncode}: {out[-2000:]}"
        total.add(found["inputs"], found["faults"], seed)


def main(minutes):
    total, end = Total(), time.monotonic() + 60 * minutes
    seeds = iter(range(time.time_ns() // 10**9, 2**63))

    def work():
        while (left := end - time.monotonic()) > 1:
            one_round(total, next(seeds), left + 60)  # a round that has begun may end

    workers = [threading.Thread(target=work) for _ in range(os.cpu_count() or 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for kind in sorted(total.faults):
        print(f"\n{kind}\n    {total.faults[kind]}".encode("ascii", "backslashreplace").decode())
    print(f"\n{total.inputs:,} inputs in {minutes:g} minutes, {len(total.faults)} kinds of faults")
    return 1 if total.faults or not total.inputs else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if sys.argv[1:] else 20.0))
