"""What failed, once more and in short: a report of continuous integration shows the end of what was said, and cuts its middle.

    failures.py BUILD_DIRECTORY

Reads the log that ctest has left of its last run there. Of each failed test: every assertion that failed with what is around
it (Catch2, Python), and its last lines.
"""
import pathlib
import re
import sys

FAILED = re.compile(r"\bFAILED:|^Traceback|^\w*Error\b|ERROR: \w*Sanitizer|WARNING: ThreadSanitizer|SUMMARY: ")
BEFORE, AFTER, LAST = 6, 14, 12  # lines
MOST = 120  # lines of one test


def told(output):
    shown = set(range(max(0, len(output) - LAST), len(output)))
    for number, line in enumerate(output):
        if FAILED.search(line) and len(shown) < MOST:
            shown.update(range(max(0, number - BEFORE), min(len(output), number + AFTER)))
    lines, previous = [], -1
    for number in sorted(shown):
        if number != previous + 1:
            lines.append("[...]")
        lines.append(output[number][:500])
        previous = number
    return lines


def main(build):
    log = pathlib.Path(build, "Testing", "Temporary", "LastTest.log").read_text(errors="replace")
    for part in re.split(r"^\d+/\d+ Testing: ", log, flags=re.MULTILINE)[1:]:
        name, _, rest = part.partition("\n")
        output, ended, verdict = rest.partition("<end of output>")
        if ended and re.search(r"^Test Passed\.$", verdict, flags=re.MULTILINE):
            continue
        print(f"== {name} failed:")
        print("\n".join(told(output.rstrip().splitlines())))


if __name__ == "__main__":
    main(*sys.argv[1:])
