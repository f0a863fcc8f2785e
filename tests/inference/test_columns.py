import numpy as np
import pytest

from omnimat.base.errors import UserError
from omnimat.finetune.averaging import averaged
from omnimat.finetune.codec import ClassIndex, JointCodec, Standardiser
from omnimat.finetune.tasks import TaskSettings
from omnimat.inference.columns import check_columns, columns_of


def tasks(*targets, **settings):
    return [
        TaskSettings(name=f"task {n}", target=target, **settings)
        for n, target in enumerate(targets)
    ]


@pytest.mark.parametrize("targets", [["gap", "gap"], ["notes"], ["name"], ["gap", "gap_low"]])
def test_two_columns_of_one_name_are_refused(targets):
    with pytest.raises(UserError, match=r"tasks\.task"):
        check_columns(tasks(*targets))


def test_a_scale_and_a_kind_make_other_columns():
    check_columns([*tasks("gap"), *tasks("gap", scale="log10")])
    (metal,) = tasks("is_metal", kind="classification")
    assert columns_of(metal, has_interval=True) == ("is_metal", "is_metal_probability")


def test_what_is_too_large_or_no_number_is_not_finite_and_warns_of_nothing():
    number = Standardiser(mean=0.0, std=1.0, transform="log10")
    labels = ClassIndex(labels=("a", "b"), most_frequent="a")
    values = np.array([[[400, 0, 1], [1, np.nan, 0]], [[400, 0, 1], [2, 0, 0]]], np.float32)
    modulus, label = averaged(JointCodec(codecs=(number, labels)), values)
    assert modulus.is_finite.tolist() == [False, True]
    assert label.is_finite.tolist() == [True, False]
    assert modulus.values[1] == 55
