"""The way to hand on what is on the page: its address to copy, and as a code that a camera reads."""

from __future__ import annotations

import json
from io import BytesIO

import segno

from rnnviz.errors import InputError
from rnnviz.i18n import Translate
from rnnviz.ui.components import component

MOST_BYTES = 2_000  # of an address; a code of more is too fine for a camera at the back of a room


def code_of(address: str) -> bytes:
    """The QR code of an address as SVG, black on white with its margin.

    Raises InputError for what is no address of a page, or a long one.
    """
    if not address.startswith(("http://", "https://")):
        raise InputError("the address is {address}; allowed: one with http or https", address=address[:80])
    if len(address.encode()) > MOST_BYTES:
        raise InputError(
            "the address has {size:,} bytes; allowed: at most {limit:,}", size=len(address.encode()), limit=MOST_BYTES
        )
    drawn = BytesIO()
    segno.make_qr(address, error="l").save(drawn, kind="svg", omitsize=True, light="#FFFFFF", xmldecl=False)
    return drawn.getvalue()


def send_this(translate: Translate) -> None:
    """A button that opens the address of exactly this view, as the browser has it, and its code."""
    _ = translate
    words = {
        "open": _("Send this view"),
        "address": _("Address"),
        "copy": _("Copy"),
        "copied": _("Copied"),
        "watch": _("Only to watch: without Train, Pause and Stop"),
        "code": _("QR code of the address"),
        "long": _("The address is too long for a code."),
        "here": _("This address leads nowhere on other devices: open the page by this computer’s name in the network."),
        "close": _("Close"),
    }
    html = '<div class="send-this"><button type="button" class="send-open"></button></div>'
    component("send_this", html)(data=json.dumps(words).encode(), key="send")
