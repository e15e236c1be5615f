"""The main program of a process worker: makes its part of the graph, does as it is told, and dies with its parent."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import signal
import socket
import sys
import traceback
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from time import sleep
from typing import Any

from graph import logs
from graph.assembly import Assembly
from graph.books import Books
from graph.build import Builder
from graph.control import Closed, Control
from graph.errors import CauceError, NodeError, in_words, translated
from graph.partition import Part
from graph.site import Site
from graph.tally import Block

PR_SET_PDEATHSIG = 1
WORDS_EVERY_S = 0.2
HEARD_BY_PARENT = (signal.SIGINT, signal.SIGTERM)
"""Signals that a terminal or a service manager sends to all processes; the parent decides what they mean."""
SWITCH_S = 0.0005  # how long a thread may keep the interpreter from the one that reads the sockets


def main(fd: int, parent: int) -> None:
    """Serve the run at the other end of the socket `fd`, started by the process `parent`, until it says so."""
    _die_with(parent)
    for number in HEARD_BY_PARENT:
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which programs that a node starts would inherit
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD_BY_PARENT)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    sys.setswitchinterval(SWITCH_S)
    control = Control(socket.socket(fileno=fd))
    code = 0
    try:
        _serve(control)
    except Closed:
        pass
    except BaseException as e:
        code = 1
        if isinstance(error := translated(e), CauceError):
            _tell(control, "failed", error)
        else:
            traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # libraries that abort when the interpreter takes them down have no say


def _die_with(parent: int) -> None:
    """Be killed when the parent ends in whatever way, also while the interpreter's lock is held by native code."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was faster
        os._exit(1)


def _serve(control: Control) -> None:
    _, (part, plugins, level, names), fds = control.receive()
    logs.hand_over(level, lambda *record: _log(control, record))
    try:
        site = _made(control, part, Builder(plugins), names, fds)
    except Exception as e:
        control.send("failed", NodeError(next(iter(part.nodes)), "setup", in_words(e)))
        return
    site.start()
    Thread(target=_tell_words, args=(control, site), name="cauce-words", daemon=True).start()
    while True:
        kind, values, fds = control.receive()
        if kind == "out":
            site.connect_out(values[0], socket.socket(fileno=fds[0]), is_new=values[1])
        elif kind == "in":
            edge, spec, name = values
            site.connect_in(edge, socket.socket(fileno=fds[0]), fds[1] if name is None else name, spec)
        elif kind == "close_edge":
            site.close_edge(values[0])
        elif kind == "set_up":
            site.set_up().add_done_callback(lambda f: _is_set_up(control, site, f))
        elif kind == "run":
            site.run().add_done_callback(lambda f: _report(control, "over", site, f))
        elif kind == "stop":
            site.stop()
        elif kind == "close":
            control.send("closed", site.close(values[0]))
            return


def _made(control: Control, part: Part, builder: Builder, names: list[str | None], fds: list[int]) -> Site:
    block = Block(Books.size(part), fds[0])
    given = iter(fds[1:])
    rings = {output: next(given) if name is None else name for output, name in zip(part.rings, names, strict=True)}

    def failed(error: CauceError) -> None:
        _tell(control, "failed", error)

    assembly = Assembly(part, Books(part, block), builder, failed, rings=rings)
    for fd in fds:
        os.close(fd)
    return Site(assembly)


def _is_set_up(control: Control, site: Site, future: Future[Any]) -> None:
    gc.collect()
    gc.freeze()  # models and modules stay: collecting garbage between frames need not look at them again
    _report(control, "ready", site, future)


def _report(control: Control, event: str, site: Site, future: Future[Any]) -> None:
    error = future.exception()
    if error is None:
        try:
            _tell(control, event, site.facts)
        except Exception as e:  # a node's facts are something that pickle refuses
            _tell(control, "failed", NodeError(site.part.name, "worker", in_words(e)))
    elif isinstance(translated(error), CauceError):
        _tell(control, "failed", translated(error))
    else:
        _tell(control, "failed", NodeError(site.part.name, "worker", in_words(error)))


def _tell(control: Control, kind: str, *values: Any) -> None:
    try:
        control.send(kind, *values)
    except Closed:
        os._exit(1)


def _log(control: Control, record: tuple[str, int, str]) -> None:
    with suppress(Closed):
        control.send("log", *record)


def _tell_words(control: Control, site: Site) -> None:
    """What nodes have to say of themselves, each time that it has changed."""
    told: dict[str, str] = {}
    while True:
        words = site.words()
        if words != told:
            told = words
            _tell(control, "words", words)
        sleep(WORDS_EVERY_S)
