"""TRIPOD+AI, for studies of prediction models: 27 items, 52 with their parts.

Checked: number and topic of all items, against a public copy of the table (CC BY 4.0). Not checked:
the published supplement itself, which was out of reach. Wording here is ours.

Source: Collins et al., BMJ 2024;385:e078378.
"""

from echofm_core.report.checklist import data, model, results
from echofm_core.report.checklist.item import Checklist, Item

TRIPOD_AI = Checklist(
    name="TRIPOD+AI",
    source="Collins et al., BMJ 2024;385:e078378",
    items=(
        Item("1", "title", (model.kind,), "the title, with the target population"),
        Item("2", "abstract"),
        Item("3a", "health care context and reasons"),
        Item("3b", "target population, purpose and users"),
        Item("3c", "known inequalities in health"),
        Item("4", "objectives: development, evaluation or both", (model.goal,), "the objectives"),
        Item("5a", "sources of data", (data.sources,), "why these, and whom they stand for"),
        Item("5b", "dates"),
        Item("6a", "setting and centres", (data.setting,), "kind of care, and where"),
        Item("6b", "eligibility", (data.eligibility,), "clinical criteria"),
        Item("6c", "treatments"),
        Item("7", "preparation and quality of data", (model.preprocessing, data.eligibility)),
        Item("8a", "outcome", (data.reference,), "how and when it was assessed, and why it"),
        Item("8b", "who assessed the outcome"),
        Item("8c", "blinding of the outcome"),
        Item("9a", "choice of predictors", (model.predictors,)),
        Item("9b", "definition of predictors", (model.predictors, data.acquisition)),
        Item("9c", "who assessed predictors"),
        Item("10", "sample size", (data.partitions, results.sizes), "why it was enough"),
        Item("11", "missing data", (data.missing,), "why they are missing"),
        Item("12a", "use of data and partitions", (data.partitions, data.disjoint)),
        Item("12b", "handling of predictors", (model.preprocessing,)),
        Item(
            "12c",
            "type of model, building and internal validation",
            (
                model.architecture,
                model.initialisation,
                model.training,
                model.tuning,
                model.selection,
            ),
            "why this type, and how its hyper-parameters were found",
        ),
        Item("12d", "differences between clusters", (data.setting, model.training)),
        Item("12e", "measures of performance", (results.measures, results.uncertainty)),
        Item("12f", "updating of the model: method", (model.updating,)),
        Item("12g", "how predictions were computed", (model.ensembling, model.specification)),
        Item("13", "class imbalance", (model.imbalance,)),
        Item("14", "fairness: approach"),
        Item("15", "output of the model and thresholds", (model.outputs,), "why this threshold"),
        Item(
            "16",
            "differences between development and evaluation",
            (data.characteristics,),
            "of setting, eligibility and outcome",
        ),
        Item("17", "ethical approval and consent"),
        Item("18a", "funding"),
        Item("18b", "conflicts of interest"),
        Item("18c", "protocol"),
        Item("18d", "registration"),
        Item("18e", "availability of data"),
        Item("18f", "availability of code", (model.software,), "where"),
        Item("19", "involvement of patients and public"),
        Item("20a", "flow of participants", (data.missing, results.participants), "a diagram"),
        Item("20b", "characteristics", (data.characteristics,), "dates and clinical ones"),
        Item("20c", "comparison with the development data", (data.characteristics,)),
        Item("21", "participants and events of each analysis", (results.sizes, data.partitions)),
        Item("22", "the full model", (model.specification,), "access, and on which terms"),
        Item(
            "23a",
            "performance",
            (
                results.internal,
                results.external,
                results.accuracy,
                results.calibration,
                results.subgroups,
            ),
        ),
        Item("23b", "performance across clusters", (results.heterogeneity,)),
        Item("24", "updating of the model: results", (model.updating, results.updating)),
        Item("25", "interpretation"),
        Item("26", "limitations", (results.limitations,), "all others"),
        Item("27a", "poor or missing input in use"),
        Item("27b", "interaction and expertise of users"),
        Item("27c", "next steps"),
    ),
)
