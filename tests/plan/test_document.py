"""The plan refuses what it does not know, and its hash depends on decisions alone."""

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echofm_core.plan.complaints import tables
from echofm_core.plan.document import Plan
from echofm_core.plan.federation import FederationConfig, TrunkWeights
from echofm_core.plan.load import load_plan, plan_from_json, plan_from_mapping
from echofm_core.runtime.errors import PlanError

#: A list, whose numbers a validator bounds.
GRID = "position_grid"


def test_round_trip_through_toml_and_json_keeps_the_hash(tmp_path: Path) -> None:
    plan = plan_from_mapping({"name": "x", "seed": 3, "data": {"size": 64}}, "test")
    (tmp_path / "plan.toml").write_text(plan.to_toml())
    assert load_plan(tmp_path / "plan.toml").digest() == plan.digest()
    assert plan_from_json(plan.to_json()).digest() == plan.digest()


def test_where_it_runs_is_not_part_of_the_hash() -> None:
    here = plan_from_mapping({"machine": {"workers": 1, "roots": ["a"]}}, "test")
    there = plan_from_mapping({"machine": {"workers": 8, "devices": 4, "roots": ["b"]}}, "test")
    ray = {"engine": "ray", "ray": {"address": "head:6379", "gpus": 0.25}}
    cluster = plan_from_mapping({"machine": ray}, "test")
    assert here.digest() == there.digest() == cluster.digest()
    assert "head" not in cluster.to_json()  # which travels to the sites
    assert plan_from_mapping({"seed": 1}, "test").digest() != here.digest()


def test_a_plan_without_unseen_sites_has_the_hash_of_before_there_were_any() -> None:
    """The key travels, and counts, where sites are named alone."""
    assert "unseen" not in Plan().to_json()
    named = plan_from_mapping({"protocol": {"unseen": ["valley"]}}, "test")
    assert named.digest() != Plan().digest()
    assert plan_from_json(named.to_json()).protocol.unseen == ("valley",)


#: Keys of ``[federation]`` that came after plans were hashed -> a value that is not the default.
LATER_KEYS: dict[str, object] = {
    "server_momentum": 0.5,
    "trimmed_share": 0.25,
    "faulty_sites": 2,
    "kept_sites": 3,
    "fairness_q": 2.0,
    "fairness_lipschitz": 10.0,
}
#: Those that only a plan with a rule of its own may have.
OF_OWN_RULES = {"rule", "rule_sha256"}


def test_a_plan_without_later_keys_has_the_hash_of_before_there_were_any() -> None:
    """They are left out at their defaults, and count elsewhere."""
    assert LATER_KEYS.keys() | OF_OWN_RULES == FederationConfig.later
    assert not any(f'"{key}"' in Plan().to_json() for key in FederationConfig.later)
    for key, value in LATER_KEYS.items():
        changed = plan_from_mapping({"federation": {key: value}}, "test")
        assert changed.digest() != Plan().digest()
        assert plan_from_json(changed.to_json()) == changed
    assert '"leave_one_out"]' in Plan().to_json(), "the default baselines are those of before"


def test_a_plan_that_predicts_pixels_has_the_hash_of_before_there_were_cells() -> None:
    assert '"cell"' not in Plan().to_json()
    cells = plan_from_mapping({"pretrain": {"cell": 4}}, "test")
    assert cells.digest() != Plan().digest()
    assert plan_from_json(cells.to_json()).pretrain.cell == 4


def test_a_plan_with_separate_means_of_adapters_has_the_hash_of_before_there_were_others() -> None:
    """The key is hashed where it is not at its default."""
    values: dict[str, object] = {"mode": "lora"}
    plain = plan_from_mapping({"finetune": values}, "test")
    assert '"averaging"' not in plain.to_json()
    found = {}
    for averaging in ("separate", "exact"):
        lora = {"lora": {"averaging": averaging}}
        found[averaging] = plan_from_mapping({"finetune": {**values, **lora}}, "test")
    assert found["separate"].digest() == plain.digest() != found["exact"].digest()
    assert found["exact"].finetune.exact_adapters and not plain.finetune.exact_adapters
    assert plan_from_json(found["exact"].to_json()) == found["exact"]


def test_a_plan_without_personal_parts_has_the_hash_of_before_there_were_any() -> None:
    """The table travels, and counts, where something in it is not the default alone."""
    assert '"personal"' not in Plan().to_json() and "personal" not in Plan().to_toml()
    named = plan_from_mapping({"personal": {"groups": ["heads"]}}, "test")
    assert named.digest() != Plan().digest()
    assert plan_from_json(named.to_json()) == named
    assert plan_from_mapping({"personal": {"groups": []}}, "test").digest() == Plan().digest()
    assert "lora_rank" not in named.to_json()  # which came later


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"sead": 1}, "unknown key `sead`, did you mean `seed`"),
        ({"fintune": {"rounds": 1}}, "unknown key `fintune`, did you mean `finetune`"),
        ({"data": {"sise": 64}}, "unknown key `data.sise`, did you mean `size`"),
        ({"zzz": 1}, "unknown key `zzz`."),
        ({"batch_size": 2}, "unknown key `batch_size`, which belongs to [pretrain] or [finetune]"),
        ({"finetune": {"augmentation": {"rotate": 3}}}, "did you mean `rotation`"),
        ({"finetune": {"tasks": ["ef", "evd"]}}, "`finetune.tasks`: 'evd' is none of ef, esv,"),
        ({"finetune": {"tasks": ["ef", "evd"]}}, "view, did you mean 'edv'."),
        ({"finetune": {"tasks": []}}, "finetune.tasks is empty"),
        ({"protocol": {"name": "quallity"}}, "did you mean 'quality'"),
        ({"protocol": {"views": ["A4C", "a2c"]}}, "there is no view 'a2c', did you mean 'A2C';"),
        ({"protocol": {"views": ["4CH"]}}, "there is no view '4CH'"),
        ({"protocol": {"test_fraction": 0.5, "validation_fraction": 0.5}}, "no patient to train"),
        ({"finetune": {"reduced_ef_threshold": 0.5}}, "greater than or equal to 10, got 0.5"),
        ({"finetune": {"standardisation": {"ef": [0.558, 0.124]}}}, "standard deviation 0.124"),
        ({"finetune": {"standardisation": {"edv": [120, 40]}}}, "the logarithm of ml"),
        (
            {"protocol": {"name": "dirichlet", "clients": 3}, "federation": {"min_sites": 4}},
            "federation.min_sites is 4, but protocol.clients makes 3 sites",
        ),
        (
            {
                "protocol": {"name": "dirichlet", "clients": 4, "unseen": ["client-03"]},
                "federation": {"min_sites": 4},
            },
            "protocol.clients makes 3 sites besides those of protocol.unseen",
        ),
        ({"data": {"size": 100}, "model": {"patch": 16}}, "`data.size`: input should be a multip"),
        ({"data": {"size": 72}}, "data.size 72 is not a multiple of model.patch 16"),
        ({"pretrain": {"rounds": 0}, "finetune": {"rounds": 0}}, "nothing to do"),
        ({"data": {"tmed2": {"form": "bag"}}}, "form is bag, but model.stf_net is compact"),
        ({"data": {"tmed2": {"fold": 3}}}, "`data.tmed2.fold`: input should be less than or eq"),
        ({"privacy": {"kind": "local"}}, "exactly one of epsilon and noise_multiplier"),
        ({"federation": {"server_beta2": 1}}, "`federation.server_beta2`: input should be less"),
        ({"federation": {"server_tau": 0}}, "`federation.server_tau`: input should be greater"),
        (
            {
                "federation": {"aggregation": "scaffold"},
                "privacy": {"kind": "local", "noise_multiplier": 1.0},
            },
            "federation.aggregation is scaffold, but privacy.kind is local",
        ),
        (
            {
                "federation": {"aggregation": "qfedavg"},
                "privacy": {"kind": "local", "noise_multiplier": 1.0},
            },
            "federation.aggregation is qfedavg, but privacy.kind is local",
        ),
        (
            {"federation": {"aggregation": "qfedavg", "report_validation": False}},
            "weighs sites by their validation loss, but report_validation is false",
        ),
        ({"finetune": {"local_steps": 9, "local_epochs": 2}}, "= 9 and local_epochs = 2 both say"),
        ({"finetune": {"local_steps": -1}}, "`finetune.local_steps`: input should be greater than"),
        (
            {"federation": {"trunk_weights": "task"}},
            "'task' is none of clips, equal, task_family",
        ),
        ({"pretrain": {"target": "latent"}}, "less than rounds, which is 10, got 0"),
        ({"pretrain": {"target": "latent", "teacher_rounds": 10}}, "which is 10, got 10"),
        ({"pretrain": {"teacher_rounds": 2}}, 'target is "pixels", which has no teacher'),
        ({"pretrain": {"cell": 5}}, "pretrain.cell 5 does not divide model.patch 16"),
        ({"pretrain": {"target": "latents"}}, "is none of pixels, latent, did you mean 'latent'"),
        (
            {"personal": {"groups": ["norms"]}, "finetune": {"mode": "linear"}},
            'finetune.mode = "linear" trains heads alone, but personal.groups is norms',
        ),
        (
            {"personal": {"groups": ["stf_net", "heads"]}, "finetune": {"mode": "stf_probe"}},
            "there is nothing left to average",
        ),
        (
            {"personal": {"groups": ["heads"]}, "federation": {"select": "best"}},
            'federation.select = "best" may ship an earlier round',
        ),
        ({"personal": {"groups": ["head"]}}, "none of heads, stf_net, norms, did you mean 'heads'"),
        (
            {"personal": {"share_final": True}},
            "share_final is true, but personal.groups names none",
        ),
        ({"personal": {"alternate_steps": 3}}, "alternate_steps is 3, but personal.groups names"),
        (
            {"personal": {"groups": ["heads"], "alternate_steps": 20}},
            "alternate_steps is 20, but finetune.local_steps is 20",
        ),
        (
            {
                "personal": {"groups": ["heads"], "alternate_steps": 5},
                "privacy": {"kind": "local", "noise_multiplier": 1.0},
            },
            'personal.alternate_steps is 5, but privacy.kind is "local"',
        ),
        (
            {
                "personal": {"last_steps": 5},
                "privacy": {"kind": "local", "noise_multiplier": 1.0},
            },
            'personal.last_steps is 5, but privacy.kind is "local"',
        ),
        (
            {"personal": {"groups": ["norms"], "ditto": 0.5}},
            "ditto is 0.5, which is a whole personal model, but personal.groups is norms",
        ),
        (
            {"personal": {"ditto": 1}, "finetune": {"mode": "lora"}},
            "personal.ditto is 1, but finetune.mode is lora",
        ),
        (
            {
                "finetune": {"mode": "lora", "lora": {"averaging": "exact"}},
                "federation": {"aggregation": "median"},
            },
            "averaging is exact, but federation.aggregation is median",
        ),
        (
            {"finetune": {"lora": {"averaging": "exact", "freeze_a": True}}},
            "with freeze_a = true the mean of adapters is exact already",
        ),
        (
            {"personal": {"lora_rank": 4}},
            "personal.lora_rank is 4, a second adapter beside the federated one, but finetune.mode",
        ),
        (
            {
                "personal": {"lora_rank": 4, "groups": ["heads"], "share_final": True},
                "finetune": {"mode": "lora"},
            },
            "an adapter that never leaves its site, but personal.share_final is true",
        ),
        (
            {
                "personal": {"lora_rank": 4},
                "finetune": {"mode": "lora"},
                "federation": {"select": "best"},
            },
            "a site keeps its local adapter (personal.lora_rank) of the last rounds alone",
        ),
        (
            {
                "personal": {"lora_rank": 129},
                "finetune": {"mode": "lora"},
                "model": {"size": "tiny"},
            },
            "personal.lora_rank 129 is above the encoder's width 128",
        ),
        ({"personal": {"groups": ["heads"]}, "finetune": {"rounds": 0}}, "finetune.rounds is 0"),
        ({"pretrain": {"mask_ratio": 1.5}}, "`pretrain.mask_ratio`: input should be less than 1"),
    ],
)
def test_a_wrong_plan_gets_one_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan_from_mapping(values, "plan.toml")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_plan_or_a_plan_error(tmp_path_factory: pytest.TempPathFactory, text: str):
    path = tmp_path_factory.mktemp("plan") / "plan.toml"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        assert isinstance(load_plan(path), Plan)
    except PlanError as error:
        assert str(path) in str(error)


def test_a_plan_that_names_one_of_two_keys_means_that_one(tmp_path: Path) -> None:
    """Epochs without steps are epochs; an exponent without weights of the trunk is of all groups.
    What is written of it, defaults spelled out, reads as the same plan.
    """
    tables = {"finetune": {"local_epochs": 3}, "federation": {"weight_exponent": 0.5}}
    plan = plan_from_mapping(tables, "test")
    assert (plan.finetune.local_steps, plan.finetune.local_epochs) == (0, 3)
    assert plan.federation.trunk_weights is TrunkWeights.CLIPS
    assert plan_from_json(plan.to_json()).digest() == plan.digest()
    both = {"finetune": {"local_steps": 7, "local_epochs": 1}}
    assert plan_from_mapping(both, "test").finetune.local_steps == 7
    mixed = {"federation": {"weight_exponent": 0.5, "trunk_weights": "task_family"}}
    assert plan_from_mapping(mixed, "test").federation.trunk_weights is TrunkWeights.TASK_FAMILY
    assert plan_from_json(Plan().to_json()).digest() == Plan().digest()
    assert Plan().finetune.local_steps and Plan().federation.trunk_weights is TrunkWeights.EQUAL


def test_a_missing_plan_says_where_it_was_sought(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="does not exist"):
        load_plan(tmp_path / "none.toml")


def test_roots_are_relative_to_the_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('[machine]\nroots = ["data/camus"]\n')
    assert load_plan(path).machine.roots == (str(tmp_path.resolve() / "data/camus"),)


def test_a_word_where_a_list_belongs_is_said_in_the_words_of_toml() -> None:
    with pytest.raises(PlanError, match=r"`machine\.roots`: write a list, in square brackets, got"):
        plan_from_mapping({"machine": {"roots": "data"}}, "of a test")


def test_every_number_of_a_plan_has_an_upper_bound() -> None:
    """A site trains what a plan says: none may ask for a billion passes, or a delta of 2."""
    endless = []
    for table, section in tables(Plan):
        for key, info in section.model_fields.items():
            if {info.annotation, *get_args(info.annotation)} & {int, float} and key != GRID:
                rules = (getattr(rule, end, None) for rule in info.metadata for end in ("le", "lt"))
                bounds = [float(bound) for bound in rules if bound is not None]
                if not bounds or max(bounds) == float("inf"):
                    endless.append(f"{table}.{key}")
    assert not endless
    for grid in ([1, 1, 513], [0, 1, 1], [1, 1]):
        with pytest.raises(PlanError, match="three sizes from 1 to 512"):
            plan_from_mapping({"model": {GRID: grid}}, "test")
    with pytest.raises(PlanError, match="local_epochs"):
        plan_from_mapping({"finetune": {"local_epochs": 10**9}}, "test")
