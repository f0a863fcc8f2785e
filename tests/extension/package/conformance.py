"""The suites that omnimat ships, as the package's own tests would run them."""

from omnimat_phonons.encoder import CurveMlpSettings
from omnimat_phonons.features import PhononCurve
from omnimat_phonons.source import PhononPrototypes

from omnimat.modalities.dos.transformer import DosTransformerSettings
from omnimat.testing.encoder_conformance import EncoderConformance
from omnimat.testing.featurizer_conformance import FeaturizerConformance


def phonon_records():
    return tuple(
        record
        for record in PhononPrototypes(num_materials=16, max_atoms=8).read(0, 16)
        if "phonon_dos" in record.parts
    )


class TestPhononCurve(FeaturizerConformance):
    featurizer = PhononCurve()
    needs = ("phonon_dos",)

    def records(self):
        return phonon_records()[:4]


class PhononEncoder(EncoderConformance):
    featurizer = PhononCurve()

    def records(self):
        return phonon_records()


class TestDosTransformer(PhononEncoder):
    settings = DosTransformerSettings(preset="tiny", energy_scale_ev=0.05)


class TestCurveMlp(PhononEncoder):
    settings = CurveMlpSettings(preset="tiny")
