"""Character models of torch as ours: the same logits, whatever their parts are called, and errors for all else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

import rnnviz
from rnnviz.analysis.own_model import own_run, read_model, read_vocabulary
from rnnviz.errors import InputError
from rnnviz.nn.execution import load_model
from rnnviz.runs.folder import Run, Status

V, D, UNITS = 7, 3, 5
ORDER = ["b", "a", "␣", "<unk>", "d", "c", "e"]  # as ids: not sorted


class Model(nn.Module):
    """What a user has: one part more or less, and names of their own."""

    def __init__(self, kind: str = "GRU", embedded: bool = True, width: int = D, **options: Any) -> None:
        super().__init__()
        self.lookup = nn.Embedding(V, width) if embedded else None
        self.core = getattr(nn, kind)(width if embedded else V, UNITS, **options)
        self.head = nn.Linear(UNITS * (1 + self.core.bidirectional), V, bias=options.get("bias", True))

    def forward(self, ids: Tensor) -> Tensor:
        X = nn.functional.one_hot(ids, V).to(self.head.weight) if self.lookup is None else self.lookup(ids)
        logits: Tensor = self.head(self.core(X)[0])
        return logits


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("as_state_dict", [True, False])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("GRU", {}),
        ("GRU", {"num_layers": 3, "embedded": False}),
        ("LSTM", {"bidirectional": True, "num_layers": 2}),
        ("LSTM", {"bias": False}),
        ("RNN", {}),
        ("GRU", {"width": UNITS}),  # embedding and output layer have one shape; only the latter has a bias
    ],
)
def test_the_logits_are_the_same(kind: str, options: dict[str, Any], as_state_dict: bool) -> None:
    """From the module or from its state dict, to double precision."""
    model = Model(kind, **options).double()
    ours = rnnviz.from_torch(model.state_dict() if as_state_dict else model)
    ids = torch.randint(V, (6, 2))
    torch.testing.assert_close(ours(ids)[0], model(ids), rtol=1e-12, atol=1e-12)


def test_the_activation_is_the_modules() -> None:
    """A module has it; a state dict does not."""
    model = Model("RNN", nonlinearity="relu")
    ids = torch.randint(V, (6, 2))
    torch.testing.assert_close(rnnviz.from_torch(model)(ids)[0], model(ids))
    assert rnnviz.from_torch(model.state_dict()).config.activation == "tanh"


def test_tied_weights() -> None:
    """The embedding is the output layer's matrix: either may be taken for either."""
    model = Model(width=UNITS, bias=False)
    assert model.lookup is not None
    model.head.weight = model.lookup.weight
    ids = torch.randint(V, (6, 2))
    torch.testing.assert_close(rnnviz.from_torch(model)(ids)[0], model(ids))


def without(name: str) -> dict[str, Tensor]:
    return {key: value for key, value in Model().state_dict().items() if key != name}


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"weight": torch.zeros(2, 2)},
        without("head.weight"),
        without("core.weight_hh_l0"),
        without("core.bias_hh_l0"),
        Model().state_dict() | {"extra.weight": torch.zeros(V, D)},
        Model().state_dict() | {"norm.weight": torch.zeros(D)},
        Model().state_dict() | {"head.bias": torch.zeros(V - 1)},
        Model().state_dict() | {"core.weight_ih_l2": torch.zeros(3 * UNITS, UNITS)},
        Model().state_dict() | {"other.weight_ih_l0": torch.zeros(3 * UNITS, D)},
        Model().state_dict() | {"core.weight_ih_l0": torch.zeros(2 * UNITS, D)},
        Model("LSTM", proj_size=2).state_dict(),
        nn.GRUCell(D, UNITS).state_dict(),
        Model(width=UNITS, bias=False).state_dict(),  # either could be the embedding
    ],
)
def test_anything_else_is_refused(state: dict[str, Tensor]) -> None:
    """The error says what was expected and what is there."""
    with pytest.raises(InputError, match=r"expected: an embedding or none.*the state dict has"):
        rnnviz.from_torch(state)


# The two files of a visitor


def test_the_files_become_a_finished_run(tmp_path: Path) -> None:
    """Its model gives each character the logit that the visitor's gives it, though our vocabularies are sorted."""
    model = Model("LSTM")
    config, corpus, checkpoint = own_run(save(model.state_dict()), str(ORDER).replace("'", '"').encode())
    run = Run.create(config, corpus, tmp_path / "run")
    run.save_checkpoint(checkpoint)
    run.set_status(Status("finished"))
    vocabulary, text = run.corpus.vocabulary, "abcd�"
    assert vocabulary.characters == "abcde␣�"
    theirs = torch.tensor([ORDER.index("<unk>" if c == "�" else c) for c in text]).unsqueeze(1)
    logits = load_model(run)(torch.from_numpy(vocabulary.encode(text)).unsqueeze(1))[0]
    columns = vocabulary.encode("".join(ORDER).replace("<unk>", "�"))
    torch.testing.assert_close(logits[..., torch.from_numpy(columns)], model(theirs), rtol=1e-5, atol=1e-5)


def test_half_precision_is_read() -> None:
    """As single precision, in which our runs are stored."""
    _, _, checkpoint = own_run(save({n: v.half() for n, v in Model().state_dict().items()}), b"abcdefg")
    assert {array.dtype for array in checkpoint.arrays.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("data", [b"PK\x03\x04 what torch.save writes", b"\x80\x02 a bare pickle"])
def test_a_pickle_is_never_read(data: bytes) -> None:
    """The error says why, and how to save the model as safetensors."""
    with pytest.raises(InputError, match=r"pickle.*save_file\(model\.state_dict\(\)"):
        read_model(data)


def test_a_file_that_begins_as_a_pickle_does() -> None:
    """A .safetensors file begins with the length of its header, whose first byte may be 0x80, as a pickle's is."""
    weight = {"w": torch.ones(2)}
    data = next(data for n in range(64) if (data := save(weight, {"note": "x" * 8 * n}))[0] == 0x80)
    np.testing.assert_array_equal(read_model(data)["w"], [1, 1])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a .safetensors file"),
        (b"hello", "not a .safetensors file"),
        (save(Model().state_dict())[:-4], "not a .safetensors file"),
        (save({"w": torch.zeros(2, dtype=torch.int64)}), "'w' of the model is int64"),
        (save({"w": torch.full((2,), torch.nan)}), "'w' of the model is not finite"),
        (save({"w": torch.zeros(2, dtype=torch.bfloat16)}), "allowed: finite numbers|cannot|not a .safetensors"),
    ],
)
def test_a_file_that_is_no_model(data: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_model(data)


@pytest.mark.parametrize(
    ("data", "characters"),
    [
        (b'["b", "a", "\\n"]', ["b", "a", "\n"]),
        (b"ba\n", ["b", "a", "\n"]),
        (b"abba\nab", ["\n", "a", "b"]),
        (b'["<unk>", "a", "b"]', ["�", "a", "b"]),
        (b"123", ["1", "2", "3"]),
    ],
)
def test_vocabularies(data: bytes, characters: list[str]) -> None:
    """A list, or a text with each character once, is in the order of the ids; a longer text is sorted."""
    assert read_vocabulary(data, 3)[0] == characters


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"ab", "2 entries, 2 of them different; the model reads 3"),
        (b'["a", "a", "b"]', "3 entries, 2 of them different"),
        (b'["<pad>", "a", "b"]', "the entry '<pad>'; allowed: single characters, and <unk>"),
        (b'["", "a", "b"]', "the entry ''"),
        (b"[12, 3, 4]", "the entry '12'"),
    ],
)
def test_vocabularies_that_do_not_fit(data: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_vocabulary(data, 3)
