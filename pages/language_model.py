"""Language model: the chain rule on a sentence, and n-gram models of every order."""

import streamlit as st

from rnnviz import ui
from rnnviz.chapters import language_model
from rnnviz.config import TrainConfig
from rnnviz.text.ngram import MAX_ORDER

LENGTHS = {"1000": "1,000", "3000": "3,000", "10000": "10,000", "30000": "30,000"}
ORDERS = [str(n) for n in range(1, MAX_ORDER + 1)]

frame = ui.open_page("language_model")
_ = frame.translate

ui.introduce(frame, "idea")
place = st.container()
with st.container(border=True):
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    name = ui.choose_text(frame, row)
    limit = _("Training characters")
    length = ui.pick(row, limit, tuple(LENGTHS), "length", LENGTHS.__getitem__, "10000")
    order = int(ui.pick(row, _("Order n"), ORDERS, "n", str, "4"))
    config = TrainConfig(corpus=name, max_chars=int(length), batch_size=1, num_steps=1)
    corpus = ui.chosen_corpus(frame, config, limit)

if corpus:
    model = language_model.fitted(corpus.training)
    with place:
        text = language_model.sentence_box(frame, corpus)
    st.header(_("One sentence, one factor per character"))
    language_model.show_sentence(frame, place, model, text, order)
    st.markdown(frame.lesson("step"))
    st.header(_("Which n"))
    with ui.beside(frame.lesson("perplexity")):
        language_model.show_orders(frame, corpus, order)
    st.header(_("Why not a larger n"))
    with ui.beside(frame.lesson("growth")):
        language_model.show_growth(frame, corpus, model, order)
    st.header(_("What each order writes"))
    st.markdown(frame.lesson("writing"))
    language_model.show_writing(frame, corpus, text)

st.header(_("What to try"))
st.markdown(frame.lesson("try"))
with st.expander(_("How the counts and the weights are found")):
    st.markdown(frame.lesson("weights"))
ui.show_code(frame, frame.lesson("code"))
st.markdown(frame.lesson("next"))
