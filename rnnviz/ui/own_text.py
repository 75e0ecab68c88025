"""The visitor's own text: a box to paste it into, which a reload does not empty, or a file."""

from __future__ import annotations

import streamlit as st

from rnnviz.ui.components import component
from rnnviz.ui.frame import Frame, as_text

_HTML = '<label class="own-text"><span></span><textarea></textarea></label>'


def pasted_text(frame: Frame) -> str | None:
    """The text in the box; None until the browser has sent it."""
    data = {"label": frame.translate("Your text")}
    box = component("own_text", _HTML)
    text: str | None = box(data=data, key="pasted", default={"text": None}, on_text_change=_nothing).text
    return text


def _nothing() -> None:
    """Calling it is enough: Streamlit runs the script again."""


def uploaded_file(frame: Frame, label: str, key: str = "file") -> bytes | None:
    """The bytes of the file, which stays until another one is uploaded; None before the first.

    Whether it is what the `label` asks for is checked where it is read: Streamlit would only look at its type.
    """
    _ = frame.translate
    size = st.get_option("server.maxUploadSize")
    _translate_uploader(
        key,
        _("Choose a file"),
        _("at most {size} MB").format(size=size),
        _("This file could not be uploaded. A file may have at most {size} MB.").format(size=size),
    )
    file, kept = st.file_uploader(label, key=key), f"{key}-uploaded"
    if file is not None:
        st.session_state[kept] = (file.name, file.getvalue())
    if kept not in st.session_state:
        return None
    name, data = st.session_state[kept]
    if file is None:
        st.caption(_("Still here: {name}").format(name=as_text(name)))
    return bytes(data)


def _translate_uploader(key: str, button: str, limit: str, refused: str) -> None:
    """Translate the uploader's labels, which Streamlit has in English only.

    If the browser refuses a file, Streamlit shows the reason in a tooltip only; `refused` is shown below the file.
    """
    zone = f".st-key-{key} [data-testid=stFileUploaderDropzone"
    chip = f".st-key-{key} [data-testid=stFileChip]"
    words = {f"{zone}] button p": button, f"{zone}Instructions] span": limit, f"{chip} [role=alert]": refused}
    rules = [
        f"{old} {{ visibility: hidden; font-size: 0; }}"
        f'{old}::after {{ visibility: visible; font-size: 0.875rem; content: "{new}"; }}'
        for old, new in words.items()
    ]
    failed = f".st-key-{key}:has([data-testid=stFileChip][aria-invalid=true])"
    rules.append(f'{failed}::after {{ font-size: 0.875rem; content: "{refused}"; }}')
    st.html(f"<style>{''.join(rules)}</style>")
