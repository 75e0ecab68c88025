"""Language model: the chain rule on a sentence, and n-gram models of every order."""

import streamlit as st

from rnnviz import ui
from rnnviz.config import TrainConfig
from rnnviz.ngram import MAX_ORDER
from rnnviz.ui import ngrams

LENGTHS = {"1000": "1,000", "3000": "3,000", "10000": "10,000", "30000": "30,000"}
ORDERS = [str(n) for n in range(1, MAX_ORDER + 1)]

frame = ui.open_page("language_model")
_ = frame.translate

st.markdown(frame.lesson("idea"))
with st.container(border=True):
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    name = ui.choose_text(frame, row, {"zh": "lyrics-zh"}.get(frame.language, "tales-en"), named=True)
    length = ui.pick(row, _("Training characters"), tuple(LENGTHS), "length", LENGTHS.__getitem__, "10000")
    order = int(ui.pick(row, _("Order n"), ORDERS, "n", str, "4"))
    corpus = ui.chosen_corpus(frame, TrainConfig(corpus=name, max_chars=int(length), batch_size=1, num_steps=1))
    text = ngrams.sentence_box(frame, corpus) if corpus else ""

if corpus:
    model = ngrams.fitted(corpus.training)
    st.subheader(_("One sentence, one factor a character"))
    ngrams.show_sentence(frame, model, text, order)
    st.markdown(frame.lesson("step"))
    st.subheader(_("Which n"))
    with ui.beside(frame, "perplexity"):
        ngrams.show_orders(frame, corpus, order)
    st.subheader(_("Why not a larger n"))
    with ui.beside(frame, "growth"):
        ngrams.show_growth(frame, corpus, model, order)
    st.subheader(_("What each order writes"))
    st.markdown(frame.lesson("writing"))
    ngrams.show_writing(frame, corpus, text)

st.subheader(_("What to try"))
st.markdown(frame.lesson("try"))
with st.expander(_("How the counts and the weights are found")):
    st.markdown(frame.lesson("weights"))
with st.expander(_("In code")):
    st.markdown(frame.lesson("code"))
st.markdown(frame.lesson("next"))
