"""The mean of what the sites' own models predict: no round, and a model of each site to run."""

from collections.abc import Mapping

import pandas as pd

from echofm_core.plan.study import Training
from echofm_core.training.predict import IDENTITY, PROBABILITIES
from simulations.methods.local import Local


class Ensemble(Local):
    """The trainings of :class:`Local`, whose predictions are averaged."""

    name = Training.ENSEMBLE.value
    words = "The mean of the predictions of all sites' own models; each model leaves its site once."
    sends_models = True

    def models(self, found: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        """One row: means over the models that learnt a task."""
        return {self.name: mean_predictions(list(found.values()))}


def mean_predictions(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """The mean over models, a row a clip and task, of rows of ``training.predict.predict``.

    Values are averaged in natural units. Of several classes the probabilities are averaged, and
    the most probable class of the mean is the prediction.
    """
    rows = pd.concat(tables, ignore_index=True)
    keys = [*(name for name in IDENTITY if name in rows), "task", "truth"]
    numbers = ["prediction", *(name for name in PROBABILITIES if name in rows)]
    # A truth or a view may be missing, and is then a key like any other.
    means = rows.groupby(keys, sort=False, dropna=False, observed=True)[numbers].mean()
    found = means.reset_index()
    classes = found[numbers[1:]].astype("float64")
    several = classes.notna().any(axis=1)
    if several.any():
        best = classes[several].fillna(-1.0).to_numpy().argmax(axis=1)
        found.loc[several, "prediction"] = best.astype("float64")
    return found
