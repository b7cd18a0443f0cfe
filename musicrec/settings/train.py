"""Settings of the genre models: how they are trained, tuned and evaluated, and which one embeds the songs."""

import json
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from musicrec.settings.base import StageSettings
from musicrec.settings.extract import FeatureSet
from musicrec.settings.space_names import READ_SPACES, ReadSpaces

NetworkName = Literal["mlp", "cnn_image", "cnn", "crnn", "resnet"]
ClassicalName = Literal["knn", "logistic", "svm", "random_forest", "whitened_svm"]
ClusteringName = Literal["kmeans", "birch", "gaussian_mixture", "dbscan"]
ModelName = Literal[NetworkName, ClassicalName, ClusteringName]
Output = Literal["sigmoid", "softmax"]
Precision = Literal["float32", "bfloat16"]
Scaling = Literal["standardised", "logarithmic", "whitened"]
Balance = Literal["none", "genre", "genre+artist"]

CHECKPOINT_S = 30.0  # seconds between checkpoints in training


class TrainSettings(StageSettings):
    """Which genre model is trained, and how.

    None means the model's own default: see ``DEFAULTS`` of :mod:`musicrec.models.networks`.
    """

    stage: ClassVar[str] = "train"
    code_version: ClassVar[int] = 2
    open_means: ClassVar[str] = "the model's own"
    formerly: ClassVar[dict[str, Any]] = {"balance": "none", "space": []}
    model: ModelName = Field("mlp", description="Model to train: see musicrec models.")
    feature_set: FeatureSet = Field("iiitd41", description="Feature set, for models that read features.")
    space: ReadSpaces = Field((), description=READ_SPACES)
    params: str = Field(
        "",
        description='Hyper-parameters of a classical model, as JSON such as {"C": 3}; `musicrec tune` finds them.',
    )
    balance: Balance = Field(
        "genre+artist",
        description="How songs are weighted in training. none: all songs equally; genre: all genres equally; "
        "genre+artist: all genres equally, and the artists within a genre by the square root of the number of their "
        "songs.",
    )
    test_fraction: float = Field(
        0.2, gt=0, lt=0.6, description="Share of the songs held out for testing, about one in 2, 3, 4, …"
    )
    seed: int = Field(0, ge=0, description="Seed of the split, the weights and the order of the songs.")
    epochs: int | None = Field(None, ge=1, description="Passes of a network over the training songs.")
    patience: int = Field(
        0,
        ge=0,
        description="Stop after this many epochs in which the loss on a tenth of the training songs did not improve; "
        "0 for never.",
    )
    batch_size: int | None = Field(None, ge=2, description="Songs per training step, over all workers.")
    learning_rate: float | None = Field(None, gt=0, description="Learning rate of Adam.")
    cosine: bool | None = Field(None, description="Let the learning rate fall to zero along a cosine.")
    weight_decay: float | None = Field(None, ge=0, description="Decoupled weight decay, as in AdamW.")
    ema: float | None = Field(
        None, ge=0, lt=1, description="Keep a moving average of the weights, with this momentum; 0 for none."
    )
    precision: Precision = Field("float32", description="Number format of the hidden layers; bfloat16 is for GPUs.")
    output: Output | None = Field(
        None,
        description="Output of a network: one genre out of all (softmax), or each genre on its own (sigmoid).",
    )
    window_s: float | None = Field(
        None,
        ge=0,
        le=600,
        description="Length of the excerpts, in seconds, for networks that read mel-spectrograms.",
    )
    scaling: Scaling | None = Field(
        None,
        description="How the features of mlp are scaled; whitened: songs of one genre vary equally in every direction.",
    )
    dropout: float | None = Field(None, ge=0, lt=1, description="Dropout rate of the network's dropout layers.")
    l1: float | None = Field(None, ge=0, description="L1 penalty on the dense weights of mlp.")
    contrastive: float | None = Field(
        None,
        ge=0,
        description="Weight of the contrastive loss, which pulls songs of one genre by different artists together; "
        "0 for none.",
    )
    mixup: float | None = Field(None, ge=0, description="MixUp: alpha of the Beta distribution; 0 for no MixUp.")
    cutmix: float | None = Field(None, ge=0, description="CutMix: alpha of the Beta distribution; 0 for no CutMix.")
    spec_augment: bool | None = Field(None, description="SpecAugment: mask stripes of time and of frequency.")

    @field_validator("params")
    @classmethod
    def _params_are_json(cls, params: str) -> str:
        try:
            if isinstance(json.loads(params or "{}"), dict):
                return params
        except ValueError:
            pass
        raise ValueError('expected a JSON object such as {"C": 3}')


class EvaluateSettings(StageSettings):
    """Which models are evaluated, and by how many training runs each."""

    stage: ClassVar[str] = "evaluate"
    models: tuple[ModelName, ...] = Field(
        ("mlp", "logistic", "svm", "random_forest", "knn"),
        min_length=1,
        description="Model to evaluate; repeat the option for several.",
    )
    fuse: tuple[str, ...] = Field(
        (),
        description="Also evaluate the mean of several models' probabilities, such as resnet+svm; repeat the option "
        "for several.",
    )
    folds: int = Field(3, ge=2, le=20, description="Number of folds; each fold is tested once.")
    seeds: int = Field(
        1, ge=1, le=100, description="Number of cross-validations, each with its own seed for folds and weights."
    )

    @field_validator("fuse")
    @classmethod
    def _fused_are_judged(cls, fuse: tuple[str, ...], others: ValidationInfo) -> tuple[str, ...]:
        models = others.data.get("models", ())
        for fused in fuse:
            names = fused.split("+")
            unknown = [name for name in names if name not in models]
            if unknown or len(names) < 2:
                raise ValueError(f"expected models of --models joined by +, such as {'+'.join(models[:2])}")
        return fuse


class TuneSettings(StageSettings):
    """Which model's hyper-parameters are searched, and on which songs."""

    stage: ClassVar[str] = "tune"  # not of the chain, so not in STAGES: the table's footer holds its settings
    formerly: ClassVar[dict[str, Any]] = {"space": []}
    model: ClassicalName = Field("svm", description="Model to tune.")
    feature_set: FeatureSet = Field("iiitd41", description="Feature set the model reads.")
    space: ReadSpaces = Field((), description=READ_SPACES)
    balance: Balance = Field("genre+artist", description="How songs are weighted in training, as in train.")
    folds: int = Field(5, ge=2, le=20, description="Number of inner folds of the training songs, split by artist.")
    test_fraction: float = Field(
        0.2, gt=0, lt=0.6, description="Share of the songs that train holds out; tune never uses them."
    )
    seed: int = Field(0, ge=0, description="Seed of the split, the same as in train, and of the folds.")


class EmbedSettings(StageSettings):
    """Which model computes the embeddings."""

    stage: ClassVar[str] = "embed"
    code_version: ClassVar[int] = 2
    model: ModelName = Field("mlp", description="Trained model that computes the embeddings.")
