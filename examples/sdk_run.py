"""Run commands and use what they say: the SDK as a better `subprocess.run`."""

from __future__ import annotations

import holdfast
import holdfast.sync


def main() -> None:
    """Run a few commands on this user's own daemon."""
    with holdfast.sync.connect() as hf:
        # A list is executed as it is; a string goes through a shell.
        print(hf.run(["echo", "no shell: $HOME"]).stdout.decode(), end="")
        print(hf.run("echo one | tr a-z A-Z").stdout.decode(), end="")

        # Input of any size, output of any size: nothing is dropped.
        big = hf.run(["wc", "-c"], input=b"x" * 3_000_000)
        print("counted", int(big.stdout))

        # Failures carry the status in both spellings, and the end of stderr.
        try:
            hf.run("echo no luck >&2; exit 3", check=True)
        except holdfast.CommandFailed as failed:
            print(failed.result.exit_code, failed.result.stderr.decode(), end="")

        # The daemon ends what takes too long, also when this program has died by then.
        try:
            hf.run("echo begun; sleep 600", timeout=0.5)
        except holdfast.TimedOut as late:
            print("timed out after", late.result.stdout.decode() if late.result else "", end="")
    print("done")


if __name__ == "__main__":
    main()
