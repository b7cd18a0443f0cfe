"""Clusterings: found without genres, with the figures of the reference system, and placing new songs as they should."""

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import DBSCAN, Birch, KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import davies_bouldin_score, silhouette_score
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from musicrec import features
from musicrec.columns import CLUSTERS, SWEEP
from musicrec.embed import embed
from musicrec.errors import ModelError
from musicrec.evaluate.clustering import agreement, quality, sweep
from musicrec.models import CLUSTERINGS, Classical, load, read_card
from musicrec.models import clustering as clusterings
from musicrec.models.classical import fit
from musicrec.models.clustering import GenreOfCluster, PredictingDBSCAN, TreelessBirch
from musicrec.models.pipelines import build
from musicrec.report import write_report
from musicrec.report.clusters import cluster_map
from musicrec.settings import EmbedSettings, TrainSettings
from musicrec.storage import Store
from musicrec.train import train


@parametrize_with_checks(
    [
        GenreOfCluster(KMeans(9, random_state=0)),
        GenreOfCluster(GaussianMixture(3, random_state=0)),
        PredictingDBSCAN(),
        TreelessBirch(),
    ]
)
def test_steps_keep_the_rules_of_scikit_learn(estimator, check):
    check(estimator)


def blobs(n=240, n_features=41, n_classes=4, spread=0.3, seed=0):
    """Songs of genres that lie far apart, so that clusters can be genres."""
    draw = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    X = spread * draw.normal(size=(n, n_features)) + draw.normal(size=(n_classes, n_features))[y]
    return X.astype(np.float32), y.astype(np.int32)
