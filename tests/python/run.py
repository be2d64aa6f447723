"""Runs one module of CPython's own test suite and says what became of each case: run.py SECONDS MODULE

Lines: "@case MODULE CLASS.METHOD OUTCOME [REASON]". After so many seconds the process ends and shows where its threads are.
"""

import faulthandler
import os
import sys
import unittest

from test import support

OUT = os.dup(1)


def say(line):
    os.write(OUT, f"\n{line}\n".encode(errors="backslashreplace"))


class Result(unittest.TestResult):
    """Tells each outcome when it is known: a later case may end the process."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        self.broken = set()

    def tell(self, test, outcome, reason=""):
        name = test.id().removeprefix(self.module + ".")
        reason = " ".join(str(reason).split())
        say(f"@case {self.module.removeprefix('test.')} {name.replace(' ', '_')} {outcome} {reason}".rstrip())

    def explain(self, test, err):
        say(self._exc_info_to_string(err, test))

    def startTest(self, test):
        super().startTest(test)
        say(f"@start {test.id()}")

    def addSuccess(self, test):
        if test.id() not in self.broken:
            self.tell(test, "ok")

    def addFailure(self, test, err):
        self.explain(test, err)
        self.tell(test, "failed", f"{err[0].__name__}: {err[1]}")

    def addError(self, test, err):
        self.explain(test, err)
        self.tell(test, "failed", f"{err[0].__name__}: {err[1]}")

    def addSkip(self, test, reason):
        self.tell(test, "skipped", reason)

    def addExpectedFailure(self, test, err):
        self.tell(test, "ok")

    def addUnexpectedSuccess(self, test):
        self.tell(test, "failed", "unexpected success")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None and test.id() not in self.broken:
            self.broken.add(test.id())
            self.addError(test, err)


def main():
    seconds, module = sys.argv[1:]
    faulthandler.dump_traceback_later(int(seconds), exit=True, file=OUT)
    support.use_resources = ["cpu", "subprocess", "walltime"]
    name = f"test.{module}"
    try:
        suite = unittest.defaultTestLoader.loadTestsFromName(name)
    except unittest.SkipTest as reason:
        say(f"@case {module} module skipped {reason}")
        return
    suite.run(Result(name))
    faulthandler.cancel_dump_traceback_later()


main()
