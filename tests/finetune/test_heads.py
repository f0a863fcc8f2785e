"""What every head owes its callers, and what tells them apart."""

import pytest
import torch
from pydantic import ValidationError

from omnimat.finetune.heads.head import HEADS
from omnimat.finetune.heads.tokens import Tokens
from omnimat.testing.sent import sent

MODALITIES = ("structure", "xrd", "composition")
WIDTH, OUT = 8, 5

every_head = pytest.mark.parametrize("name", ["linear", "concat", "gated", "attention"])
every_fusion = pytest.mark.parametrize("name", ["concat", "gated", "attention"])


def build(name, modalities=MODALITIES, **changes):
    presets = {} if name == "linear" else {"preset": "tiny"}
    return HEADS.load(name)(**presets | changes).build(modalities, WIDTH, OUT)


def embeddings(n, modalities=MODALITIES, dtype=torch.float32):
    return {modality: torch.randn(n, WIDTH, dtype=dtype) for modality in modalities}


def everywhere(values):
    return {modality: torch.ones(len(v), dtype=torch.bool) for modality, v in values.items()}


def stacked(values, **missing):
    """Tokens of these embeddings, absent where a keyword says so: ``xrd=[0, 2]``."""
    present = everywhere(values)
    for modality, rows in missing.items():
        present[modality][rows] = False
    return Tokens.stack(MODALITIES, values, present)


@every_head
def test_any_subset_is_fused_and_what_is_missing_does_not_matter(name):
    fusion = build(name).double().eval()
    values = embeddings(7, dtype=torch.float64)
    tokens = stacked(values, structure=[1, 4, 5, 6], xrd=[2, 4, 6], composition=[3, 5, 6])
    fused = fusion(tokens)
    assert fused.shape == (7, OUT)
    assert fused.isfinite().all()
    changed = torch.where(tokens.present[..., None], tokens.values, 1e3)
    torch.testing.assert_close(fusion(Tokens(changed, tokens.present)), fused, rtol=0, atol=0)
    alone = torch.cat([fusion(Tokens(v[None], p[None])) for v, p in zip(*tokens, strict=True)])
    torch.testing.assert_close(alone, fused)


@every_head
def test_every_present_modality_counts(name):
    fusion = build(name)
    tokens = stacked(embeddings(2), xrd=[1])
    values = tokens.values.clone().requires_grad_()
    fusion(Tokens(values, tokens.present)).square().sum().backward()
    counts = values.grad.abs().amax(dim=-1) > 0
    assert torch.equal(counts, tokens.present)
    # A modality that is there gives another result than one that is not.
    assert not torch.allclose(fusion(stacked({**embeddings(1)})), fusion(tokens)[1:])


@every_head
def test_modalities_left_out_are_missing_everywhere(name):
    fusion = build(name).eval()
    values = embeddings(3)
    part = {"composition": values["composition"]}
    fused = fusion(Tokens.stack(MODALITIES, part, everywhere(part)))
    masked = fusion(stacked(values, structure=[0, 1, 2], xrd=[0, 1, 2]))
    torch.testing.assert_close(fused, masked, rtol=0, atol=0)


def test_what_cannot_be_lined_up_is_refused():
    for values in ({}, embeddings(2, ("dos",))):
        with pytest.raises(ValueError, match="cannot take"):
            Tokens.stack(MODALITIES, values, everywhere(values))


@every_fusion
def test_the_order_of_the_modalities_is_a_matter_of_weights(name):
    """A fusion of the modalities in another order, with its weights moved alike, is the same."""
    fusion, order = build(name).double().eval(), [2, 0, 1]
    twin = build(name, [MODALITIES[i] for i in order]).double().eval()
    twin.load_state_dict({k: moved(k, fusion.state_dict(), order) for k in fusion.state_dict()})
    tokens = stacked(embeddings(4, dtype=torch.float64), xrd=[1], structure=[2, 3])
    turned = Tokens(tokens.values[:, order], tokens.present[:, order])
    torch.testing.assert_close(twin(turned), fusion(tokens))
    assert not torch.allclose(fusion(turned), fusion(tokens))


def moved(key, state, order):
    """Reorder the weights that belong to a modality."""
    if key.startswith("proposals."):
        _, place, kind = key.split(".")
        return state[f"proposals.{order[int(place)]}.{kind}"]
    value = state[key]
    if key in {"absent", "kinds"}:
        return value[order]
    if key == "layers.0.weight":
        return value.unflatten(1, (3, WIDTH))[:, order].flatten(1)
    if key == "gates.weight":
        parts = value.unflatten(1, (3, WIDTH)).unflatten(0, (3, -1))
        return parts[order][:, :, order].reshape(value.shape)
    if key == "gates.bias":
        return value.unflatten(0, (3, -1))[order].flatten()
    return value


@every_fusion
def test_every_parameter_learns_where_something_is_missing(name):
    fusion = build(name)
    fusion(
        stacked(embeddings(4), xrd=[0], structure=[1], composition=[2])
    ).square().sum().backward()
    for key, parameter in fusion.named_parameters():
        assert parameter.grad is not None, key
        assert bool(parameter.grad.any()), key


@every_fusion
@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_gives_no_rows_and_zero_gradients(name, training):
    fusion = build(name, modality_dropout=0.5).train(training)
    fused = fusion(stacked(embeddings(0)))
    assert fused.shape == (0, OUT)
    fused.sum().backward()
    assert not any(bool(parameter.grad.any()) for parameter in fusion.parameters())


@every_head
def test_a_head_that_was_sent_is_the_same(name):
    fusion = build(name).eval()
    twin = sent(fusion)
    tokens = stacked(embeddings(2), xrd=[1])
    torch.testing.assert_close(twin(tokens), fusion(tokens), rtol=0, atol=0)


@every_fusion
@pytest.mark.parametrize("converted", [False, True], ids=["autocast", "converted"])
def test_half_precision(name, converted):
    fusion = build(name)
    tokens = stacked(embeddings(32), xrd=[0, 1], structure=[1, 2], composition=[1])
    exact = fusion(tokens).detach()
    if converted:
        fusion.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not converted):
        rough = fusion(tokens)
    rough.float().sum().backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in fusion.parameters())
    error = (rough.detach().float() - exact).norm() / exact.norm()
    # 8 significant bits through at most a dozen layers; 0.003 to 0.012 over ten seeds.
    assert 0 < float(error) < 0.02


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@every_fusion
@pytest.mark.parametrize("n", [0, 5])
def test_the_gpu_fuses_in_half_precision(name, n):
    fusion = build(name).cuda()
    tokens = stacked(embeddings(n), xrd=[0] if n else [])
    with torch.autocast("cuda", dtype=torch.bfloat16):
        fused = fusion(Tokens(*(part.cuda() for part in tokens)))
    fused.float().sum().backward()
    assert fused.shape == (n, OUT)
    assert all(bool(parameter.grad.isfinite().all()) for parameter in fusion.parameters())


def test_concatenation_has_three_linear_layers():
    layers = [m for m in build("concat").modules() if isinstance(m, torch.nn.Linear)]
    assert [(m.in_features, m.out_features) for m in layers] == [(24, 32), (32, 32), (32, OUT)]


def test_gates_of_a_single_modality_are_one():
    fusion = build("gated").eval()
    values = embeddings(3)
    fused = fusion(stacked(values, structure=[0, 1, 2], xrd=[0, 1, 2]))
    proposed = torch.tanh(fusion.proposals[2](values["composition"]))
    torch.testing.assert_close(fused, fusion.head(proposed))


def test_attention_is_the_textbooks_over_what_is_present():
    """One block of one head, written out with a loop over materials and no mask."""
    fusion = build("attention", num_heads=1).double().eval()
    (block,) = fusion.blocks
    tokens = stacked(embeddings(3, dtype=torch.float64), xrd=[0], structure=[1], composition=[1])
    expected = []
    for values, present in zip(*tokens, strict=True):
        seen = torch.cat([fusion.readout, (fusion.project(values) + fusion.kinds)[present]])
        joint = block.query_key_value(block.attention_norm(seen))
        query, key, value = joint.chunk(3, dim=-1)
        weights = (query @ key.T / key.shape[-1] ** 0.5).softmax(dim=-1)
        mixed = seen + block.attended(weights @ value)
        expected.append(fusion.head((mixed + block.mlp(mixed))[0]))
    torch.testing.assert_close(fusion(tokens), torch.stack(expected))


@every_fusion
def test_dropout_hides_modalities_in_training_but_never_all(name):
    fusion = build(name, modality_dropout=0.5)
    tokens = stacked(embeddings(1000), xrd=list(range(500)))
    seen = fusion.seen(tokens.present)
    assert not (seen & ~tokens.present).any()
    assert seen.any(dim=1).all()
    # Half of those with two modalities keep one, of those with three 3 of 8.
    assert (seen.sum(dim=1) == 1).float().mean() == pytest.approx(0.4375, abs=0.06)
    whole = fusion.eval()(tokens)
    torch.testing.assert_close(fusion(tokens), whole, rtol=0, atol=0)
    assert not torch.allclose(fusion.train()(tokens), whole)


def test_attention_shares_its_width_among_its_heads():
    with pytest.raises(ValidationError, match="multiple of num_heads"):
        HEADS.load("attention")(hidden_width=30)


def test_the_name_of_a_head_is_its_type():
    assert {name: head().type for name, head in HEADS.load_all().items()} == {
        name: name for name in HEADS.names
    }
